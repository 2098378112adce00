import * as z from 'zod'
import { fromBase64 } from '../../../lib/encoding'
import { Id, paging } from '../../../lib/wire'
import { MAX_CONTENT } from '../messages/schema'

/** What stands for a secret wherever it could be read; sent back, it leaves the secret as it is. */
export const MASK = '********'

const Kind = z.enum(['echo', 'webhook', 'openai'], 'must be echo, webhook or openai').meta({
  description: 'What answers: the message itself, a URL of yours, or a server of the OpenAI protocol.',
})

const Url = z
  .string('must be an absolute https URL')
  .min(1, 'must be an absolute https URL')
  .max(2048, 'must have at most 2048 characters')

/** Visible ASCII, so that it can be the value of a header. */
const Credential = z
  .string()
  .regex(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/, 'must be visible ASCII without spaces at its ends')
  .max(4096, 'must have at most 4096 characters')

const SigningSecret = z
  .string()
  .refine(isSigningSecret, 'must be whsec_ and the base64 of 24 to 64 bytes')
  .meta({
    description: 'Signs requests (Standard Webhooks); made for you, and shown once, if you give none.',
    example: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=',
  })

function isSigningSecret(value: string): boolean {
  if (value === MASK) return true
  const raw = value.startsWith('whsec_') ? fromBase64(value.slice('whsec_'.length)) : null
  return raw !== null && raw.byteLength >= 24 && raw.byteLength <= 64
}

const MAX_CONFIG = 16 * 1024

const Config = z
  .looseObject({
    model: z.string().min(1, 'must name a model').max(200, 'must have at most 200 characters').optional(),
    temperature: z.number().min(0).max(2).optional(),
    max_tokens: z.int().min(1).max(1_000_000).optional(),
  })
  .refine((config) => JSON.stringify(config).length <= MAX_CONFIG, 'must have at most 16 KiB as JSON')
  .meta({
    description: 'Goes to the agent as it is; `openai` takes every parameter of chat completions.',
    example: { model: 'gpt-4', temperature: 0.7, max_tokens: 2000 },
  })

/** Names that the request has already, or that are the connection's (RFC 9110, 7.6.1). */
const TAKEN =
  /^(?:host|content-.*|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|accept.*|user-agent|traceparent|tracestate|webhook-.*|x-causeway-.*|x-forwarded-.*|cf-.*)$/i

const HeaderName = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'must be the name of an HTTP header')
  .refine((name) => !TAKEN.test(name), 'is set by the service or the connection; choose another name')
  .meta({
    description: 'Carries webhook_token as it is, in place of `Authorization: Bearer`.',
    example: 'X-N8N-Key',
  })

const fields = {
  name: z.string().trim().min(1, 'must not be empty').max(200, 'must have at most 200 characters'),
  description: z.string().max(2000, 'must have at most 2000 characters').nullable(),
  system_prompt: z.string().max(32_768, 'must have at most 32,768 characters').nullable(),
  config: Config,
  is_active: z.boolean('must be true or false'),
  webhook_url: Url.meta({ format: 'uri', example: 'https://n8n.example.com/webhook/support-bot' }),
  webhook_token: Credential.nullable().meta({
    description: 'Shown as ******** once it is set.',
    example: null,
  }),
  webhook_header: HeaderName.nullable(),
  idempotent: z.boolean('must be true or false').meta({
    description:
      'Whether a request that failed before any answer may be sent again (`webhook` and `openai`).',
  }),
  base_url: Url.meta({ format: 'uri', example: 'https://api.openai.com/v1' }),
  api_key: Credential.nullable().meta({ description: 'Shown as ******** once it is set.', example: null }),
  signing_secret: SigningSecret,
}

const supportBot = {
  name: 'Support Bot',
  description: 'Customer support assistant',
  webhook_url: 'https://n8n.example.com/webhook/support-bot',
  webhook_token: 'secret_token_123',
  system_prompt: 'You are a helpful customer support assistant.',
  config: { model: 'gpt-4', temperature: 0.7, max_tokens: 2000 },
}

/** Without a `kind`, a body with a webhook_url is a webhook agent, and one without is an echo. */
export const CreateAgent = z
  .strictObject({ ...fields, kind: Kind })
  .partial()
  .required({ name: true })
  .meta({ examples: [supportBot] })
export type CreateAgent = z.output<typeof CreateAgent>

/** Fields left out stay as they are, with PUT as with PATCH. */
export const UpdateAgent = z
  .strictObject({
    ...fields,
    kind: Kind.meta({ description: 'Only what it is already: another kind is another agent.' }),
    avatar: z
      .null('must be null; POST a picture to /avatar')
      .meta({ description: 'null takes the picture away.' }),
  })
  .partial()
  .meta({ examples: [{ name: 'Support Bot Updated', is_active: false }] })
export type UpdateAgent = z.output<typeof UpdateAgent>

export const ListAgents = {
  ...paging,
  include_inactive: z.stringbool('must be true or false').default(false).meta({
    description: 'Whether agents that do not answer are listed too.',
  }),
  kind: Kind.optional(),
  q: z.string().trim().min(1).max(100).optional().meta({ description: 'Words of the name or description.' }),
}
export type ListAgents = z.output<z.ZodObject<typeof ListAgents>>

const Masked = z
  .string()
  .nullable()
  // Whatever is stored: no answer can show it.
  .overwrite((secret) => secret && MASK)
  .meta({ example: MASK })

export const Agent = z
  .object({
    id: Id,
    tenant_id: Id,
    name: z.string().meta({ example: 'Support Bot' }),
    description: z.string().nullable(),
    kind: Kind,
    system_prompt: z.string().nullable(),
    config: z.record(z.string(), z.unknown()).meta({ example: { model: 'gpt-4', temperature: 0.7 } }),
    avatar: z.string().nullable().meta({
      description: 'Where the picture is read, with a credential or the cookie; it may be cached for ever.',
      example:
        '/api/v1/agents/0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d/avatar?v=0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d',
    }),
    is_active: z.boolean(),
    webhook_url: z.string().nullable(),
    webhook_token: Masked,
    webhook_header: z.string().nullable(),
    signing_secret: Masked,
    base_url: z.string().nullable(),
    api_key: Masked,
    idempotent: z.boolean(),
    created_by: z.string().nullable().meta({ description: 'The user who made it.' }),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Agent' })

/** The only answer that shows the signing secret. */
export const CreatedAgent = Agent.extend({ signing_secret: SigningSecret.nullable() }).meta({
  id: 'CreatedAgent',
})

export const TestAgent = z.strictObject({
  content: z
    .string()
    .max(MAX_CONTENT, 'must have at most 131,072 characters')
    .refine((content) => content.trim() !== '', 'must not be empty')
    .meta({ example: 'Hello, are you there?' }),
})
export type TestAgent = z.output<typeof TestAgent>
