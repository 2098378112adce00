import * as z from 'zod'
import { Id } from '../../../lib/wire'

export const InboxChat = z
  .object({
    chat_id: Id,
    title: z.string().nullable(),
    user_id: Id.meta({ description: 'Whose chat it is.' }),
    is_archived: z.boolean(),
    message_count: z.int(),
    unread_count: z.int().meta({ description: 'Messages that you have not said to have read.', example: 2 }),
    last_message_at: z.iso.datetime().nullable(),
  })
  .meta({ id: 'InboxChat' })
export type InboxChat = z.output<typeof InboxChat>

export const Inbox = z
  .object({
    chats: z.array(InboxChat).meta({ description: 'Those with something unread.' }),
    unread_count: z.int().meta({ description: 'Of all these together.', example: 2 }),
  })
  .meta({ id: 'ChatInbox' })
export type Inbox = z.output<typeof Inbox>
