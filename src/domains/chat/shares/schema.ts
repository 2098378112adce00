import * as z from 'zod'
import { Id, paging, Time } from '../../../lib/wire'
import { Chat } from '../chats/schema'
import { Message } from '../messages/schema'

const ShareRole = z
  .enum(['viewer', 'editor'], 'must be viewer or editor')
  .meta({ description: 'A viewer reads; an editor also sends messages, stops answers, renames and tags.' })

const Scope = z.enum(['tenant', 'public'], 'must be tenant or public').meta({
  description:
    '`tenant`: everybody in the tenant who may read chats. `public`: whoever has the link, as a viewer.',
})

/** With whom: one of the three. */
const subject = { user_id: Id.optional(), team_id: Id.optional(), scope: Scope.optional() }

type Subject = {
  user_id?: string | undefined
  team_id?: string | undefined
  scope?: 'tenant' | 'public' | undefined
}

const named = ({ user_id, team_id, scope }: Subject): number =>
  [user_id, team_id, scope].filter((value) => value !== undefined).length

export const Share = z
  .object({
    chat_id: Id,
    user_id: Id.nullable(),
    team_id: Id.nullable(),
    scope: Scope.nullable(),
    role: ShareRole,
    token: z.string().nullable().meta({ description: 'Of a public link, for the chat’s owner.' }),
    url: z.string().nullable().meta({ description: 'Where it leads.' }),
    expires_at: z.iso.datetime().nullable(),
    created_by: Id.nullable(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .meta({ id: 'ChatShare' })

export const PutShare = z
  .strictObject({
    ...subject,
    role: ShareRole.default('viewer'),
    expires_at: Time.nullable()
      .optional()
      .meta({ description: 'When it ends; null, or left out, for never.' }),
  })
  .refine((input) => named(input) === 1, {
    path: ['team_id'],
    message: 'must stand alone: give one of user_id, team_id and scope',
  })
  .refine(({ scope, role }) => scope !== 'public' || role === 'viewer', {
    path: ['role'],
    message: 'must be viewer: a public link is for reading',
  })
  .meta({ example: { team_id: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d', role: 'viewer' } })
export type PutShare = z.output<typeof PutShare>

/** Whose share ends; with none of them all do. */
export const shareFilters = subject
export type ShareFilters = Subject

/** A chat that somebody else shares with the caller. */
export const SharedChat = Chat.extend({
  role: ShareRole.meta({ description: 'What the caller may do in it: the most that any share allows.' }),
}).meta({ id: 'SharedChat' })

export const sharedFilters = paging

/** A message as whoever has the public link sees it: what was said, and not by whom. */
const SharedMessage = Message.pick({
  ...{ id: true, parent_id: true, role: true, content: true, status: true },
  ...{ attachments: true, timestamp: true },
}).meta({ id: 'SharedMessage' })

/** A chat by its public link. */
export const SharedView = z
  .object({
    title: z.string().nullable(),
    messages: z.array(SharedMessage),
    messages_complete: z.boolean(),
    expires_at: z.iso.datetime().nullable().meta({ description: 'When the link ends.' }),
  })
  .meta({ id: 'SharedView' })
