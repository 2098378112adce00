import { tagUnder } from '../../../lib/crypto'
import { base64, fromBase64 } from '../../../lib/encoding'

/**
 * The `webhook-signature` of Standard Webhooks: for each secret `v1,` and the HMAC-SHA256 of `id.timestamp.body`, with
 * spaces between. `timestamp` is in seconds; the secrets are `whsec_` and base64.
 */
export async function signature(
  secrets: readonly string[],
  id: string,
  timestamp: number,
  body: string,
): Promise<string> {
  const signed = `${id}.${timestamp}.${body}`
  const parts = await Promise.all(
    secrets.map(async (secret) => {
      const raw = fromBase64(secret.replace(/^whsec_/, ''))
      if (!raw) throw new Error('a signing secret is not base64')
      return `v1,${base64(await tagUnder(raw, signed))}`
    }),
  )
  return parts.join(' ')
}
