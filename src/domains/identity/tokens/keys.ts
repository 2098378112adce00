import { desc, isNull, or, sql } from 'drizzle-orm'
import { exportJWK, generateKeyPair, importJWK, type JWK } from 'jose'
import type { RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { randomBytes, Sealer } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { signingKeys } from './table'

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now'>

/** The service's keys as an isolate holds them. */
export type KeyRing = {
  loadedAt: number
  /** Public keys by kid, for verification. */
  verify: Map<string, CryptoKey>
  /** What `/.well-known/jwks.json` answers. */
  jwks: JWK[]
  signing: { kid: string; key: CryptoKey }
}

/** An unknown `kid` makes the isolate look again, at most this often: forged kids must not become D1 reads. */
const COOLDOWN_MS = 5_000
/** How long the ring is used without looking for keys made elsewhere. */
const FRESH_MS = 5 * 60_000

let ring: KeyRing | null = null

/** The keys, read from D1 once in five minutes; made on first use. */
export async function keyRing(caller: Caller): Promise<KeyRing> {
  if (!ring || caller.now - ring.loadedAt > FRESH_MS) ring = await load(caller)
  return ring
}

/** The public key for `kid`; null where no key of ours has that id. */
export async function verificationKey(caller: Caller, kid: string): Promise<CryptoKey | null> {
  const known = (await keyRing(caller)).verify.get(kid)
  if (known) return known
  if (ring && caller.now - ring.loadedAt > COOLDOWN_MS) ring = await load(caller)
  return ring?.verify.get(kid) ?? null
}

async function load(caller: Caller): Promise<KeyRing> {
  let rows = await publishedKeys(caller)
  if (rows.length === 0) {
    await makeFirstKey(caller)
    rows = await publishedKeys(caller)
  }
  const now = iso(caller.now)
  const signer = rows.find((row) => row.signs_from <= now) ?? rows.at(-1)
  if (!signer) throw new Error('no signing key could be made')
  const verify = new Map<string, CryptoKey>()
  for (const row of rows) verify.set(row.kid, (await importJWK(row.public_jwk, 'ES256')) as CryptoKey)
  const secret = JSON.parse(await sealer(caller).open(signer.private_sealed, signer.kid)) as JWK
  const key = (await importJWK(secret, 'ES256')) as CryptoKey
  return {
    loadedAt: caller.now,
    verify,
    jwks: rows.map((row) => row.public_jwk),
    signing: { kid: signer.kid, key },
  }
}

function publishedKeys(caller: Caller) {
  const published = or(
    isNull(signingKeys.published_until),
    sql`${signingKeys.published_until} > ${iso(caller.now)}`,
  )
  return directory(caller.env)
    .select()
    .from(signingKeys)
    .where(published)
    .orderBy(desc(signingKeys.created_at))
    .all()
}

/** Two isolates may try at once; the condition lets one key in. */
async function makeFirstKey(caller: Caller): Promise<void> {
  const kid = base64url(randomBytes(16))
  const pair = await generateKeyPair('ES256', { extractable: true })
  const publicJwk: JWK = { ...(await exportJWK(pair.publicKey)), kid, alg: 'ES256', use: 'sig' }
  const sealed = await sealer(caller).seal(JSON.stringify(await exportJWK(pair.privateKey)), kid)
  const now = iso(caller.now)
  await directory(caller.env).run(
    sql`insert into signing_keys (kid, public_jwk, private_sealed, created_at, signs_from)
        select ${kid}, ${JSON.stringify(publicJwk)}, ${sealed}, ${now}, ${now}
        where not exists (select 1 from signing_keys)`,
  )
}

const sealer = (caller: Caller) => new Sealer(caller.settings, 'signing-keys')
