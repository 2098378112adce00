import type { Change } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { eventOf } from '../../events/catalogue'
import { withAttachmentsOf, withOwnFiles } from '../attachments/service'
import { type ChatRow, chats } from '../chats/table'
import { keepReads } from '../inbox/feed'
import type { Message } from '../messages/schema'
import { tell } from '../room/client'
import { lastTime } from '../room/log/planting'
import { titleOf } from '../room/log/title'
import { findByText } from '../search/feed'
import { searchedText } from '../search/words'
import type { ImportedChat } from './portable'

/** A chat that is to be made, under an id that it was given before: made again it is the same chat. */
export type Coming = {
  id: string
  user_id: string
  api_key_id: string | null
  agent_id: string
  chat: ImportedChat
  /** Where it was said, if that is a chat of this tenant: its files are this one’s too. */
  forked_from?: NonNullable<ChatRow['forked_from']>
}

/**
 * Writes the messages of a chat into its object, and answers with what makes it a chat, to be committed next: until then
 * it is nobody's, and the object forgets it after a minute.
 */
export async function takeIn(
  ctx: Context,
  { id, user_id, api_key_id, agent_id, chat, forked_from }: Coming,
): Promise<Required<Pick<Change<unknown>, 'statements' | 'events'>> & { row: ChatRow }> {
  const { messages, leaf } = chat
  const question = messages.find(({ role }) => role === 'user')
  const title = chat.title ?? (question ? titleOf(question.content) : null)
  const ids = { tenant_id: ctx.tenant.id, chat_id: id }
  const { log_seq } = await tell(ctx.env, ids, 'plant', { messages, title, leaf, agent_id, user_id })
  const last = lastTime(messages)
  const row: ChatRow = {
    ...{ tenant_id: ctx.tenant.id, id, user_id, api_key_id, agent_id, title },
    ...{ is_archived: chat.is_archived, is_pinned: chat.is_pinned, tags: chat.tags, metadata: chat.metadata },
    ...{ forked_from: forked_from ?? null, ...ratingsOf(messages) },
    message_count: messages.length,
    last_message_at: last,
    // A fork is begun now, whenever that was said.
    last_activity_at: forked_from ? chat.created_at : (last ?? chat.created_at),
    last_seq: log_seq,
    version: 1,
    created_at: chat.created_at,
    updated_at: iso(ctx.now),
  }
  const text = searchedText(branchOf(messages, leaf))
  const files = messages.flatMap(({ attachments }) => attachments.flatMap(({ id }) => id ?? []))
  const created = { chat_id: id, agent_id, user_id, title, created_at: row.created_at }
  return {
    row,
    statements: [
      ctx.db.insert(chats).values(row),
      findByText(ctx, id, { title, text, log_seq }),
      // None of it is new to whose it is.
      keepReads(ctx, id, [{ user_id, seq: log_seq, read_count: messages.length, at: ctx.now }]),
      ...(files.length > 0
        ? [
            forked_from
              ? withAttachmentsOf(ctx, id, forked_from.chat_id)
              : withOwnFiles(ctx, id, user_id, files),
          ]
        : []),
    ],
    events: [{ ...eventOf('chat.created', created), subject: user_id, occurred_at: iso(ctx.now) }],
  }
}

/** How many thumbs up and down there are. */
function ratingsOf(messages: readonly Message[]) {
  const given = messages.flatMap(({ feedback }) => feedback ?? [])
  const count = (wanted: 'up' | 'down') => given.filter(({ rating }) => rating === wanted).length
  return { ratings_up: count('up'), ratings_down: count('down') }
}

/** What was said on the branch that is shown, oldest first. */
function branchOf(messages: readonly Message[], leaf: string | null): string[] {
  const byId = new Map(messages.map((message) => [message.id, message]))
  const contents: string[] = []
  for (let at = byId.get(leaf ?? ''); at; at = byId.get(at.parent_id ?? '')) contents.unshift(at.content)
  return contents
}
