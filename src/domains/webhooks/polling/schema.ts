import * as z from 'zod'
import { paging, Time } from '../../../lib/wire'
import { Event } from '../../events/schema'

const { id, type, timestamp, channels, subject } = Event.shape

export const PollEvents = {
  limit: paging.limit,
  cursor: z.string().max(1024).optional().meta({ description: '`cursor` of the answer before; keep it.' }),
  since: Time.optional().meta({
    description: 'Where to begin without a cursor; by default when the endpoint was made.',
  }),
}

export const Polled = z
  .object({
    events: z.array(
      z.object({
        ...{ id, type, timestamp, channels, subject },
        payload: z.unknown().meta({
          description: 'What an attempt would have as its body; without data where that is no longer kept.',
          example: { id: 'msg_0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d', type: 'order.shipped', data: {} },
        }),
      }),
    ),
    cursor: z
      .string()
      .meta({ description: 'Where the next poll goes on, also when there is nothing more yet.' }),
    done: z.boolean().meta({ description: 'Whether there was nothing more; if not, poll again at once.' }),
  })
  .meta({ id: 'PolledEvents' })

export type PollEvents = z.output<z.ZodObject<typeof PollEvents>>
export type Polled = z.input<typeof Polled>
