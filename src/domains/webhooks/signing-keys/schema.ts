import * as z from 'zod'
import { Id } from '../../../lib/wire'

/** A day, as for secrets; a week at most. */
const DEFAULT_OVERLAP_SECONDS = 24 * 3600
const MAX_OVERLAP_SECONDS = 7 * 24 * 3600
const OVERLAP = `must be a whole number of seconds from 0 to ${MAX_OVERLAP_SECONDS}`

export const WebhookKey = z
  .object({
    id: Id.meta({ description: 'Its `kid` in the JWKS.' }),
    public_key: z.string().meta({
      description: '`whpk_` and the base64 of its 32 bytes, as Standard Webhooks writes it.',
      example: 'whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=',
    }),
    created_at: z.string().meta({ format: 'date-time' }),
    signs_until: z.string().nullable().meta({
      description: 'Until then it signs beside the newest; null for the newest.',
      format: 'date-time',
      example: '2026-01-31T10:00:00.000Z',
    }),
  })
  .meta({ id: 'WebhookKey' })

export const RotateWebhookKey = z.strictObject({
  overlap_seconds: z
    .int(OVERLAP)
    .min(0, OVERLAP)
    .max(MAX_OVERLAP_SECONDS, OVERLAP)
    .default(DEFAULT_OVERLAP_SECONDS)
    .meta({
      description: 'For how long the keys before sign too. 0 ends them now: for a key that leaked.',
      example: DEFAULT_OVERLAP_SECONDS,
    }),
})

export const WebhookJwks = z
  .object({
    keys: z.array(
      z.object({
        kty: z.literal('OKP'),
        crv: z.literal('Ed25519'),
        x: z.string().meta({ example: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }),
        kid: z.string(),
        alg: z.literal('EdDSA'),
        use: z.literal('sig'),
      }),
    ),
  })
  .meta({ id: 'WebhookJwks' })

export type WebhookKey = z.input<typeof WebhookKey>
export type WebhookJwks = z.input<typeof WebhookJwks>
export type RotateWebhookKey = z.output<typeof RotateWebhookKey>
