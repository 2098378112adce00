import * as z from 'zod'
import { Time } from '../../../lib/wire'
import { Channel } from '../../events/schema'
import { ApplicationIn } from '../applications/schema'
import { TypeName } from '../event-types/schema'
import { Flag, paging, Uid } from '../wire'

const CHANNELS = 'must have 1 to 5 channels, or be left out'

const TAGS = 'must have 1 to 8 tags, or be left out'
const Word = z
  .string()
  .regex(/^[A-Za-z0-9._:/#-]{1,128}$/, 'must be 1 to 128 of the characters A-Z a-z 0-9 . _ : / # -')
  .meta({ example: 'my_tag' })

/** How long is said in days or in hours; the tenant's own time counts, and nothing goes sooner than it. */
const Retention = z.int('must be a whole number').min(1, 'must be at least 1').nullish().meta({
  description: 'Not shorter than the tenant’s `payload_retention_days`, which counts.',
})

/** What Svix has and Causeway has not: it is refused, since to leave it undone would do something else. */
const Never = (why: string) => z.null(why).optional()

export const MessageIn = z.object({
  eventType: TypeName,
  payload: z
    .record(z.string(), z.unknown(), 'must be a JSON object')
    .meta({ example: { email: 'ada@example.com' } }),
  eventId: Uid('msg').nullish().meta({
    description: 'An id of your own: a message of it comes once to the application.',
  }),
  channels: z.array(Channel).min(1, CHANNELS).max(5, CHANNELS).nullish(),
  tags: z.array(Word).min(1, TAGS).max(8, TAGS).nullish().meta({
    description: 'Words by which lists find it.',
  }),
  application: ApplicationIn.nullish().meta({
    description: 'The application to create where there is none of the uid in the path.',
  }),
  deliverAt: Never('must be left out: send the message when it is due'),
  payloadRetentionPeriod: Retention,
  payloadRetentionHours: Retention,
  transformationsParams: Never('must be left out: there are no transformations, and a payload is JSON'),
})

const EventTypes = z
  .string()
  .max(2000)
  .transform((text) => text.split(','))
  .optional()
  .meta({ description: 'Names with commas between.' })

export const PrecheckIn = z.object({
  eventType: TypeName,
  channels: z.array(Channel).min(1, CHANNELS).max(5, CHANNELS).nullish(),
})

export const PrecheckOut = z.object({ active: z.boolean() }).meta({ id: 'SvixPrecheck' })

/** The filters of lists of messages and of attempts. */
export const filters = {
  ...paging,
  channel: Channel.optional(),
  tag: Word.optional(),
  event_types: EventTypes,
  before: Time.optional(),
  after: Time.optional(),
  with_content: Flag(true),
}

export const ListMessages = filters

const fields = {
  id: z.string().meta({ example: 'msg_0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d' }),
  eventId: z.string().nullable(),
  eventType: z.string().meta({ example: 'user.signup' }),
  payload: z.record(z.string(), z.unknown()).meta({
    description: 'Empty where `with_content` is false; `{"expired": true}` where it is no longer kept.',
  }),
  channels: z.array(z.string()).nullable(),
  tags: z.array(z.string()).nullable(),
  timestamp: z.string().meta({ format: 'date-time' }),
}

export const MessageShape = fields
export const MessageOut = z.object(fields).meta({ id: 'SvixMessage' })

export type MessageIn = z.output<typeof MessageIn>
export type ListMessages = z.output<z.ZodObject<typeof ListMessages>>
export type PrecheckIn = z.output<typeof PrecheckIn>
