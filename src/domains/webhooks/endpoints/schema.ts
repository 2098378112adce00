import * as z from 'zod'
import { Id, paging } from '../../../lib/wire'
import { Channel, EventTypeName, EventTypePattern } from '../../events/schema'
import { Attempt } from '../deliveries/schema'
import { refusalOfHeader } from './headers'

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
  payload: z.enum(['event', 'data'], 'must be event or data').meta({
    description: 'What the body is: the event, or its data alone.',
  }),
  headers: Headers,
  timeout_ms: z.int().min(1000).max(30_000).meta({
    description: 'How long an attempt may take in all, the answer’s body included.',
    example: 10_000,
  }),
  status: z.enum(['active', 'paused'], 'must be active or paused'),
}

export const CreateEndpoint = z.strictObject({
  ...fields,
  uid: fields.uid.default(null),
  description: fields.description.default(''),
  channels: fields.channels.default([]),
  payload: fields.payload.default('event'),
  headers: Headers.default({}),
  timeout_ms: fields.timeout_ms.default(10_000),
  status: fields.status.default('active'),
})

export const UpdateEndpoint = z.strictObject(fields).partial()

/** By the tenant's own name for it: what is left out stays as it is, or has the default of a new one. */
export const PutEndpoint = z.strictObject({
  ...z.strictObject(fields).omit({ uid: true }).partial().shape,
  url: fields.url,
  event_types: fields.event_types,
})

export const Status = z.enum(['active', 'paused', 'disabled'])

export const ListEndpoints = { ...paging, status: Status.optional(), uid: Uid.optional() }

export const Endpoint = z
  .object({
    id: Id,
    tenant_id: Id,
    ...fields,
    uid: z.string().nullable().meta({ example: 'billing' }),
    url: z.string().meta({ format: 'uri', example: 'https://example.com/webhooks' }),
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
export type TestEndpoint = z.output<typeof TestEndpoint>
export type TestResult = z.input<typeof TestResult>
