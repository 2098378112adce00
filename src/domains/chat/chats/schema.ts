import * as z from 'zod'
import { Id, paging } from '../../../lib/wire'
import { Message } from '../messages/schema'

const MAX_METADATA = 16 * 1024

const Title = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(200, 'must have at most 200 characters')
  .meta({ example: 'Support Request' })

const Tag = z.string().trim().min(1, 'must not be empty').max(50, 'must have at most 50 characters')

const Tags = z
  .array(Tag)
  .max(20, 'must have at most 20 tags')
  .transform((tags) => [...new Set(tags)])
  .meta({ example: ['support'] })

const Metadata = z
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
    message_count: z.int().meta({ description: 'Of the index: follows the messages within moments.' }),
    last_message_at: z.iso.datetime().nullable(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'Chat' })

/** A chat with what was said on its active branch, oldest first. */
export const ChatWithMessages = Chat.extend({ messages: z.array(Message) }).meta({ id: 'ChatWithMessages' })

/** A chat in a list; `messages` is its last exchange, where that was asked for. */
export const ListedChat = Chat.extend({ messages: z.array(Message).optional() }).meta({ id: 'ListedChat' })

export const CreateChat = z.strictObject({
  agent_id: Id,
  title: Title.nullish(),
  tags: Tags.default([]),
  metadata: Metadata.default({}),
})
export type CreateChat = z.output<typeof CreateChat>

export const UpdateChat = z.strictObject({
  title: Title.optional(),
  is_archived: z.boolean('must be true or false').optional(),
  is_pinned: z.boolean('must be true or false').optional(),
  tags: Tags.optional(),
  metadata: Metadata.optional(),
})
export type UpdateChat = z.output<typeof UpdateChat>

const flag = z.enum(['true', 'false'], 'must be true or false').transform((value) => value === 'true')

export const listFilters = {
  ...paging,
  include_archived: flag.default(false).meta({ description: 'Archived chats too.' }),
  agent_id: Id.optional(),
  tag: Tag.optional(),
  q: z.string().max(200).optional().meta({ description: 'Words of the title; all must be in it.' }),
  user_id: Id.optional().meta({ description: 'Another user’s chats; needs `chats:admin`.' }),
  include: z
    .enum(['last_exchange'], 'must be last_exchange')
    .optional()
    .meta({ description: 'Answers each chat with its last question and answer as `messages`.' }),
}
export type ListFilters = z.output<z.ZodObject<typeof listFilters>>
