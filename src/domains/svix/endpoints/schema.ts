import * as z from 'zod'
import { Channel } from '../../events/schema'
import { UpdateEndpoint } from '../../webhooks/endpoints/schema'
import { isSigningSecret } from '../../webhooks/endpoints/secret'
import { TypeName } from '../event-types/schema'
import { Metadata, Uid } from '../wire'

const RATE = 'must be a whole number from 1 to 65535'
const Rate = z.int(RATE).min(1, RATE).max(65_535, RATE).nullable()
const EVENT_TYPES = 'must have 1 to 100 event types, or be left out for all'
const EventTypes = z.array(TypeName).min(1, EVENT_TYPES).max(100, EVENT_TYPES).nullable()
const CHANNELS = 'must have 1 to 10 channels, or be left out for all'

const ours = UpdateEndpoint.required().shape

const fields = {
  url: ours.url,
  description: ours.description.meta({ example: 'An example endpoint name' }),
  throttleRate: Rate.meta({ description: 'Deliveries a second.', example: 10 }),
  rateLimit: Rate.meta({ description: 'An older name of `throttleRate`.' }),
  uid: Uid('ep').nullable(),
  disabled: z.boolean('must be a boolean').meta({
    description: 'Its messages are held until it is enabled; none is dropped.',
  }),
  eventTypes: EventTypes.meta({ example: ['user.signup'] }),
  filterTypes: EventTypes.meta({ description: 'An older name of `eventTypes`.' }),
  channels: z.array(Channel).min(1, CHANNELS).max(10, CHANNELS).nullable(),
  metadata: Metadata.nullable(),
}

const { url, disabled, ...rest } = fields

export const EndpointPut = z.object({ url, disabled: disabled.optional(), ...z.object(rest).partial().shape })

/** Svix takes it without its prefix too. */
const Secret = z
  .string('must be a string')
  .transform((text) => (text.startsWith('whsec_') ? text : `whsec_${text}`))
  .refine(isSigningSecret, 'must be the base64 of 24 to 64 bytes, after whsec_ or without')
  .meta({ description: 'One of your own; made, if left out.' })

export const EndpointIn = EndpointPut.extend({
  secret: Secret.nullish(),
  headers: ours.headers.nullish(),
})

export const EndpointPatch = z.object(fields).partial()

const out = {
  id: z.string().meta({ example: 'ep_0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d' }),
  url: z.string(),
  description: z.string(),
  throttleRate: z.int().nullable(),
  rateLimit: z.int().nullable(),
  uid: z.string().nullable(),
  version: z.int(),
  disabled: z.boolean(),
  eventTypes: z.array(z.string()).nullable(),
  filterTypes: z.array(z.string()).nullable(),
  channels: z.array(z.string()).nullable(),
  createdAt: z.string().meta({ format: 'date-time' }),
  updatedAt: z.string().meta({ format: 'date-time' }),
}

/** An endpoint beside a message; `version` is Svix's own and is 1. */
export const EndpointShape = out

export const EndpointOut = z
  .object({ ...out, metadata: z.record(z.string(), z.string()) })
  .meta({ id: 'SvixEndpoint' })

export const SecretOut = z
  .object({ key: z.string().meta({ example: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=' }) })
  .meta({ id: 'SvixEndpointSecret' })

const WEEK_S = 7 * 24 * 3600
const GRACE = `must be a whole number of seconds from 0 to ${WEEK_S}`

export const SecretRotateIn = z.object({
  key: Secret.nullish(),
  gracePeriodSeconds: z
    .int(GRACE)
    .min(0, GRACE)
    .max(WEEK_S, GRACE)
    .nullish()
    .meta({ description: 'So long the old one signs too; a day by default.', example: 3600 }),
})

export const HeadersIn = z.object({ headers: ours.headers })

export const HeadersPatchIn = z.object({
  headers: z
    .record(z.string(), z.string('must be a string, or null').nullable())
    .optional()
    .meta({
      description: 'Null removes one.',
      example: { 'X-Environment': 'production' },
    }),
  deleteHeaders: z.array(z.string('must be a string')).max(20).optional(),
})

export const HeadersOut = z
  .object({
    headers: z.record(z.string(), z.string()),
    sensitive: z.array(z.string()).meta({ description: 'Those that may be credentials: by name alone.' }),
  })
  .meta({ id: 'SvixEndpointHeaders' })

export type EndpointPut = z.output<typeof EndpointPut>
export type EndpointIn = z.output<typeof EndpointIn>
export type EndpointPatch = z.output<typeof EndpointPatch>
export type SecretRotateIn = z.output<typeof SecretRotateIn>
export type HeadersPatchIn = z.output<typeof HeadersPatchIn>
