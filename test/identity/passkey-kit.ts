import { env } from 'cloudflare:workers'
import { directory } from '../../src/data/database'
import { handleOf } from '../../src/domains/identity/passkeys/ceremony'
import { passkeys } from '../../src/domains/identity/passkeys/table'
import type { UserRow } from '../../src/domains/identity/users/table'
import type { Bindings } from '../../src/env'
import { base64url, utf8 } from '../../src/lib/encoding'
import { iso, newId } from '../../src/lib/ids'

// An authenticator as WebAuthn describes it (6.1, 6.3), which also does what no honest one would.

type Bytes = Uint8Array<ArrayBuffer>
type Options = { challenge: string }

const USER_PRESENT = 0x01
const USER_VERIFIED = 0x04
const HAS_CREDENTIAL = 0x40

/** What may be otherwise than it should. */
export type Twist = {
  origin?: string
  rpId?: string
  type?: string
  crossOrigin?: boolean
  verified?: boolean
  counter?: number
  userHandle?: Bytes
  challenge?: string
  /** Changes the signature. */
  forged?: boolean
  attestation?: 'none' | 'fido-u2f'
}

export const ORIGIN = 'http://localhost:8787'
const concat = (...parts: Uint8Array[]): Bytes => Uint8Array.from(parts.flatMap((part) => [...part]))
const sha256 = async (data: Bytes): Promise<Bytes> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', data))
const u32 = (value: number) => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]

/** CBOR of what a COSE key and an attestation object are made of. */
function cbor(value: unknown): Bytes {
  const head = (major: number, size: number) =>
    size < 24
      ? [(major << 5) | size]
      : size < 256
        ? [(major << 5) | 24, size]
        : [(major << 5) | 25, size >> 8, size & 255]
  if (typeof value === 'number') return Uint8Array.from(value >= 0 ? head(0, value) : head(1, -1 - value))
  if (typeof value === 'string') return concat(Uint8Array.from(head(3, utf8(value).length)), utf8(value))
  if (value instanceof Uint8Array) return concat(Uint8Array.from(head(2, value.length)), value)
  if (Array.isArray(value)) return concat(Uint8Array.from(head(4, value.length)), ...value.map(cbor))
  const entries = [...(value as Map<unknown, unknown>)]
  return concat(Uint8Array.from(head(5, entries.length)), ...entries.flatMap(([k, v]) => [cbor(k), cbor(v)]))
}

/** DER of an ECDSA signature that WebCrypto gives as two numbers of equal length. */
export function derOf(raw: Uint8Array): Bytes {
  const integer = (bytes: Uint8Array): number[] => {
    const first = bytes.findIndex((byte) => byte !== 0)
    const short = [...bytes.subarray(first < 0 ? bytes.length - 1 : first)]
    if ((short[0] ?? 0) >= 0x80) short.unshift(0)
    return [0x02, short.length, ...short]
  }
  const half = raw.length / 2
  const body = [...integer(raw.subarray(0, half)), ...integer(raw.subarray(half))]
  const size = body.length < 0x80 ? [body.length] : [0x81, body.length]
  return Uint8Array.from([0x30, ...size, ...body])
}

export type Authenticator = Awaited<ReturnType<typeof newAuthenticator>>

/** A device with one new key, ES256 or EdDSA. */
export async function newAuthenticator(algorithm: 'ES256' | 'EdDSA' = 'ES256') {
  const ec = { name: 'ECDSA', namedCurve: 'P-256' }
  const pair = (await crypto.subtle.generateKey(algorithm === 'ES256' ? ec : { name: 'Ed25519' }, true, [
    'sign',
    'verify',
  ])) as CryptoKeyPair
  const raw = new Uint8Array((await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer)
  const publicKey = new Map<number, number | Uint8Array>(
    algorithm === 'ES256'
      ? [
          [1, 2],
          [3, -7],
          [-1, 1],
          [-2, raw.slice(1, 33)],
          [-3, raw.slice(33)],
        ]
      : [
          [1, 1],
          [3, -8],
          [-1, 6],
          [-2, raw],
        ],
  )
  const id = crypto.getRandomValues(new Uint8Array(32))
  let counter = 0
  let handle: Bytes | null = null

  const clientData = (type: string, options: Options, twist: Twist): Bytes =>
    utf8(
      JSON.stringify({
        type: twist.type ?? type,
        challenge: twist.challenge ?? options.challenge,
        origin: twist.origin ?? ORIGIN,
        crossOrigin: twist.crossOrigin ?? false,
      }),
    )
  const authData = async (flags: number, twist: Twist, more: Uint8Array = new Uint8Array()): Promise<Bytes> =>
    concat(
      await sha256(utf8(twist.rpId ?? 'localhost')),
      Uint8Array.from([
        flags | USER_PRESENT | (twist.verified === false ? 0 : USER_VERIFIED),
        ...u32(twist.counter ?? counter),
      ]),
      more,
    )
  const credential = (response: object) => ({
    id: base64url(id),
    rawId: base64url(id),
    type: 'public-key',
    clientExtensionResults: {},
    response,
  })

  return {
    id: base64url(id),
    publicKey: base64url(cbor(publicKey)),
    /** What navigator.credentials.create() would give for these options. */
    async create(options: Options & { user: { id: string } }, twist: Twist = {}) {
      handle = Uint8Array.from(atob(options.user.id.replaceAll('-', '+').replaceAll('_', '/')), (char) =>
        char.charCodeAt(0),
      )
      const data = concat(
        new Uint8Array(16),
        Uint8Array.from([id.length >> 8, id.length & 255]),
        id,
        cbor(publicKey),
      )
      const statement =
        twist.attestation === 'fido-u2f'
          ? new Map<string, unknown>([
              ['sig', new Uint8Array(70)],
              ['x5c', [new Uint8Array(100)]],
            ])
          : new Map()
      const attestationObject = cbor(
        new Map<string, unknown>([
          ['fmt', twist.attestation ?? 'none'],
          ['attStmt', statement],
          ['authData', await authData(HAS_CREDENTIAL, twist, data)],
        ]),
      )
      return credential({
        clientDataJSON: base64url(clientData('webauthn.create', options, twist)),
        attestationObject: base64url(attestationObject),
        transports: ['internal', 'hybrid'],
      })
    },
    /** What navigator.credentials.get() would give. */
    async get(options: Options, twist: Twist = {}) {
      counter += 1
      const client = clientData('webauthn.get', options, twist)
      const data = await authData(0, twist)
      const signed = concat(data, await sha256(client))
      const params = algorithm === 'ES256' ? { name: 'ECDSA', hash: 'SHA-256' } : { name: 'Ed25519' }
      const raw = new Uint8Array(await crypto.subtle.sign(params, pair.privateKey, signed))
      const signature = algorithm === 'ES256' ? derOf(raw) : raw
      if (twist.forged) signature[signature.length - 1] = (signature.at(-1) ?? 0) ^ 1
      return credential({
        clientDataJSON: base64url(client),
        authenticatorData: base64url(data),
        signature: base64url(signature),
        userHandle: base64url(twist.userHandle ?? handle ?? new Uint8Array(32)),
      })
    },
    /** For one whose key was put into the database by hand. */
    belongsTo(user: Pick<UserRow, 'tenant_id' | 'id'>) {
      handle = handleOf(user.tenant_id, user.id)
    },
  }
}

/** Puts a passkey of a user straight into D1; answers its id. */
export async function insertPasskey(
  user: Pick<UserRow, 'tenant_id' | 'id'>,
  authenticator?: Authenticator,
): Promise<string> {
  const made = authenticator ?? (await newAuthenticator())
  made.belongsTo(user)
  const now = Date.now()
  const id = newId(now)
  await directory(env as unknown as Bindings)
    .insert(passkeys)
    .values({
      tenant_id: user.tenant_id,
      id,
      user_id: user.id,
      name: 'Seed',
      credential_id: made.id,
      public_key: made.publicKey,
      counter: 0,
      transports: [],
      aaguid: '00000000-0000-0000-0000-000000000000',
      device_type: 'single_device',
      backed_up: false,
      created_at: iso(now),
      updated_at: iso(now),
    })
  return id
}
