import type { Settings } from '../../../env'
import { base64url, fromBase64url, utf8 } from '../../../lib/encoding'
import { problem } from '../../../lib/problem'

// Who sends, as push services want to know it: Voluntary Application Server Identification (RFC 8292).

type Identity = { key: CryptoKey; public_key: string }

/** What comes before the 32 bytes of a P-256 key in PKCS #8 (RFC 5958), without its public half. */
const PKCS8 = fromBase64url('MEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCA') ?? new Uint8Array()
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256' }
/** A push service takes no token that lives for longer than a day. */
const LIFE_S = 12 * 60 * 60

/** Of the key that was asked for last: the key pair itself, since a promise dies with the request that made it. */
let known: { of: string; identity: Identity } | null = null

/** Whether messages can be pushed at all. */
export const pushes = ({ VAPID_PRIVATE_KEY }: Pick<Settings, 'VAPID_PRIVATE_KEY'>) => VAPID_PRIVATE_KEY !== ''

/** The service’s key pair; 409 `push_not_configured` where it has none. */
export async function identityOf({
  VAPID_PRIVATE_KEY,
}: Pick<Settings, 'VAPID_PRIVATE_KEY'>): Promise<Identity> {
  if (VAPID_PRIVATE_KEY === '')
    throw problem('push_not_configured', 'This service has no key to push messages with')
  if (known?.of !== VAPID_PRIVATE_KEY)
    known = { of: VAPID_PRIVATE_KEY, identity: await readIdentity(VAPID_PRIVATE_KEY) }
  return known.identity
}

async function readIdentity(encoded: string): Promise<Identity> {
  const raw = fromBase64url(encoded) ?? new Uint8Array()
  const der = new Uint8Array([...PKCS8, ...raw])
  // The runtime finds the public half by itself.
  const key = await crypto.subtle.importKey('pkcs8', der, ECDSA, true, ['sign'])
  const { x = '', y = '' } = (await crypto.subtle.exportKey('jwk', key)) as JsonWebKey
  const point = [fromBase64url(x) ?? [], fromBase64url(y) ?? []].flatMap((half) => [...half])
  return { key, public_key: base64url(new Uint8Array([4, ...point])) }
}

/** The Authorization of a message to the push service at `origin`. */
export async function authorization(
  settings: Pick<Settings, 'VAPID_PRIVATE_KEY' | 'VAPID_SUBJECT' | 'PUBLIC_URL'>,
  origin: string,
  now: number,
): Promise<string> {
  const { key, public_key } = await identityOf(settings)
  const { VAPID_SUBJECT, PUBLIC_URL } = settings
  const sub = VAPID_SUBJECT || (PUBLIC_URL.startsWith('https:') ? PUBLIC_URL : 'mailto:operator@localhost')
  const claims = { aud: origin, exp: Math.floor(now / 1000) + LIFE_S, sub }
  const signed = [{ typ: 'JWT', alg: 'ES256' }, claims].map((part) => base64url(utf8(JSON.stringify(part))))
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key, utf8(signed.join('.')))
  return `vapid t=${signed.join('.')}.${base64url(new Uint8Array(signature))}, k=${public_key}`
}
