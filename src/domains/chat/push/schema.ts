import * as z from 'zod'
import { fromBase64url } from '../../../lib/encoding'
import { Id } from '../../../lib/wire'

const bytes = (size: number, message: string) =>
  z
    .string()
    .max(200)
    .transform((value) => value.replace(/=+$/, ''))
    .refine((value) => fromBase64url(value)?.byteLength === size, message)

/** What a browser’s `PushSubscription` is as JSON. */
export const Subscribe = z
  .strictObject({
    endpoint: z.string().max(2048).meta({ example: 'https://push.example.com/send/3f9a' }),
    expirationTime: z.number().nullable().optional().meta({ example: null }),
    keys: z.strictObject({
      p256dh: bytes(65, 'must be the 65 bytes of a public key in base64url').meta({
        example: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4',
      }),
      auth: bytes(16, 'must be the 16 bytes of a secret in base64url').meta({
        example: 'BTBZMqHH6r4Tts7J_aSIgg',
      }),
    }),
  })
  .meta({ description: 'The `toJSON()` of a browser’s PushSubscription.' })
export type Subscribe = z.output<typeof Subscribe>

export const PushSubscription = z
  .object({
    id: Id,
    service: z.string().meta({ description: 'The push service.', example: 'https://push.example.com' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'PushSubscription' })
export type PushSubscription = z.output<typeof PushSubscription>

export const PushKey = z
  .object({
    public_key: z.string().meta({
      description: 'For `applicationServerKey` of a browser’s `pushManager.subscribe`.',
      example: 'BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8',
    }),
  })
  .meta({ id: 'PushKey' })
