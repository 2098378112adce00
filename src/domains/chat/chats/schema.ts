import * as z from 'zod'
import { Id, paging } from '../../../lib/wire'
import { MOST_WORDS, wantedOf } from '../../../lib/words'
import { BranchMessage, ListedMessage } from '../messages/schema'

const MAX_METADATA = 16 * 1024
export const MOST_TAGS = 20

export const Title = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(200, 'must have at most 200 characters')
  .meta({ example: 'Support Request' })

export const Tag = z.string().trim().min(1, 'must not be empty').max(50, 'must have at most 50 characters')

const Tags = z
  .array(Tag)
  .max(MOST_TAGS, `must have at most ${MOST_TAGS} tags`)
  .transform((tags) => [...new Set(tags)])
  .meta({ example: ['support'] })

export const Metadata = z
  .record(z.string(), z.unknown())
  .refine((metadata) => JSON.stringify(metadata).length <= MAX_METADATA, 'must have at most 16 KiB as JSON')
  .meta({ example: { order: 'A-17' } })

export const Chat = z
  .object({
    id: Id,
    tenant_id: Id,
    user_id: Id.meta({ description: 'Whose chat it is.' }),
    agent_id: Id,
    title: z.string().nullable().meta({ description: 'Made from the first exchange where none was given.' }),
    is_archived: z.boolean(),
    is_pinned: z.boolean(),
    tags: z.array(z.string()),
    metadata: z.record(z.string(), z.unknown()),
    forked_from: z
      .object({ chat_id: Id, message_id: Id })
      .nullable()
      .meta({ description: 'The message of another chat that it goes on from.' }),
    ratings_up: z.int().meta({ description: 'What people think of its answers; of the index too.' }),
    ratings_down: z.int(),
    message_count: z.int().meta({ description: 'Of the index: follows the messages within moments.' }),
    last_message_at: z.iso.datetime().nullable(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Chat' })

/** A chat with what was said on its active branch, oldest first. */
export const ChatWithMessages = Chat.extend({
  messages: z.array(BranchMessage),
  messages_complete: z.boolean().meta({
    description:
      'False where the chat is longer than one answer holds (some 8 million characters): `messages` are its newest, and `GET …/events` has all.',
  }),
}).meta({ id: 'ChatWithMessages' })

/** A chat in a list; `messages` is its last exchange, where that was asked for. */
export const ListedChat = Chat.extend({ messages: z.array(ListedMessage).optional() }).meta({
  id: 'ListedChat',
})

export const CreateChat = z.strictObject({
  agent_id: Id,
  title: Title.nullish(),
  tags: Tags.default([]),
  metadata: Metadata.default({}),
})
export type CreateChat = z.output<typeof CreateChat>

export const ForkChat = z.strictObject({
  message_id: Id.meta({ description: 'The last message that the new chat has.' }),
  title: Title.optional().meta({ description: 'That of the chat with “(fork)” where it is not sent.' }),
  agent_id: Id.optional().meta({ description: 'Another agent to go on with.' }),
})
export type ForkChat = z.output<typeof ForkChat>

export const UpdateChat = z.strictObject({
  title: Title.optional(),
  is_archived: z.boolean('must be true or false').optional(),
  is_pinned: z.boolean('must be true or false').optional(),
  tags: Tags.optional(),
  metadata: Metadata.optional(),
})
export type UpdateChat = z.output<typeof UpdateChat>

const flag = z.enum(['true', 'false'], 'must be true or false').transform((value) => value === 'true')

/** What chats are looked for by: at least one word, and not too many. */
export const SearchWords = z
  .string()
  .min(1, 'must not be empty')
  .max(200, 'must have at most 200 characters')
  .refine((query) => wantedOf(query).length > 0, 'must have a letter or a digit to look for')
  .refine((query) => wantedOf(query).length <= MOST_WORDS, `must have at most ${MOST_WORDS} words`)

export const listFilters = {
  ...paging,
  include_archived: flag.default(false).meta({ description: 'Archived chats too.' }),
  agent_id: Id.optional(),
  tag: Tag.optional(),
  q: SearchWords.optional().meta({
    description:
      'Words of the title; all must be in it, or words that begin with them. What changed last comes first.',
  }),
  user_id: Id.optional().meta({ description: 'Another user’s chats; needs `chats:admin`.' }),
  include: z
    .enum(['last_exchange'], 'must be last_exchange')
    .optional()
    .meta({ description: 'Answers each chat with its last question and answer as `messages`.' }),
}
export type ListFilters = z.output<z.ZodObject<typeof listFilters>>
