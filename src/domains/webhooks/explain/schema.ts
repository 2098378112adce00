import * as z from 'zod'
import { Id, paging } from '../../../lib/wire'

export const ListExplanations = paging

const Delivered = z.object({
  id: Id,
  status: z.enum(['pending', 'delivered', 'failed', 'exhausted', 'held', 'cancelled']),
  attempt_count: z.int(),
  next_attempt_at: z.string().nullable().meta({ format: 'date-time' }),
  delivered_at: z.string().nullable().meta({ format: 'date-time' }),
})

export const Explanation = z
  .object({
    endpoint_id: Id,
    uid: z.string().nullable().meta({ example: 'billing' }),
    endpoint_status: z.enum(['active', 'degraded', 'paused', 'disabled', 'deleted']),
    matched: z.boolean().meta({ description: 'Whether there is a delivery of the event to this endpoint.' }),
    reason: z
      .enum([
        ...(['delivered', 'due', 'retrying', 'asked_to_wait', 'behind_another', 'held'] as const),
        ...(['failed', 'exhausted', 'cancelled'] as const),
        ...(['event_types', 'channels', 'filter', 'itself', 'payload'] as const),
        ...(['not_dispatched', 'made_later', 'changed_since'] as const),
      ])
      .meta({
        description:
          'Where there is a delivery, how it stands. Else what said no: the endpoint’s event types, channels or filter ' +
          '(`at` is the condition), that it is not told of itself, or that its filter can’t see a payload that is no longer ' +
          'kept; or that the event is not dispatched yet, the endpoint was made later, or takes such events only since.',
      }),
    at: z
      .string()
      .nullable()
      .meta({ description: 'The condition in the filter that said no.', example: 'filter.and.1' }),
    why: z.string().meta({ example: 'The endpoint is paused; POST /api/v1/webhooks/{id}/enable sends it.' }),
    delivery: Delivered.nullable(),
  })
  .meta({ id: 'Explanation' })

export type ListExplanations = z.output<z.ZodObject<typeof ListExplanations>>
export type Explanation = z.input<typeof Explanation>
