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

/** Compares in a time that does not depend on where two equally long values differ. */
export function equalInConstantTime(a: string, b: string): boolean {
  const left = utf8(a)
  const right = utf8(b)
  return left.length === right.length && nodeTimingSafeEqual(left, right)
}

const derived = new Map<string, Promise<Uint8Array<ArrayBuffer>>>()

/** 32 bytes for one `purpose`, derived from the master key by HKDF-SHA256 (RFC 5869); remembered by the isolate. */
export function deriveKey(masterKey: string, purpose: string): Promise<Uint8Array<ArrayBuffer>> {
  const name = `${purpose}\n${masterKey}`
  let key = derived.get(name)
  if (!key) {
    key = (async () => {
      const base = await crypto.subtle.importKey('raw', utf8(masterKey), 'HKDF', false, ['deriveBits'])
      const params = { name: 'HKDF', hash: 'SHA-256', salt: utf8('causeway'), info: utf8(purpose) }
      return new Uint8Array(await crypto.subtle.deriveBits(params, base, 256))
    })()
    derived.set(name, key)
  }
  return key
}

/**
 * Encrypts and authenticates secrets at rest with AES-256-GCM under a key derived from the master key.
 * `bound` (a tenant and a row, say) is authenticated with the text: a ciphertext moved to another row does not open.
 */
export class Sealer {
  constructor(
    private readonly masterKey: string,
    private readonly purpose: string,
  ) {}

  private async key(): Promise<CryptoKey> {
    const raw = await deriveKey(this.masterKey, `seal:${this.purpose}`)
    return crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt'])
  }

  /** `v1.{iv}.{ciphertext}` in base64url. */
  async seal(plain: string, bound: string): Promise<string> {
    const iv = randomBytes(12)
    const params = { name: 'AES-GCM', iv, additionalData: utf8(bound) }
    const sealed = await crypto.subtle.encrypt(params, await this.key(), utf8(plain))
    return `v1.${base64url(iv)}.${base64url(new Uint8Array(sealed))}`
  }

  /** The text that was sealed; throws when it was altered, moved, or sealed under another master key. */
  async open(sealed: string, bound: string): Promise<string> {
    const [version, iv, body] = sealed.split('.')
    const ivBytes = fromBase64url(iv ?? '')
    const bodyBytes = fromBase64url(body ?? '')
    if (version !== 'v1' || !ivBytes || !bodyBytes) throw new Error('not a sealed value of a known version')
    const params = { name: 'AES-GCM', iv: ivBytes, additionalData: utf8(bound) }
    return text(new Uint8Array(await crypto.subtle.decrypt(params, await this.key(), bodyBytes)))
  }
}
