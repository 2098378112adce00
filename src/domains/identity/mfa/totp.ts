import { createHmac } from 'node:crypto'
import { renderSVG } from 'uqr'
import { equalInConstantTime, randomBytes } from '../../../lib/crypto'
import { base64, utf8 } from '../../../lib/encoding'

// Codes by time (RFC 6238), with the parameters that every authenticator app takes: SHA-1, six digits, 30 seconds.

const PERIOD_MS = 30_000
const DIGITS = 6
/** One step before and after the clock's (RFC 6238, 5.2): a phone's clock may be off, and typing takes a while. */
const DRIFT = 1
/** 160 bits, the length of the hash (RFC 4226, 4). */
const SECRET_BYTES = 20

/** What the app shows above its codes. */
const ISSUER = 'Causeway'

/** RFC 4648, section 6. */
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** A new shared secret in base32, without padding: 160 bits are whole letters. */
export function newSecret(): string {
  const bits = [...randomBytes(SECRET_BYTES)].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return bits.replace(/.{5}/g, (five) => BASE32.charAt(Number.parseInt(five, 2)))
}

function keyOf(secret: string): Uint8Array {
  const bits = [...secret].map((letter) => BASE32.indexOf(letter).toString(2).padStart(5, '0')).join('')
  return Uint8Array.from(bits.match(/.{8}/g) ?? [], (eight) => Number.parseInt(eight, 2))
}

/** The code of a step (RFC 4226, section 5.3). */
function codeOf(key: Uint8Array, step: number): string {
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(step))
  const mac = createHmac('sha1', key).update(counter).digest()
  const number = mac.readUInt32BE((mac.at(-1) ?? 0) & 0xf) & 0x7fffffff
  return String(number % 10 ** DIGITS).padStart(DIGITS, '0')
}

/** The `otpauth:` URI that apps read, and the same as a QR code in a data URI. */
export function enrolmentOf(secret: string, label: string): { uri: string; qr: string } {
  // Key Uri Format (github.com/google/google-authenticator/wiki/Key-Uri-Format).
  const path = `${ISSUER}:${encodeURIComponent(label)}`
  const uri = `otpauth://totp/${path}?issuer=${ISSUER}&secret=${secret}&algorithm=SHA1&digits=${DIGITS}&period=30`
  const svg = renderSVG(uri, { ecc: 'M', border: 4, pixelSize: 4 })
  return { uri, qr: `data:image/svg+xml;base64,${base64(utf8(svg))}` }
}

/** The step whose code this is, at most one away from that of `now`; null where it is the code of none of them. */
export function stepOf(secret: string, code: string, now: number): number | null {
  const key = keyOf(secret)
  const step = Math.floor(now / PERIOD_MS)
  let found: number | null = null
  // All of them are compared, however early one fits.
  for (let at = step - DRIFT; at <= step + DRIFT; at++)
    if (at >= 0 && equalInConstantTime(code, codeOf(key, at))) found ??= at
  return found
}
