import { tagUnder } from '../../../lib/crypto'
import { base64, fromBase64, hex, utf8 } from '../../../lib/encoding'
import type { EndpointRow } from '../endpoints/table'

/** What signs: each secret (`whsec_` and base64), and each Ed25519 key of the tenant. */
export type Keys = { secrets: readonly string[]; signers: readonly CryptoKey[] }

/** What is signed; `timestamp` is in seconds. */
export type Signed = { id: string; timestamp: number; body: string }

/** The headers that let a receiver verify an attempt, under the names that its library looks for. */
export async function signatureHeaders(
  profile: EndpointRow['signature_profile'],
  keys: Keys,
  signed: Signed,
): Promise<Record<string, string>> {
  const { id, timestamp } = signed
  if (profile === 'stripe')
    return { 'webhook-id': id, 'stripe-signature': await stripeSignature(keys.secrets, signed) }
  const prefix = profile === 'svix' ? 'svix' : 'webhook'
  return {
    [`${prefix}-id`]: id,
    [`${prefix}-timestamp`]: String(timestamp),
    [`${prefix}-signature`]: await signature(keys.secrets, id, timestamp, signed.body, keys.signers),
  }
}

/**
 * The `webhook-signature` of Standard Webhooks: for each secret `v1,` and the HMAC-SHA256 of `id.timestamp.body`, for each
 * key `v1a,` and its Ed25519 signature of the same, with spaces between.
 */
export async function signature(
  secrets: readonly string[],
  id: string,
  timestamp: number,
  body: string,
  signers: readonly CryptoKey[] = [],
): Promise<string> {
  const text = `${id}.${timestamp}.${body}`
  const bytes = signers.length > 0 ? utf8(text) : new Uint8Array()
  const parts = await Promise.all([
    ...secrets.map(async (secret) => {
      const raw = fromBase64(secret.replace(/^whsec_/, ''))
      if (!raw) throw new Error('a signing secret is not base64')
      return `v1,${base64(await tagUnder(raw, text))}`
    }),
    ...signers.map(
      async (key) => `v1a,${base64(new Uint8Array(await crypto.subtle.sign('Ed25519', key, bytes)))}`,
    ),
  ])
  return parts.join(' ')
}

/** Stripe's: `t=` and for each secret `v1=` and the HMAC-SHA256 of `t.body` in hex, under the secret as it is written. */
async function stripeSignature(secrets: readonly string[], { timestamp, body }: Signed): Promise<string> {
  const parts = secrets.map(
    async (secret) => `v1=${hex(await tagUnder(utf8(secret), `${timestamp}.${body}`))}`,
  )
  return [`t=${timestamp}`, ...(await Promise.all(parts))].join(',')
}
