import { createLocalJWKSet, errors, type JSONWebKeySet } from 'jose'
import * as z from 'zod'
import { askProvider, failed } from './outgoing'

const KeySet = z.object({
  keys: z.array(z.looseObject({ kty: z.string(), issuer: z.string().optional() })).max(100),
})
type KeySet = z.output<typeof KeySet>

/** A key that was withdrawn is believed no longer than this. */
const FRESH_MS = 10 * 60_000
/** A key that is not in the set makes it be read again, at most so often: made-up ids must not become requests. */
const COOLDOWN_MS = 30_000
const MOST = 1_000

const sets = new Map<string, { keys: KeySet; readAt: number }>()

/**
 * The provider's keys for `jwtVerify`. `belongs` leaves out those that may not sign for the issuer at hand. Read again
 * when they are old, or when a token names a key that is not among them.
 */
export function keysAt(url: string, now: number, belongs: (issuer: string | undefined) => boolean) {
  return async (...token: Parameters<ReturnType<typeof createLocalJWKSet>>) => {
    const known = sets.get(url)
    const fresh = known !== undefined && now - known.readAt < FRESH_MS
    try {
      const { keys } = fresh ? known : await read(url, now)
      return await local(keys, belongs)(...token)
    } catch (error) {
      const coolingDown = !fresh || now - known.readAt < COOLDOWN_MS
      if (!(error instanceof errors.JWKSNoMatchingKey) || coolingDown) throw error
      const { keys } = await read(url, now)
      return local(keys, belongs)(...token)
    }
  }
}

async function read(url: string, now: number): Promise<{ keys: KeySet; readAt: number }> {
  const { status, body } = await askProvider(url, { headers: { Accept: 'application/json' } })
  const parsed = KeySet.safeParse(body)
  if (status !== 200 || !parsed.success) throw failed(`key set answered ${status}`)
  const entry = { keys: parsed.data, readAt: now }
  if (sets.size >= MOST) sets.clear()
  sets.set(url, entry)
  return entry
}

/** Checked by the schema as far as it matters; jose looks at each key's members itself. */
const local = ({ keys }: KeySet, belongs: (issuer: string | undefined) => boolean) =>
  createLocalJWKSet({ keys: keys.filter((key) => belongs(key.issuer)) } as JSONWebKeySet)
