import { importJWK, type JWK } from 'jose'
import { KEY_ALGS } from '../../../lib/issuer'
import { isWeakRsa } from './weak-rsa'

/** A public key of an issuer, ready for one algorithm. */
export type IssuerKey = { kid: string | null; alg: string; key: CryptoKey }

/** What an issuer publishes is not ours to bound but by refusing the rest. */
const MOST_KEYS = 100
/** The public members; whatever else a key brings (private parts, certificates, addresses) is not looked at. */
const PUBLIC_MEMBERS = ['kty', 'n', 'e', 'crv', 'x', 'y'] as const

/** The keys of a JWK set that verify signatures, by each algorithm they are for; throws where the document is none. */
export async function importKeys(document: unknown): Promise<IssuerKey[]> {
  const keys = (document as { keys?: unknown } | null)?.keys
  if (!Array.isArray(keys)) throw new Error('the answer is no JWK set')
  const imported: IssuerKey[] = []
  for (const jwk of keys.slice(0, MOST_KEYS) as unknown[])
    for (const alg of KEY_ALGS) {
      const key = await importKey(jwk, alg)
      if (key) imported.push(key)
    }
  return imported
}

async function importKey(jwk: unknown, alg: string): Promise<IssuerKey | null> {
  if (typeof jwk !== 'object' || jwk === null) return null
  const { kid, use, key_ops, alg: only, kty, crv } = jwk as Record<string, unknown>
  if (!isFor(alg, kty, crv) || (only !== undefined && only !== alg)) return null
  if (use !== undefined && use !== 'sig') return null
  if (key_ops !== undefined && !(Array.isArray(key_ops) && key_ops.includes('verify'))) return null
  if (kid !== undefined && typeof kid !== 'string') return null
  const members = PUBLIC_MEMBERS.map((name) => [name, (jwk as Record<string, unknown>)[name]] as const)
  const publicJwk = Object.fromEntries(members.filter(([, value]) => value !== undefined)) as JWK
  if (kty === 'RSA' && isWeakRsa(publicJwk)) return null
  try {
    const key = await importJWK(publicJwk, alg)
    if (key instanceof Uint8Array || key.type !== 'public') return null
    return { kid: kid ?? null, alg, key }
  } catch {
    // A key that can't be read verifies nothing; the others do.
    return null
  }
}

function isFor(alg: string, kty: unknown, crv: unknown): boolean {
  if (alg === 'ES256') return kty === 'EC' && crv === 'P-256'
  if (alg === 'EdDSA') return kty === 'OKP' && crv === 'Ed25519'
  return kty === 'RSA'
}

/**
 * The one key that a token's header means: by its `kid`, or the only one of its algorithm where it names none. Null
 * where there is no such key, or more than one.
 */
export function chooseKey(
  keys: readonly IssuerKey[],
  header: { alg?: unknown; kid?: unknown },
): CryptoKey | null {
  const { alg, kid } = header
  if (kid !== undefined && typeof kid !== 'string') return null
  const [found, ...others] = keys.filter((one) => one.alg === alg && (kid === undefined || one.kid === kid))
  return found && others.length === 0 ? found.key : null
}
