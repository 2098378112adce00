import * as z from 'zod'
import { Id, paging } from '../../../lib/wire'
import { Chat, SearchWords } from '../chats/schema'

const Snippet = z
  .array(
    z.object({
      text: z.string(),
      match: z.literal(true).optional().meta({ description: 'This is what was looked for.' }),
    }),
  )
  .nullable()

/** A chat that was found, with where. */
export const FoundChat = Chat.extend({
  snippets: z
    .object({
      title: Snippet.meta({ description: 'The title; null where nothing of it was looked for.' }),
      text: Snippet.meta({ description: 'Some 200 characters of what was said; null likewise.' }),
    })
    .meta({
      example: {
        title: null,
        text: [{ text: 'Where is my ' }, { text: 'parcel', match: true }, { text: '?' }],
      },
    }),
}).meta({ id: 'FoundChat' })

const flag = z.enum(['true', 'false'], 'must be true or false').transform((value) => value === 'true')

export const searchFilters = {
  ...paging,
  q: SearchWords.meta({
    description: 'Words; all must be in the chat’s title or text, or words that begin with them.',
    example: 'parcel',
  }),
  agent_id: Id.optional(),
  include_archived: flag.default(false).meta({ description: 'Archived chats too.' }),
}
export type SearchFilters = z.output<z.ZodObject<typeof searchFilters>>
