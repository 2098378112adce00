import {
  deriveKey,
  equalInConstantTime,
  type MasterKeys,
  masterKeys,
  randomBytes,
  tagUnder,
} from '../../../lib/crypto'
import { base62 } from '../../../lib/encoding'

// sk_live_ or sk_test_ + 32 random bytes in base62 (43 characters) + the version of a server secret and a tag by it (an
// HMAC; 1 + 6 characters): a typo or a made-up key is refused without a look-up, and leak scanners know the form.
const FORM = /^(sk_(live|test)_[0-9A-Za-z]{43})([0-9A-Za-z])([0-9A-Za-z]{6})$/
/** The version of keys from before there were versions: any secret may have tagged them. No secret has it. */
const UNVERSIONED = '1'

/** Characters of a key that are kept in clear, to tell keys apart: `sk_live_` and four more. */
export const PREFIX_LENGTH = 12

/** A test key is like any other, but counts for nothing in production. */
export type Mode = 'live' | 'test'

/** A server secret that tags keys, and the character by which a key names it. */
export type TagSecret = { version: string; raw: Uint8Array<ArrayBuffer> }

export type KeyParts = { body: string; mode: Mode; version: string; tag: string }

/** The parts of a string that has the form of a key; null for any other. */
export function partsOf(key: string): KeyParts | null {
  const [, body, mode, version, tag] = FORM.exec(key) ?? []
  if (body === undefined || version === undefined || tag === undefined) return null
  return { body, mode: mode === 'test' ? 'test' : 'live', version, tag }
}

/** The secret that a master key tags keys with. */
export async function tagSecretOf(masterKey: string): Promise<TagSecret> {
  const raw = await deriveKey(masterKey, 'api-key-tag')
  const name = base62((await deriveKey(masterKey, 'api-key-tag-version')).slice(0, 1)).slice(-1)
  return { version: name === UNVERSIONED ? '0' : name, raw }
}

/** A new key. */
export async function makeKey({ MASTER_KEY }: MasterKeys, mode: Mode = 'live'): Promise<string> {
  const secret = await tagSecretOf(MASTER_KEY)
  const body = `sk_${mode}_${base62(randomBytes(32))}`
  return `${body}${secret.version}${await tagOf(secret, body + secret.version)}`
}

/** Whether one of `secrets` tagged a key; null where none has its version, so that nobody can say. */
export async function isTagged(
  { body, version, tag }: KeyParts,
  secrets: readonly TagSecret[],
): Promise<boolean | null> {
  const old = version === UNVERSIONED
  const meant = old ? secrets : secrets.filter((secret) => secret.version === version)
  const tagged = old ? body : body + version
  for (const secret of meant) if (equalInConstantTime(await tagOf(secret, tagged), tag)) return true
  return old || meant.length === 0 ? null : false
}

/** The secrets that settings alone give, the one in force first. */
export function knownSecrets(keys: MasterKeys): Promise<TagSecret[]> {
  return Promise.all(masterKeys(keys).map(tagSecretOf))
}

async function tagOf({ raw }: TagSecret, tagged: string): Promise<string> {
  // 32 bits of the HMAC as six base62 digits: one forgery in 4 × 10^9 gets as far as the look-up by hash.
  return base62((await tagUnder(raw, tagged)).slice(0, 4)).padStart(6, '0')
}
