import * as z from 'zod'
import { createdBetween, paging } from '../../../lib/wire'
import { ForeignId, Interaction } from '../interactions/schema'

export const ConversationId = ForeignId.meta({ example: 'call-4711' })

export const Conversation = z
  .object({
    id: ConversationId,
    last_at: z.string().nullable().meta({ description: 'When the last of it was said.' }),
    created_at: z.iso.datetime(),
  })
  .meta({ id: 'Conversation' })

/** A conversation with what was said in it. */
export const ConversationWithInteractions = Conversation.extend({
  interactions: z.array(Interaction).meta({ description: 'In the order in which they were said.' }),
  next_cursor: z
    .string()
    .nullable()
    .meta({ description: 'For the interactions that follow; null after the last.' }),
}).meta({ id: 'ConversationWithInteractions' })

export const listFilters = { ...paging, ...createdBetween }
export type ListFilters = z.output<z.ZodObject<typeof listFilters>>
