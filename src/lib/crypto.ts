import { timingSafeEqual as nodeTimingSafeEqual } from 'node:crypto'
import { base64url, fromBase64url, hex, text, utf8 } from './encoding'

/** `size` bytes from the runtime's cryptographic random source. */
export function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(size))
}

/** SHA-256 in lower-case hex. */
export async function sha256(data: string | Uint8Array<ArrayBuffer>): Promise<string> {
  const bytes = typeof data === 'string' ? utf8(data) : data
  return hex(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
}

/** An HMAC-SHA256 key for `hmac`, from raw bytes. */
export function hmacKey(raw: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
}

export async function hmac(
  key: CryptoKey,
  data: string | Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = typeof data === 'string' ? utf8(data) : data
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes))
}

/** The HMAC-SHA256 of `text` under raw bytes. */
export async function tagUnder(raw: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  return hmac(await hmacKey(raw), text)
}

/** The HMAC-SHA256 of `text` under a key for one `purpose`: what only who has the master key can have made. */
export async function tagBy(
  masterKey: string,
  purpose: string,
  text: string,
): Promise<Uint8Array<ArrayBuffer>> {
  return tagUnder(await deriveKey(masterKey, purpose), text)
}

/** Whether the tag of `text` by one of the master keys that may be gone by is such as `fits` says. */
export async function isTaggedBy(
  keys: MasterKeys,
  purpose: string,
  text: string,
  fits: (tag: Uint8Array<ArrayBuffer>) => boolean,
): Promise<boolean> {
  for (const masterKey of masterKeys(keys)) if (fits(await tagBy(masterKey, purpose, text))) return true
  return false
}

/** Compares in a time that does not depend on where two equally long values differ. */
export function equalInConstantTime(a: string, b: string): boolean {
  const left = utf8(a)
  const right = utf8(b)
  return left.length === right.length && nodeTimingSafeEqual(left, right)
}

// Keys, not promises of them: a promise ends with the request that made it, and would leave the others waiting.
const derived = new Map<string, Uint8Array<ArrayBuffer>>()

/** 32 bytes for one `purpose`, derived from the master key by HKDF-SHA256 (RFC 5869); remembered by the isolate. */
export async function deriveKey(masterKey: string, purpose: string): Promise<Uint8Array<ArrayBuffer>> {
  const name = `${purpose}\n${masterKey}`
  const known = derived.get(name)
  if (known) return known
  const base = await crypto.subtle.importKey('raw', utf8(masterKey), 'HKDF', false, ['deriveBits'])
  const params = { name: 'HKDF', hash: 'SHA-256', salt: utf8('causeway'), info: utf8(purpose) }
  const key = new Uint8Array(await crypto.subtle.deriveBits(params, base, 256))
  derived.set(name, key)
  return key
}

/** The master key, and those that open what was sealed while they were it; the settings are one. */
export type MasterKeys = { readonly MASTER_KEY: string; readonly MASTER_KEY_PREVIOUS: readonly string[] }

/** Every master key that may be gone by, the one in force first. */
export function masterKeys({ MASTER_KEY, MASTER_KEY_PREVIOUS }: MasterKeys): string[] {
  return [...new Set([MASTER_KEY, ...MASTER_KEY_PREVIOUS])]
}

/** Eight characters that tell master keys apart and say nothing of them. */
export async function keyId(masterKey: string): Promise<string> {
  return base64url((await deriveKey(masterKey, 'master-key-id')).slice(0, 6))
}

const SEALED = /^(?:v1|v2\.([\w-]{8}))\.([\w-]{16})\.([\w-]{22,})$/

/** Whether a text is of the form that `Sealer` makes. */
export const isSealed = (value: string): boolean => SEALED.test(value)

/**
 * Encrypts and authenticates secrets at rest with AES-256-GCM under a key derived from the master key in force.
 * `bound` (a tenant and a row, say) is authenticated with the text: a ciphertext moved to another row does not open.
 * Each column that holds what this made has its place in data/sealed.ts, which seals it anew
 * when there is another master key.
 */
export class Sealer {
  constructor(
    private readonly keys: MasterKeys,
    private readonly purpose: string,
  ) {}

  private async key(masterKey: string): Promise<CryptoKey> {
    const raw = await deriveKey(masterKey, `seal:${this.purpose}`)
    return crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt'])
  }

  /** How everything begins that is sealed under the master key in force. */
  async prefix(): Promise<string> {
    return `v2.${await keyId(this.keys.MASTER_KEY)}.`
  }

  /** `v2.{master key's id}.{iv}.{ciphertext}`, the last two in base64url. */
  async seal(plain: string, bound: string): Promise<string> {
    const iv = randomBytes(12)
    const params = { name: 'AES-GCM', iv, additionalData: utf8(bound) }
    const sealed = await crypto.subtle.encrypt(params, await this.key(this.keys.MASTER_KEY), utf8(plain))
    return `${await this.prefix()}${base64url(iv)}.${base64url(new Uint8Array(sealed))}`
  }

  /** The text that was sealed; throws when it was altered, moved, or sealed under a master key that is not known. */
  async open(sealed: string, bound: string): Promise<string> {
    const [form, id, iv = '', body = ''] = SEALED.exec(sealed) ?? []
    const ivBytes = fromBase64url(iv)
    const bodyBytes = fromBase64url(body)
    if (!form || !ivBytes || !bodyBytes) throw new Error('not a sealed value of a known version')
    const params = { name: 'AES-GCM', iv: ivBytes, additionalData: utf8(bound) }
    for (const masterKey of masterKeys(this.keys)) {
      // The first version did not say under which key it was made.
      if (id !== undefined && id !== (await keyId(masterKey))) continue
      const plain = await crypto.subtle
        .decrypt(params, await this.key(masterKey), bodyBytes)
        .catch(() => null)
      if (plain) return text(new Uint8Array(plain))
    }
    throw new Error('sealed under a master key that is not known, altered, or moved from its row')
  }
}
