import * as z from 'zod'
import { fromBase64 } from '../../../lib/encoding'
import { Language } from '../../../lib/language'
import { Id, paging } from '../../../lib/wire'
import { refusalOfTemplate } from '../../secrets/template'
import { MAX_CONTENT } from '../messages/schema'

/** What stands for a secret wherever it could be read; sent back, it leaves the secret as it is. */
export const MASK = '********'

const Kind = z
  .enum(
    ['echo', 'webhook', 'openai', 'workers_ai', 'ultravox'],
    'must be echo, webhook, openai, workers_ai or ultravox',
  )
  .meta({
    description:
      'What answers: the message itself, a URL of yours, a server of the OpenAI protocol, a model of Cloudflare’s Workers AI, or Ultravox, which speaks on calls only.',
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
  .superRefine((value, issue) => {
    const message = refusalOfTemplate(value)
    if (message !== null) issue.addIssue({ code: 'custom', message })
  })

const ONCE_SET =
  'Shown as ******** once it is set; `{{secrets.name}}` in it stands for a secret, which needs `secrets:use`.'

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
    description:
      'Goes to the agent as it is; `openai` and `workers_ai` take every parameter of their models.',
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

const SpokenLanguage = Language.meta({ description: 'What is spoken on calls (BCP 47).', example: 'en-US' })

const ids = (what: string, most: number) =>
  z
    .array(Id, `must be a list of ids, each of a ${what}`)
    .max(most, `must have at most ${most} ids`)
    .refine((all) => new Set(all).size === all.length, `must name each ${what} once`)

const fields = {
  name: z.string().trim().min(1, 'must not be empty').max(200, 'must have at most 200 characters'),
  description: z.string().max(2000, 'must have at most 2000 characters').nullable(),
  system_prompt: z.string().max(32_768, 'must have at most 32,768 characters').nullable(),
  config: Config,
  is_active: z.boolean('must be true or false'),
  webhook_url: Url.meta({ format: 'uri', example: 'https://n8n.example.com/webhook/support-bot' }),
  webhook_token: Credential.nullable().meta({ description: ONCE_SET, example: null }),
  webhook_header: HeaderName.nullable(),
  idempotent: z.boolean('must be true or false').meta({
    description: 'Whether a request that failed before any answer may be sent again (all kinds but `echo`).',
  }),
  base_url: Url.meta({ format: 'uri', example: 'https://api.openai.com/v1' }),
  api_key: Credential.nullable().meta({ description: ONCE_SET, example: null }),
  signing_secret: SigningSecret,
  voice_id: Id.nullable().meta({
    description: 'Speaks on calls; one of `GET /api/v1/voices`.',
    example: null,
  }),
  language: SpokenLanguage.nullable(),
  greeting: z.string().max(2000, 'must have at most 2000 characters').nullable().meta({
    description: 'What it says first on a call; null has the other side begin.',
    example: 'Hello, this is the support of Example Inc. How can I help?',
  }),
  tools: ids('tool', 32).meta({ description: 'Ids of the tools that it may call.', example: [] }),
  knowledge_base_ids: ids('knowledge base', 10).meta({
    description: 'Ids of the knowledge bases whose best pieces go into its prompt.',
    example: [],
  }),
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
    voice_id: Id.nullable(),
    language: z.string().nullable().meta({ example: 'en-US' }),
    greeting: z.string().nullable(),
    tools: z
      .array(Id)
      .meta({ description: 'Tools that it may call; one that was deleted is no longer here.' }),
    knowledge_base_ids: z
      .array(Id)
      .meta({ description: 'What it knows; a base that was deleted is no longer here.' }),
    provider_agent_id: z
      .string()
      .nullable()
      .meta({ description: 'Its id at the provider of its calls, once it has one there.' }),
    sync_status: z.enum(['pending', 'synced', 'failed']).nullable().meta({
      description:
        'Whether that provider has its last change: not yet (it is tried again by itself), yes, or refused, as `sync_error` says. Null for kinds without one.',
    }),
    sync_error: z.string().nullable(),
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
