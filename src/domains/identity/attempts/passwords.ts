import { sql } from 'drizzle-orm'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { iso } from '../../../lib/ids'
import { networkOf } from '../../../lib/ip-address'
import { Problem } from '../../../lib/problem'
import { KNOWN_MS } from '../sessions/retention'
import { sessions } from '../sessions/table'
import { users } from '../users/table'
import { knownDevice } from './device'
import { type Allowance, type Attempt, count, giveBack, keep, refusalOf } from './service'

// Ten wrong passwords an hour slow the caller down (identity.md). All callers together have ten for an address. While
// those are used up, a browser or a network address from which a user has logged in before still has ten of its own, for
// that user alone. So nobody keeps an owner out by using up the tries, and nobody gets more tries at others' passwords
// by registering the same address somewhere.

const MOST = 10
/** Logins of a user that are looked at for network addresses: of the open ones, and of the ended ones. */
const MOST_SESSIONS = 50

/** Whose password is tried, and what is known of who tries. */
export type Trial = { email: string; device: string | undefined }

/**
 * Runs `check` with the candidates that may be tried now, and counts the attempt where it throws 401
 * `invalid_credentials`, or says by `wrong` that the password was wrong for somebody else. 429 `rate_limited` before any
 * work where too many were wrong within the hour; an address that nobody has is counted alike.
 */
export async function countWrong<C extends { user: { id: string } }, T>(
  request: RequestContext,
  trial: Trial,
  candidates: C[],
  check: (candidates: C[], wrong: () => void) => Promise<T>,
): Promise<T> {
  const shared = wrongPasswords(`email:${trial.email}`)
  const attempt = await count(request, shared, true)
  if (attempt) return counted(request, attempt, (wrong) => check(candidates, wrong))
  const { by, ids } = await knownUsers(
    request,
    trial,
    candidates.map(({ user }) => user.id),
  )
  if (ids.length === 0) throw await refusalOf(request, shared)
  const own = wrongPasswords(`${by}:${ids.sort().join(',')}`)
  const second = await count(request, own, true)
  if (!second) throw await refusalOf(request, own)
  const known = candidates.filter(({ user }) => ids.includes(user.id))
  return counted(request, second, (wrong) => check(known, wrong))
}

/** The same for the password of a user who is logged in: counted for that user, whatever strangers do. */
export async function countWrongOf<T>(
  request: RequestContext,
  userId: string,
  check: () => Promise<T>,
): Promise<T> {
  const allowance = wrongPasswords(`user:${userId}`)
  const attempt = await count(request, allowance, true)
  if (!attempt) throw await refusalOf(request, allowance)
  return counted(request, attempt, check)
}

async function counted<T>(
  request: RequestContext,
  attempt: Attempt,
  check: (wrong: () => void) => Promise<T>,
): Promise<T> {
  let isWrong = false
  const wrong = () => {
    isWrong = true
  }
  try {
    const result = await check(wrong)
    await (isWrong ? keep(request, attempt) : giveBack(request, attempt))
    return result
  } catch (error) {
    if (error instanceof Problem && error.code === 'invalid_credentials') wrong()
    await (isWrong ? keep(request, attempt) : giveBack(request, attempt))
    throw error
  }
}

const wrongPasswords = (subject: string): Allowance => ({ window: 'wrong_passwords', subject, most: MOST })

/** Those of the users who have logged in from this browser, or else from this network address, and by which. */
async function knownUsers(
  request: RequestContext,
  { email, device }: Trial,
  ids: string[],
): Promise<{ by: string; ids: string[] }> {
  const network = networkOf(request.address ?? '')
  const rows = await directory(request.env).all<{ user_id: string; address: string | null }>(
    latestSessions(email, iso(request.now - KNOWN_MS)),
  )
  const known = await Promise.all(ids.map((id) => knownDevice(request.settings, device, id)))
  const byDevice = ids.filter((_, i) => known[i] !== null)
  if (byDevice.length > 0) return { by: `device:${known.find((id) => id !== null)}`, ids: byDevice }
  const near = rows.filter(({ address }) => networkOf(address ?? '') === network)
  const from = new Set(near.map(({ user_id }) => user_id))
  return { by: `network:${network}`, ids: network === null ? [] : ids.filter((id) => from.has(id)) }
}

/** Where the users of an address logged in: of each, the newest of the sessions that are open, and the last that ended. */
const latestSessions = (email: string, since: string) => sql`
  select u.id as user_id, s.address from ${users} as u cross join ${sessions} as s
  on s.created_at > ${since} and s.rowid in (
    select rowid from (
      select rowid from ${sessions} where tenant_id = u.tenant_id and user_id = u.id and ended_at is null
      order by id desc limit ${MOST_SESSIONS})
    union all
    select rowid from (
      select rowid from ${sessions} where tenant_id = u.tenant_id and user_id = u.id and ended_at > ${since}
      order by ended_at desc limit ${MOST_SESSIONS}))
  where u.email = ${email}`
