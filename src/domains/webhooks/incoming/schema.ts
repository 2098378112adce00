import * as z from 'zod'
import { Id, paging } from '../../../lib/wire'
import { type Path, refusalOfPath } from '../endpoints/filter'
import { MASK } from '../endpoints/headers'

const SECRET = 'must be a secret of 8 to 256 visible ASCII characters'

/** Which of them fit a kind is said by the service (secrets.ts). */
const Secrets = z
  .array(
    z
      .string(SECRET)
      .min(8, SECRET)
      .max(256, SECRET)
      .regex(/^[\x20-\x7e]+$/, SECRET),
  )
  .min(1, 'must have one secret or two')
  .max(2, 'must have one secret or two')
  .meta({
    description:
      'What the sender signs with; two while one takes the other’s place. Never shown: `********` stays as it is.',
    example: ['a secret of at least 8 characters'],
  })

const HEADER = 'must be the name of an HTTP header'
const HeaderName = z.string(HEADER).regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, HEADER)

export const Kind = z.enum(
  ['standard', 'github', 'slack', 'shopify', 'twilio', 'telnyx', 'ultravox', 'hmac'],
  'must be standard, github, slack, shopify, twilio, telnyx, ultravox or hmac',
)

const Hmac = z
  .strictObject({
    header: HeaderName.default('X-Signature'),
    algorithm: z.enum(['sha1', 'sha256', 'sha512'], 'must be sha1, sha256 or sha512').default('sha256'),
    encoding: z.enum(['hex', 'base64'], 'must be hex or base64').default('hex'),
    prefix: z
      .string()
      .regex(/^[\x21-\x7e]{0,32}$/, 'must be at most 32 visible ASCII characters')
      .default('')
      .meta({ description: 'Stands before the signature, `sha256=` say.' }),
    timestamp_header: HeaderName.nullable().default(null).meta({
      description: 'Holds seconds since 1970; then `{timestamp}.{body}` is signed, at most 300 s ago.',
    }),
    id_header: HeaderName.nullable().default(null).meta({
      description: 'Holds the webhook’s id. Without ids, the same bytes are the same webhook.',
    }),
    type_header: HeaderName.nullable().default(null).meta({
      description: 'Holds the webhook’s type; else it is the field `type` of the body.',
    }),
  })
  .meta({ id: 'HmacSource' })

const SubjectPath = z
  .union([z.string(), z.array(z.string())], 'must be names joined by dots, or a list of names')
  .superRefine((path, issue) => {
    const refusal = refusalOfPath(path)
    if (refusal !== null) issue.addIssue({ code: 'custom', message: refusal })
  })
  .nullable()
  .meta({
    description:
      'Where a payload says whom or what it is about: names joined by dots. What stands there, a text or a whole number, is the event’s `subject`.',
    example: 'data.customer',
  }) as z.ZodType<Path | null>

const PER_MINUTE = 'must be a whole number from 1 to 6000'
const fields = {
  name: z
    .string()
    .min(1, 'must not be empty')
    .max(100, 'must have at most 100 characters')
    .meta({ example: 'Our repositories' }),
  secrets: Secrets,
  per_minute: z.int(PER_MINUTE).min(1, PER_MINUTE).max(6000, PER_MINUTE).meta({
    description: 'How many it may bring a minute; no more than the tenant’s requests, whatever it says.',
    example: 100,
  }),
  subject_path: SubjectPath,
}

export const CreateSource = z.strictObject({
  kind: Kind,
  ...fields,
  hmac: Hmac.optional().meta({ description: 'For the kind `hmac`: how its sender signs.' }),
  per_minute: fields.per_minute.default(100),
  subject_path: SubjectPath.default(null),
})

/** Another kind is another source. */
export const UpdateSource = z.strictObject({ ...fields, hmac: Hmac }).partial()

export const ListSources = { ...paging }

export const Source = z
  .object({
    id: Id,
    tenant_id: Id,
    kind: Kind,
    name: z.string(),
    url: z.string().meta({
      format: 'uri',
      description: 'Where its sender is to send.',
      example: 'https://api.example.com/api/v1/webhooks/in/0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d',
    }),
    secrets: z.array(z.string()).meta({ example: [MASK] }),
    hmac: Hmac.nullable(),
    per_minute: z.int(),
    subject_path: SubjectPath,
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'WebhookSource' })

export const Refused = z
  .object({
    id: Id,
    source: z.string().meta({ description: 'The source’s id, or the provider’s name.' }),
    code: z.string().meta({ example: 'invalid_signature' }),
    message: z.string(),
    size_bytes: z.int().nullable(),
    content_type: z.string().nullable(),
    user_agent: z.string().nullable(),
    address: z.string().nullable(),
    request_id: z.string(),
    received_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'RefusedWebhook' })

export const Received = z
  .object({
    id: Id,
    source: z.string().meta({ description: 'The source’s id, or the provider’s name.' }),
    key: z
      .string()
      .meta({ description: 'What its sender knows it by.', example: 'evt_1NG8Du2eZvKYlo2CUI79vXWy' }),
    type: z.string().meta({ example: 'checkout.session.completed' }),
    event_id: z.string().nullable().meta({ description: 'The event that it became.' }),
    size_bytes: z.int(),
    signed_by: z.int().meta({ description: 'Which of the source’s secrets had signed it.' }),
    received_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'ReceivedWebhook' })

export const ReceivedDetail = Received.extend({
  payload: z.unknown().meta({ description: 'As it came; null once it is kept no more.' }),
}).meta({ id: 'ReceivedWebhookDetail' })

export const ListReceived = {
  ...paging,
  source: z
    .string()
    .max(64)
    .optional()
    .meta({ description: 'Of this source alone, by its id; or of stripe, telnyx or ultravox.' }),
}

export const Receipt = z
  .object({
    id: Id.meta({ description: 'Of its record; a repeat has the first one’s.' }),
    event_id: z.string().nullable().meta({ description: 'The event that it became.' }),
    duplicate: z.boolean().meta({ description: 'Whether it was here before.' }),
  })
  .meta({ id: 'WebhookReceipt' })

export const ProviderName = z.enum(['stripe', 'telnyx', 'ultravox'], 'must be stripe, telnyx or ultravox')

export type CreateSource = z.output<typeof CreateSource>
export type UpdateSource = z.output<typeof UpdateSource>
export type Source = z.input<typeof Source>
export type Refused = z.input<typeof Refused>
export type Received = z.input<typeof Received>
export type ReceivedDetail = z.input<typeof ReceivedDetail>
