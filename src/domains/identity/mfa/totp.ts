import { createHmac } from 'node:crypto'
import { Secret, TOTP } from 'otpauth/bare'
import { renderSVG } from 'uqr'
import { randomBytes } from '../../../lib/crypto'
import { base64, utf8 } from '../../../lib/encoding'

// Codes by time (RFC 6238), with the parameters that every authenticator app takes: SHA-1, six digits, 30 seconds.

const PERIOD_MS = 30_000
/** One step before and after the clock's (RFC 6238, 5.2): a phone's clock may be off, and typing takes a while. */
const DRIFT = 1
/** 160 bits, the length of the hash (RFC 4226, 4). */
const SECRET_BYTES = 20

/** What the app shows above its codes. */
const ISSUER = 'Causeway'

const hmac = (_algorithm: string, key: Uint8Array, message: Uint8Array): Uint8Array =>
  createHmac('sha1', key).update(message).digest()

/** A new shared secret in base32. */
export function newSecret(): string {
  return new Secret({ buffer: randomBytes(SECRET_BYTES).buffer }).base32
}

/** The `otpauth:` URI that apps read, and the same as a QR code in a data URI. */
export function enrolmentOf(secret: string, label: string): { uri: string; qr: string } {
  const uri = new TOTP({ issuer: ISSUER, label, secret, hmac }).toString()
  const svg = renderSVG(uri, { ecc: 'M', border: 4, pixelSize: 4 })
  return { uri, qr: `data:image/svg+xml;base64,${base64(utf8(svg))}` }
}

/** The step whose code this is, at most one away from that of `now`; null where it is the code of none of them. */
export function stepOf(secret: string, code: string, now: number): number | null {
  const totp = new TOTP({ secret, hmac })
  const delta = totp.validate({ token: code, timestamp: now, window: DRIFT })
  return delta === null ? null : Math.floor(now / PERIOD_MS) + delta
}
