import * as z from 'zod'
import { Time } from '../../../lib/wire'
import { EventTypePattern } from '../../events/schema'

/** What can be sent again; `missing` is an event that the endpoint would take now, and never had a delivery for. */
export const RECOVERABLE = ['failed', 'exhausted', 'held', 'missing'] as const

/** What is sent again where it is asked for: a receiver that lost what it had gets it once more. */
export const REPLAYABLE = [...RECOVERABLE, 'delivered'] as const

const Replayable = z.enum(REPLAYABLE, 'must be failed, exhausted, held, missing or delivered')

export const Recover = z.strictObject({
  since: Time.meta({ description: 'Events accepted at this time or later.' }),
  until: Time.optional().meta({ description: 'Events accepted before this time; by default until now.' }),
  status: z
    .union([Replayable, z.array(Replayable).min(1, 'must name at least one').max(5, 'must name each once')])
    .optional()
    .meta({
      description:
        'One or some of failed, exhausted, held, missing (no delivery was ever made) and delivered; all but the last if left out.',
      example: ['failed', 'exhausted'],
    }),
  event_types: z
    .array(EventTypePattern)
    .min(1, 'must name at least one event type')
    .max(100, 'must have at most 100 event types')
    .optional()
    .meta({ description: 'Types, prefixes such as `chat.*`, or `*`; all if left out.' }),
  dry_run: z
    .boolean('must be true or false')
    .default(false)
    .meta({ description: 'Count, and send nothing.' }),
})

export type Recover = z.output<typeof Recover>
export type Replayable = z.output<typeof Replayable>
