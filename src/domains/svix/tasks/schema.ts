import * as z from 'zod'
import { Time } from '../../../lib/wire'
import { FAIL, SUCCESS } from '../attempts/schema'
import { TypeName } from '../event-types/schema'
import { filters } from '../messages/schema'

export const TaskId = z
  .string()
  .regex(/^qtask_[0-9A-Za-z-]{1,64}$/, 'must be a task’s id (qtask_…)')
  .meta({ example: 'qtask_0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d' })

export const Since = z.object({
  since: Time.meta({ description: 'Messages accepted at this time or later.' }),
  until: Time.nullish().meta({ description: 'Messages accepted before this time; by default until now.' }),
})

const EVENT_TYPES = 'must have 1 to 100 event types, or be left out for all'

export const BulkReplayIn = z.object({
  ...Since.shape,
  eventTypes: z.array(TypeName).min(1, EVENT_TYPES).max(100, EVENT_TYPES).nullish(),
  channel: filters.channel.nullable(),
  tag: filters.tag.nullable(),
  status: z
    .union([z.literal(SUCCESS), z.literal(FAIL)], 'must be 0 or 2')
    .nullish()
    .meta({
      description: '0 what arrived, 2 what failed; both, and what waits, if left out.',
    }),
  statusCodeClass: z.null('must be left out: what is sent again is chosen by status').optional(),
})

export type BulkReplayIn = z.output<typeof BulkReplayIn>

const task = {
  id: TaskId,
  status: z.enum(['running', 'finished', 'failed']),
  task: z.string().meta({ example: 'endpoint.recover' }),
  updatedAt: z.string().meta({ format: 'date-time' }),
}

export const TaskStarted = z.object(task).meta({ id: 'SvixTaskStarted' })

export const UsageStarted = z
  .object({
    ...task,
    unresolvedAppIds: z.array(z.string()).meta({ description: 'Those that there are not.' }),
  })
  .meta({ id: 'SvixUsageStarted' })

export const TaskOut = z
  .object({
    ...task,
    data: z.record(z.string(), z.unknown()).meta({
      description: 'What came of it: how many messages were sent so far, or what was counted.',
      example: { messagesSent: 2 },
    }),
  })
  .meta({ id: 'SvixTask' })
