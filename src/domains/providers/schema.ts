import * as z from 'zod'
import { Id } from '../../lib/wire'
import { PROVIDER_KINDS } from './kinds'

export const Kind = z
  .enum(PROVIDER_KINDS, `must be one of ${PROVIDER_KINDS.join(', ')}`)
  .meta({ description: 'What it is for.', example: 'tts' })

const Option = z.string().trim().min(1, 'must not be empty').max(128, 'must have at most 128 characters')

export const UpdateProvider = z
  .strictObject({
    provider: z.string().max(64, 'must have at most 64 characters').meta({
      description: 'Whose it is: `elevenlabs`, `ultravox`, `telnyx`, `stripe` or `openai`, by its kind.',
    }),
    api_key: z
      .string()
      .max(4096, 'must have at most 4096 characters')
      .regex(/^[\x21-\x7e]+$/, 'must be visible ASCII without spaces')
      .nullable()
      .meta({
        description:
          'Never shown again. Needed where there is none yet, and where base_url names another host; null removes your own account.',
      }),
    base_url: z.string().max(2048, 'must have at most 2048 characters').nullable().meta({
      description: 'Where its API is, for a server of the same protocol; null: the provider’s own.',
    }),
    options: z.record(z.string().max(64), Option).meta({
      description:
        '`model` (tts, ultravox, transcriber), `connection_id` (telnyx): all of them, as they are to be.',
    }),
  })
  .partial()
export type UpdateProvider = z.output<typeof UpdateProvider>

export const ProviderView = z
  .object({
    tenant_id: Id,
    kind: Kind,
    source: z
      .enum(['tenant', 'operator', 'none'])
      .meta({ description: 'Whose account is used: yours, the operator’s, or there is none.' }),
    provider: z.string().nullable().meta({ example: 'elevenlabs' }),
    api_key: z
      .string()
      .nullable()
      .meta({ description: 'The end of your own key; null where it is not yours.', example: '********3f9a' }),
    base_url: z.string().nullable().meta({ description: 'Of your own account.' }),
    options: z.record(z.string(), z.string()),
    kept_as: z.string().nullable().meta({
      description: 'The secret that keeps your own key, for what may use secrets.',
      example: 'provider_tts',
    }),
    problem: z.string().nullable().meta({ description: 'Why your own account can’t be used, if so.' }),
    version: z.int().meta({ description: 'Of your own account, for If-Match; 0 where there is none.' }),
    updated_at: z.string().nullable().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Provider' })
export type ProviderView = z.input<typeof ProviderView>
