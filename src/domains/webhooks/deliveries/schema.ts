import * as z from 'zod'
import { Id, paging, Time } from '../../../lib/wire'
import { EventId, EventTypeName } from '../../events/schema'

export const Status = z.enum(['pending', 'delivered', 'failed', 'exhausted', 'held', 'cancelled'])

export const Attempt = z
  .object({
    number: z.int().meta({ example: 1 }),
    attempted_at: z.string().meta({ format: 'date-time', example: '2026-01-31T10:00:00.000Z' }),
    duration_ms: z.int().meta({ example: 48 }),
    response_status: z.int().nullable().meta({
      description: 'Null where there was no answer.',
      example: 200,
    }),
    response_body: z.string().nullable().meta({
      description: 'The first 16 KiB of the answer.',
      example: 'ok',
    }),
    response_headers: z.record(z.string(), z.string()).nullable(),
    request_headers: z.record(z.string(), z.string()).meta({
      description: 'Values that may be credentials are shown as ********.',
    }),
    error: z.string().nullable().meta({
      description:
        'Why it failed, a word and an explanation: status, redirect, gone, timeout, network, address, secret, payload, interrupted.',
      example: null,
    }),
  })
  .meta({ id: 'Attempt' })

export const Delivery = z
  .object({
    id: Id,
    event_id: EventId,
    event_type: z.string().meta({ example: 'interaction.created' }),
    endpoint_id: Id,
    status: Status,
    attempt_count: z.int(),
    next_attempt_at: z.string().nullable().meta({ format: 'date-time' }),
    created_at: z.string().meta({ format: 'date-time' }),
    delivered_at: z.string().nullable().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Delivery' })

export const DeliveryDetail = Delivery.extend({ attempts: z.array(Attempt) }).meta({ id: 'DeliveryDetail' })

const filters = {
  ...paging,
  status: Status.optional().meta({
    description:
      '`exhausted` lists the dead letters. By `delivered`, and by `pending` with other filters, a page looks at five ' +
      'deliveries for each that it may show; it may be short or empty, and goes on until `next_cursor` is null.',
  }),
  event_type: EventTypeName.optional().meta({
    description:
      'By it a page looks at five events of the type for each that it may show; it may be short or empty as well.',
  }),
  event_id: EventId.optional(),
  created_after: Time.optional().meta({ description: 'Its event was accepted at this time or later.' }),
  created_before: Time.optional().meta({ description: 'Its event was accepted before this time.' }),
}

export const ListDeliveries = { ...filters, endpoint_id: Id.optional() }
export const ListEndpointDeliveries = filters

export type Attempt = z.input<typeof Attempt>
export type Delivery = z.input<typeof Delivery>
export type DeliveryDetail = z.input<typeof DeliveryDetail>
export type ListDeliveries = z.output<z.ZodObject<typeof ListDeliveries>>
