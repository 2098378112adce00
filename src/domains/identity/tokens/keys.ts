import { desc, isNull, or, sql } from 'drizzle-orm'
import { importJWK, type JWK } from 'jose'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { Sealer } from '../../../lib/crypto'
import { iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { KEYS_FRESH_MS } from './lifetimes'
import { makeKeyIfNone, makeKeyIfOld } from './rotation'
import { signingKeys } from './table'

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now'>

type Signer = { kid: string; key: CryptoKey; from: number }

/** The service's keys as an isolate holds them. */
export type KeyRing = {
  loadedAt: number
  /** Public keys by kid, for verification, and until when each counts. */
  verify: Map<string, { key: CryptoKey; until: number }>
  /** What `/.well-known/jwks.json` answers. */
  jwks: JWK[]
  /** The key that signs now. */
  signing: Signer
  /** The key that will sign next, published before it does; null where there is none. */
  next: Signer | null
}

/** An unknown `kid` makes the isolate look again, at most this often: forged kids must not become D1 reads. */
const COOLDOWN_MS = 5_000

/** Each isolate's ring, and when it last looked for keys that it did not know. They hang on its bindings. */
const rings = new WeakMap<Bindings, KeyRing>()
const lookedAt = new WeakMap<Bindings, number>()

/** The keys as they were read from D1 a minute ago at most; the first is made here, and a new one when that is due. */
export async function keyRing(caller: Caller): Promise<KeyRing> {
  const ring = rings.get(caller.env)
  if (ring && caller.now - ring.loadedAt <= KEYS_FRESH_MS) return inForce(ring, caller.now)
  return inForce(await load(caller), caller.now)
}

/**
 * The public key for `kid`; null where no key of ours has that id. A known one is found in memory however old that is:
 * until when it counts was settled when its successor was made.
 */
export async function verificationKey(caller: Caller, kid: string): Promise<CryptoKey | null> {
  const { env, now } = caller
  const found = (ring: KeyRing | undefined) => {
    const known = ring?.verify.get(kid)
    return known && known.until > now ? known.key : null
  }
  const ring = rings.get(env)
  const known = found(ring)
  if (known) return known
  const last = Math.max(ring?.loadedAt ?? 0, lookedAt.get(env) ?? 0)
  if (ring && now - last <= COOLDOWN_MS) return null
  // Before the look, so that those who come meanwhile don't look too; without a ring everybody must.
  if (ring) lookedAt.set(env, now)
  return found(await load(caller))
}

/** Makes the isolate read the keys again before it signs or publishes next. */
export function forgetKeys(env: Bindings): void {
  rings.delete(env)
}

/** The ring with the key that signs at `now`: the next one takes over without a look. */
function inForce(ring: KeyRing, now: number): KeyRing {
  if (ring.next && ring.next.from <= now) {
    ring.signing = ring.next
    ring.next = null
  }
  return ring
}

async function load(caller: Caller): Promise<KeyRing> {
  let rows = await publishedKeys(caller)
  if (rows.length === 0) {
    await makeKeyIfNone(caller)
    rows = await publishedKeys(caller)
  } else if (await makeKeyIfOld(caller, rows[0]?.created_at ?? '')) rows = await publishedKeys(caller)
  const ring = await ringOf(caller, rows)
  rings.set(caller.env, ring)
  return ring
}

type Row = typeof signingKeys.$inferSelect

async function ringOf(caller: Caller, rows: Row[]): Promise<KeyRing> {
  const now = iso(caller.now)
  const at = rows.findIndex((row) => row.signs_from <= now)
  const row = rows[at] ?? rows.at(-1)
  if (!row) throw new Error('no signing key could be made')
  const following = rows[at - 1]
  const verify: KeyRing['verify'] = new Map()
  for (const { kid, public_jwk, published_until } of rows)
    verify.set(kid, {
      key: (await importJWK(public_jwk, 'ES256')) as CryptoKey,
      until: published_until === null ? Number.POSITIVE_INFINITY : Date.parse(published_until),
    })
  return {
    loadedAt: caller.now,
    verify,
    jwks: rows.map(({ public_jwk }) => public_jwk),
    signing: await signerOf(caller, row),
    next: following ? await signerOf(caller, following) : null,
  }
}

async function signerOf(caller: Caller, row: Row): Promise<Signer> {
  const secret = await new Sealer(caller.settings, 'signing-keys')
    .open(row.private_sealed, row.kid)
    .catch((error: unknown) => {
      log.error('signing_key_sealed', { kid: row.kid, cause: describeError(error) })
      throw error
    })
  const key = (await importJWK(JSON.parse(secret) as JWK, 'ES256')) as CryptoKey
  return { kid: row.kid, key, from: Date.parse(row.signs_from) }
}

/** Those whose tokens may count still, the newest first. */
function publishedKeys(caller: Caller): Promise<Row[]> {
  const published = or(
    isNull(signingKeys.published_until),
    sql`${signingKeys.published_until} > ${iso(caller.now)}`,
  )
  return directory(caller.env)
    .select()
    .from(signingKeys)
    .where(published)
    .orderBy(desc(signingKeys.signs_from), desc(signingKeys.kid))
    .all()
}
