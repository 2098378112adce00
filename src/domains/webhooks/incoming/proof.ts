import { concat, fromBase64, utf8 } from '../../../lib/encoding'
import { problem } from '../../../lib/problem'

// What the signatures of all senders are made of. Nothing here reads a body but to check who signed it.

export type Bytes = Uint8Array<ArrayBuffer>

/** A request as it came, before anything of it is believed. */
export type Incoming = {
  body: Bytes
  headers: Headers
  /** How its sender may have written the URL. */
  urls: readonly string[]
  now: number
}

/** More signatures of one request are not looked at: each costs a pass over its body. */
const MOST_SIGNATURES = 10

/** A header without which nothing can be checked; 401 `signature_required`. */
export function need(headers: Headers, ...names: string[]): string {
  for (const name of names) {
    const value = headers.get(name)?.trim()
    if (value) return value
  }
  throw problem.unauthorized('signature_required', `The header ${names[0]} is missing`, { headers: names })
}

/** 401 for a request that carries no signature of the kind that would be checked. */
export const noSuchVersion = (header: string, version: string) =>
  problem.unauthorized('invalid_signature', `${header} has no signature of the version ${version}`, {
    header,
  })

/** Seconds since 1970 in a header, digits alone; 401 for anything else. */
export function secondsIn(header: string, value: string): number {
  if (/^\d{1,11}$/.test(value)) return Number(value)
  throw problem.unauthorized('invalid_signature', `${header} must be whole seconds since 1970`, { header })
}

/** Refuses what was signed longer ago than `window` seconds, or so far ahead: 401 `signature_expired`. */
export function refuseOld(signedAt: number, window: number, now: number): void {
  const off = Math.floor(now / 1000) - signedAt
  if (Math.abs(off) <= window) return
  const message = `It was signed ${Math.abs(off)} s ${off > 0 ? 'ago' : 'ahead of time'}; ${window} s are allowed`
  throw problem.unauthorized('signature_expired', message, { window_s: window, off_s: off })
}

export function fromHex(text: string): Bytes | null {
  if (!/^(?:[0-9a-f]{2})+$/i.test(text)) return null
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
}

/** The pieces in a row, texts as UTF-8. */
export const joined = (...parts: (string | Bytes)[]): Bytes =>
  concat(parts.map((part) => (typeof part === 'string' ? utf8(part) : part)))

/** A secret's own characters as a key. */
export const asKey = (secret: string): Bytes => utf8(secret)

type Hash = 'SHA-1' | 'SHA-256' | 'SHA-512'

/**
 * By which of `keys` (from 1) one of `signatures` is the HMAC of one of `texts`; 0 where it is none. What is compared is
 * compared in constant time, by the runtime.
 */
export async function signerOf(
  hash: Hash,
  keys: readonly Bytes[],
  signatures: readonly (Bytes | null)[],
  ...texts: Bytes[]
): Promise<number> {
  const given = signatures.filter((one) => one !== null).slice(0, MOST_SIGNATURES)
  for (const [i, raw] of keys.entries()) {
    const key = await crypto.subtle.importKey('raw', raw, { name: 'HMAC', hash }, false, ['verify'])
    for (const signature of given)
      for (const text of texts) if (await crypto.subtle.verify('HMAC', key, signature, text)) return i + 1
  }
  return 0
}

/** The same for Ed25519, by public keys. */
export async function signerByEd25519(
  keys: readonly (Bytes | null)[],
  signatures: readonly (Bytes | null)[],
  text: Bytes,
): Promise<number> {
  const given = signatures.filter((one) => one?.byteLength === 64).slice(0, MOST_SIGNATURES)
  for (const [i, raw] of keys.entries()) {
    if (raw?.byteLength !== 32) continue
    const key = await crypto.subtle.importKey('raw', raw, 'Ed25519', false, ['verify']).catch(() => null)
    for (const signature of given)
      if (key && signature && (await crypto.subtle.verify('Ed25519', key, signature, text))) return i + 1
  }
  return 0
}

/** The number of the secret that signed; 401 `invalid_signature` for 0. */
export function proven(signer: number, header: string): number {
  if (signer > 0) return signer
  throw problem.unauthorized(
    'invalid_signature',
    `No secret of this source made the signature in ${header}`,
    {
      header,
    },
  )
}

export { fromBase64 }
