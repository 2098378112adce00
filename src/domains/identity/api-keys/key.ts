import { deriveKey, equalInConstantTime, hmac, hmacKey, randomBytes } from '../../../lib/crypto'
import { base62 } from '../../../lib/encoding'

// sk_live_ + 32 random bytes in base62 (43 characters) + the version and tag of an HMAC by a server secret (1 + 6
// characters): a typo or a made-up key is refused without a look-up, and leak scanners know the form.
const FORM = /^sk_live_([0-9A-Za-z]{43})([0-9A-Za-z])([0-9A-Za-z]{6})$/
const VERSION = '1'

/** Characters of a key that are kept in clear, to tell keys apart: `sk_live_` and four more. */
export const PREFIX_LENGTH = 12

/** A new key. */
export async function makeKey(masterKey: string): Promise<string> {
  const body = `sk_live_${base62(randomBytes(32))}`
  return `${body}${VERSION}${await tagOf(masterKey, body)}`
}

/** Whether a string was made by `makeKey` with this server's secret; says nothing of whether the key still counts. */
export async function isGenuine(masterKey: string, key: string): Promise<boolean> {
  const [, random, version, tag] = FORM.exec(key) ?? []
  if (version !== VERSION || tag === undefined) return false
  return equalInConstantTime(await tagOf(masterKey, `sk_live_${random}`), tag)
}

async function tagOf(masterKey: string, body: string): Promise<string> {
  const key = await hmacKey(await deriveKey(masterKey, 'api-key-tag'))
  // 36 bits of the HMAC as six base62 digits: one forgery in 6 × 10^10 gets as far as the look-up by hash.
  return base62((await hmac(key, body)).slice(0, 4)).padStart(6, '0')
}
