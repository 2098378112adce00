import * as z from 'zod'
import { Id } from '../../../lib/wire'

const SEQ = 'must be the number of an event: 42 of e1-42'

/** How far somebody has read. */
export const MarkRead = z.strictObject({
  seq: z.int(SEQ).min(0, SEQ).optional().meta({
    description: 'The number of the last event that was read; without it, all there is.',
    example: 4,
  }),
})
export type MarkRead = z.output<typeof MarkRead>

/** How that stands. */
export const ReadState = z
  .object({
    seq: z.int().meta({ description: 'Everything up to this event is read.', example: 4 }),
    unread_count: z.int().meta({ description: 'Messages that came since, whole.', example: 0 }),
  })
  .meta({ id: 'ReadState' })
export type ReadState = z.output<typeof ReadState>

export const ReadReceipt = z
  .object({
    user_id: Id,
    seq: z.int().meta({ description: 'The number of the last event that the user has read.', example: 4 }),
    read_at: z.iso.datetime(),
  })
  .meta({ id: 'ReadReceipt' })
export type ReadReceipt = z.output<typeof ReadReceipt>

export const TypingHere = z.strictObject({
  typing: z
    .boolean('must be true or false')
    .default(true)
    .meta({ description: 'False to say that it has ended; it ends by itself after 6 seconds.' }),
})
export type TypingHere = z.output<typeof TypingHere>
