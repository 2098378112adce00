import * as z from 'zod'
import { Id, paging } from '../../../lib/wire'
import { Channel, EventTypeName, EventTypePattern } from '../../events/schema'
import { Attempt } from '../deliveries/schema'
import { type Filter, issuesOf } from './filter'
import { refusalOfHeader } from './headers'
import { isSigningSecret } from './secret'

export const Uid = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,128}$/, 'must be 1 to 128 of the characters A-Z a-z 0-9 . _ -')
  .meta({ description: 'Your own name for the endpoint; unique in the tenant.', example: 'billing' })

const Url = z
  .string()
  .min(1, 'must be an absolute https URL')
  .max(2048, 'must be at most 2048 characters')
  .meta({ format: 'uri', example: 'https://example.com/webhooks' })

const Headers = z
  .record(z.string(), z.string('must be a string'))
  .superRefine((headers, issue) => {
    const seen = new Set<string>()
    for (const [name, value] of Object.entries(headers)) {
      const twice = seen.has(name.toLowerCase()) ? 'is given twice' : null
      const refusal = twice ?? refusalOfHeader(name, value)
      if (refusal) issue.addIssue({ code: 'custom', path: [name], message: refusal })
      seen.add(name.toLowerCase())
    }
    if (seen.size > 20) issue.addIssue({ code: 'custom', message: 'must have at most 20 headers' })
  })
  .meta({
    description: 'Sent with every delivery. Values that may be credentials are shown as ********.',
    example: { 'X-Environment': 'production' },
  })

const Condition = z
  .record(z.string(), z.unknown(), 'must be a condition, or null for none')
  .superRefine((filter, issue) => {
    for (const { at, why } of issuesOf(filter)) issue.addIssue({ code: 'custom', path: at, message: why })
  })
  .meta({
    description:
      'A condition over the event’s data: a `path` with one of `equals`, `in`, `exists`, `prefix` and `compare` (`gt`, `gte`, `lt`, `lte`), or `and`, `or`, `not` of others.',
    example: { path: 'order.total', compare: { gte: 100 } },
  })
// What was looked through is one.
export const FilterField = Condition as unknown as z.ZodType<Filter, Filter>

const fields = {
  uid: Uid.nullable(),
  url: Url,
  description: z.string().max(1000, 'must have at most 1000 characters').meta({ example: 'Billing' }),
  event_types: z
    .array(EventTypePattern)
    .min(1, 'must name at least one event type')
    .max(100, 'must have at most 100 event types')
    .meta({
      description: 'Types, prefixes such as `chat.*`, or `*`.',
      example: ['interaction.created', 'chat.*'],
    }),
  channels: z
    .array(Channel)
    .max(100, 'must have at most 100 channels')
    .meta({ description: 'Only events of one of these; empty for all.', example: [] }),
  filter: FilterField.nullable().meta({ description: 'Only events whose data fulfil it; null for all.' }),
  payload: z.enum(['event', 'data'], 'must be event or data').meta({
    description: 'What the body is: the event, or its data alone.',
  }),
  signature_profile: z.enum(['standard', 'svix', 'stripe'], 'must be standard, svix or stripe').meta({
    description: 'Whose names the signature’s headers have: webhook-*, svix-* or Stripe-Signature.',
  }),
  headers: Headers,
  timeout_ms: z.int().min(1000).max(30_000).meta({
    description: 'How long an attempt may take in all, the answer’s body included.',
    example: 10_000,
  }),
  rate_limit: z
    .int('must be a whole number of deliveries a second, or null')
    .min(1, 'must be at least 1 delivery a second')
    .max(1000, 'must be at most 1000 deliveries a second')
    .nullable()
    .meta({
      description: 'Deliveries a second; what is above waits. Null for no limit of its own.',
      example: 20,
    }),
  ordered: z.boolean('must be true or false').meta({
    description:
      'Whether events of one `subject` arrive in the order in which they were accepted: one that fails holds those behind it until it is delivered, exhausted or cancelled. Events without a subject are one line of their own.',
  }),
  retry_schedule: z
    .array(
      z
        .int('must be a whole number of seconds')
        .min(1, 'must be at least 1 second')
        .max(86_400, 'must be at most 86400 seconds'),
    )
    .max(20, 'must have at most 20 waits')
    .nullable()
    .meta({
      description:
        'Seconds to wait after each failed attempt, ± 10 %; after the last the delivery is exhausted. Null for the service’s own schedule.',
      example: [5, 60, 3600],
    }),
  status: z.enum(['active', 'paused'], 'must be active or paused'),
}

export const CreateEndpoint = z.strictObject({
  ...fields,
  uid: fields.uid.default(null),
  description: fields.description.default(''),
  filter: fields.filter.default(null),
  channels: fields.channels.default([]),
  payload: fields.payload.default('event'),
  signature_profile: fields.signature_profile.default('standard'),
  headers: Headers.default({}),
  timeout_ms: fields.timeout_ms.default(10_000),
  rate_limit: fields.rate_limit.default(null),
  ordered: fields.ordered.default(false),
  retry_schedule: fields.retry_schedule.default(null),
  status: fields.status.default('active'),
})

export const UpdateEndpoint = z.strictObject(fields).partial()

/** By the tenant's own name for it: what is left out stays as it is, or has the default of a new one. */
export const PutEndpoint = z.strictObject({
  ...z.strictObject(fields).omit({ uid: true }).partial().shape,
  url: fields.url,
  event_types: fields.event_types,
})

export const Status = z.enum(['active', 'degraded', 'paused', 'disabled'])

export const ListEndpoints = { ...paging, status: Status.optional(), uid: Uid.optional() }

export const Endpoint = z
  .object({
    id: Id,
    tenant_id: Id,
    application_id: z.string().nullable().meta({
      description: 'The application that it belongs to; null for the tenant’s own.',
      format: 'uuid',
      example: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d',
    }),
    ...fields,
    uid: z.string().nullable().meta({ example: 'billing' }),
    url: z.string().meta({ format: 'uri', example: 'https://example.com/webhooks' }),
    filter: z.record(z.string(), z.unknown()).nullable(),
    headers: z.record(z.string(), z.string()).meta({ example: { Authorization: '********' } }),
    status: Status,
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Endpoint' })

const Secret = z.string().meta({
  description: 'Verifies signatures (Standard Webhooks).',
  example: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=',
})

export const CreatedEndpoint = Endpoint.extend({ secret: Secret }).meta({ id: 'CreatedEndpoint' })
export const RegisteredEndpoint = Endpoint.extend({
  secret: Secret.optional().meta({ description: 'Only where the endpoint was made.' }),
}).meta({ id: 'RegisteredEndpoint' })
export const EndpointSecret = z.object({ secret: Secret }).meta({ id: 'EndpointSecret' })

export const RotateSecret = z.strictObject({
  overlap_seconds: z
    .int()
    .min(0)
    .max(7 * 86_400, 'must be at most 604800, which is 7 days')
    .default(86_400)
    .meta({ description: 'How long the secret before signs too; 0 ends it at once.' }),
  secret: z
    .string()
    .refine(isSigningSecret, 'must be whsec_ and the base64 of 24 to 64 bytes')
    .optional()
    .meta({ description: 'One of your own; made, if left out.', example: Secret.meta()?.example }),
})

export const RotatedSecret = z
  .object({
    secret: Secret,
    previous_expires_at: z.string().nullable().meta({
      description: 'Until when the secret before signs too; null where it does not.',
      format: 'date-time',
      example: '2026-02-01T10:00:00.000Z',
    }),
  })
  .meta({ id: 'RotatedSecret' })

export const TestEndpoint = z.strictObject({
  type: EventTypeName.optional().meta({
    description: 'The type to send a sample of; by default one that the endpoint takes.',
    example: 'interaction.created',
  }),
})

export const TestResult = z
  .object({
    event_id: z.string(),
    event_type: z.string(),
    delivered: z.boolean(),
    attempt: Attempt,
  })
  .meta({ id: 'TestResult' })

export type CreateEndpoint = z.output<typeof CreateEndpoint>
export type PutEndpoint = z.output<typeof PutEndpoint>
export type UpdateEndpoint = z.output<typeof UpdateEndpoint>
export type ListEndpoints = z.output<z.ZodObject<typeof ListEndpoints>>
export type Endpoint = z.input<typeof Endpoint>
export type RotateSecret = z.output<typeof RotateSecret>
export type RotatedSecret = z.input<typeof RotatedSecret>
export type TestEndpoint = z.output<typeof TestEndpoint>
export type TestResult = z.input<typeof TestResult>
