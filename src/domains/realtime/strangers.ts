import type { Context as HonoContext } from 'hono'
import type { Bindings } from '../../env'
import type { AppEnv } from '../../http/app-env'
import { problem } from '../../lib/problem'
import { addressLimiter } from '../metering/isolate'
import { countedAddress } from '../metering/limits/addresses'
import { ADDRESS_WANTS } from '../metering/limits/policy'
import { AUTH_MS } from './connection'

// Opening a socket is no request (limits.md): after a deploy a whole office comes back from one address at once. Only one
// that never says who it is for counts against its address, as any refused credential does.

/** So many of one address may be silent at a time, for each isolate: what they count as is known ten seconds later. */
const MOST_SILENT = 100

const isolates = new WeakMap<Bindings, Map<string, number>>()

/** How the first frame of a socket was answered; `later`: nobody could be authenticated just now. */
export type Entrance = 'in' | 'refused' | 'later'

/** Lets a socket be opened; the answer is to be told once how that went. 429 where too many of its address are silent. */
export function takeIn(c: HonoContext<AppEnv>): (entrance: Entrance) => void {
  const { address, defer } = c.get('request')
  const { env } = c
  const counted = countedAddress(address)
  const silent = isolates.get(env) ?? new Map<string, number>()
  isolates.set(env, silent)
  const before = silent.get(counted) ?? 0
  if (before >= MOST_SILENT) throw tooMany()
  silent.set(counted, before + 1)
  return (entrance) => {
    const left = (silent.get(counted) ?? 1) - 1
    if (left > 0) silent.set(counted, left)
    else silent.delete(counted)
    if (entrance === 'refused')
      defer(Promise.resolve(addressLimiter(env, address).admit(ADDRESS_WANTS.public, defer)))
  }
}

function tooMany() {
  const seconds = AUTH_MS / 1_000
  return problem(
    'rate_limited',
    `${MOST_SILENT} sockets of this address have not said yet who they are for`,
    {
      headers: { 'Retry-After': String(seconds) },
      details: { window: 'public', limit: MOST_SILENT, remaining: 0, retry_after: seconds },
    },
  )
}
