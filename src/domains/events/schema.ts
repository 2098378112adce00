import * as z from 'zod'
import { isUuid } from '../../lib/ids'
import { paging, Time } from '../../lib/wire'

/** `msg_` and a UUID. */
export const EventId = z
  .string()
  .toLowerCase()
  .refine((value) => value.startsWith('msg_') && isUuid(value.slice(4)), 'must be msg_ and a UUID')
  .meta({ example: 'msg_0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d' })

/** Words of letters, digits, `_` and `-`, joined by dots. */
const NAME = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/
const PATTERN = /^(?:\*|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?:\.\*)?)$/

export const EventTypeName = z
  .string()
  .max(128)
  .regex(NAME, 'must be words of letters, digits, _ and -, joined by dots')
  .meta({ example: 'order.shipped' })

/** A type, all types under a prefix (`chat.*`), or every type (`*`). */
export const EventTypePattern = z
  .string()
  .max(128)
  .regex(PATTERN, 'must be an event type, a prefix such as chat.*, or *')
  .meta({ example: 'interaction.created' })

export const Channel = z
  .string()
  .regex(/^[A-Za-z0-9._:-]{1,128}$/, 'must be 1 to 128 of the characters A-Z a-z 0-9 . _ : -')
  .meta({ example: 'project-7' })

export const Subject = z
  .string('must be whom or what the events are about')
  .min(1, 'must not be empty')
  .max(255)

export const SendEvent = z.strictObject({
  type: EventTypeName.meta({ description: 'A type of your own; the service’s own types are refused.' }),
  data: z.record(z.string(), z.unknown(), 'must be a JSON object').meta({ example: { order_id: 'A-1001' } }),
  channels: z.array(Channel).max(10, 'must have at most 10 channels').default([]),
  subject: Subject.optional().meta({
    description: 'Whom or what the event is about.',
    example: 'customer-42',
  }),
  occurred_at: Time.optional().meta({ description: 'When it happened; now, if left out.' }),
})

export const SendEvents = z.strictObject({
  events: z
    .array(SendEvent)
    .min(1, 'must have at least one event')
    .max(100, 'must have at most 100 events')
    .meta({ description: 'All of them are taken, or none.' }),
})

export const ListEvents = {
  ...paging,
  type: EventTypeName.optional(),
  channel: Channel.optional(),
  delivery: z
    .enum(['undelivered'], 'must be undelivered')
    .optional()
    .meta({
      description:
        '`undelivered`: of which at least one delivery is pending, held, failed or exhausted. With other filters a page ' +
        'looks at five of them for each that it may show; it may be short or empty, and goes on until `next_cursor` is null.',
    }),
  schema_error: z.enum(['true'], 'must be true').optional().meta({
    description: '`true`: whose data differs from the schema of its type.',
  }),
  created_after: Time.optional().meta({ description: 'Accepted at this time or later.' }),
  created_before: Time.optional().meta({ description: 'Accepted before this time.' }),
}

export const Event = z
  .object({
    id: EventId,
    type: z.string().meta({ example: 'order.shipped' }),
    tenant_id: z.string(),
    timestamp: z.string().meta({ format: 'date-time', example: '2026-01-31T10:00:00.000Z' }),
    data: z.unknown().meta({
      description: 'In lists null where it is over 16 KiB; read the event alone to see it.',
      example: { order_id: 'A-1001' },
    }),
    channels: z.array(z.string()),
    subject: z.string().nullable(),
    application_id: z.string().nullable().meta({
      description: 'The application that it belongs to; null for the tenant’s own.',
      format: 'uuid',
      example: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d',
    }),
    schema_error: z.string().nullable().meta({
      description: 'Where the data differs from the schema of its type, if that is to warn of it.',
      example: null,
    }),
  })
  .meta({ id: 'Event' })

export const SentEvents = z
  .object({
    events: z
      .array(Event.omit({ tenant_id: true, data: true }).meta({ id: 'SentEvent' }))
      .meta({ description: 'In the order in which they were sent, without their data.' }),
  })
  .meta({ id: 'SentEvents' })

export type SendEvent = z.output<typeof SendEvent>
export type SendEvents = z.output<typeof SendEvents>
export type SentEvents = z.input<typeof SentEvents>
export type ListEvents = z.output<z.ZodObject<typeof ListEvents>>
export type Event = z.input<typeof Event>
