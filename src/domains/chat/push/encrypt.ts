import { hmac, hmacKey, randomBytes } from '../../../lib/crypto'
import { concat, fromBase64url, utf8 } from '../../../lib/encoding'

// Message encryption for Web Push (RFC 8291), as one record of aes128gcm (RFC 8188).

type Bytes = Uint8Array<ArrayBuffer>

/** The keys of a browser’s subscription: its public point, and the secret that only it and we have. */
export type Keys = { p256dh: Bytes; auth: Bytes }

/** A push service takes 4,096 bytes: what is left of them beside the header (86), the tag (16) and the delimiter. */
export const MOST_PLAIN = 4096 - 86 - 16 - 1
const RECORD = 4096
const ECDH = { name: 'ECDH', namedCurve: 'P-256' }

/** Rejects where a public key is none. */
export async function checkPoint(p256dh: string): Promise<void> {
  await crypto.subtle.importKey('raw', fromBase64url(p256dh) ?? new Uint8Array(), ECDH, false, [])
}

/** A text that only the browser with these keys can read. Throws where they are none. */
export async function encrypted(plain: Bytes, { p256dh, auth }: Keys): Promise<Bytes> {
  const theirs = await crypto.subtle.importKey('raw', p256dh, ECDH, false, [])
  const ours = (await crypto.subtle.generateKey(ECDH, true, ['deriveBits'])) as CryptoKeyPair
  const point = new Uint8Array((await crypto.subtle.exportKey('raw', ours.publicKey)) as ArrayBuffer)
  // workers-types call the field `$public`.
  const agreement = { name: 'ECDH', public: theirs } as unknown as SubtleCryptoDeriveKeyAlgorithm
  const shared = new Uint8Array(await crypto.subtle.deriveBits(agreement, ours.privateKey, 256))
  const secret = await expand(auth, shared, joined(utf8('WebPush: info\0'), p256dh, point), 32)
  const salt = randomBytes(16)
  const content = await expand(salt, secret, utf8('Content-Encoding: aes128gcm\0'), 16)
  const iv = await expand(salt, secret, utf8('Content-Encoding: nonce\0'), 12)
  const key = await crypto.subtle.importKey('raw', content, 'AES-GCM', false, ['encrypt'])
  // 2 ends the last record.
  const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv }, key, joined(plain, Uint8Array.of(2)))
  const size = new Uint8Array(4)
  new DataView(size.buffer).setUint32(0, RECORD)
  return joined(salt, size, Uint8Array.of(point.byteLength), point, new Uint8Array(sealed))
}

/** HKDF-SHA256 (RFC 5869) for at most 32 bytes. */
async function expand(salt: Bytes, secret: Bytes, info: Bytes, length: number): Promise<Bytes> {
  const extracted = await hmac(await hmacKey(salt), secret)
  return (await hmac(await hmacKey(extracted), joined(info, Uint8Array.of(1)))).slice(0, length)
}

const joined = (...parts: Uint8Array[]): Bytes => concat(parts)
