import { createHash, createHmac, generateKeyPairSync, randomBytes } from 'node:crypto'
import { ORIGIN } from './runtime.ts'

// What a person has to log in with: an authenticator app, and a device that keeps passkeys.

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/** The code that an authenticator app shows now (RFC 6238). */
export function codeOf(secret: string): string {
  const bits = [...secret].map((letter) => BASE32.indexOf(letter).toString(2).padStart(5, '0')).join('')
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((eight) => Number.parseInt(eight, 2)))
  const step = Buffer.alloc(8)
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)))
  const mac = createHmac('sha1', key).update(step).digest()
  const number = mac.readUInt32BE((mac.at(-1) ?? 0) & 0xf) & 0x7fffffff
  return String(number % 1_000_000).padStart(6, '0')
}

/** What a browser answers to the options of a registration: a new key of ES256, attested by nobody (WebAuthn, 6.5). */
export function passkeyFor({ challenge }: Record<string, unknown>): object {
  const { x = '', y = '' } = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
    format: 'jwk',
  })
  const id = randomBytes(32)
  // CBOR by hand: {1: 2, 3: -7, -1: 1, -2: x, -3: y}.
  const key = [
    hex('a5010203262001215820'),
    Buffer.from(x, 'base64url'),
    hex('225820'),
    Buffer.from(y, 'base64url'),
  ]
  // Somebody was there and unlocked it, and a credential follows; none was counted; the model is not told.
  const data = Buffer.concat([
    createHash('sha256').update(new URL(ORIGIN).hostname).digest(),
    ...[hex('45'), Buffer.alloc(4), Buffer.alloc(16), hex('0020'), id, ...key],
  ])
  // {"fmt": "none", "attStmt": {}, "authData": data}.
  const head = [
    hex('a363'),
    'fmt',
    hex('64'),
    'none',
    hex('67'),
    'attStmt',
    hex('a068'),
    'authData',
    hex('58'),
  ]
  const attestation = Buffer.concat([
    ...head.map((part) => Buffer.from(part)),
    Buffer.from([data.length]),
    data,
  ])
  const client = JSON.stringify({ type: 'webauthn.create', challenge, origin: ORIGIN, crossOrigin: false })
  return {
    ...{ id: id.toString('base64url'), rawId: id.toString('base64url'), type: 'public-key' },
    clientExtensionResults: {},
    response: {
      clientDataJSON: Buffer.from(client).toString('base64url'),
      attestationObject: attestation.toString('base64url'),
      transports: ['internal'],
    },
  }
}

const hex = (digits: string) => Buffer.from(digits, 'hex')
