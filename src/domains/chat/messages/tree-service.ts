import type { Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { decodeCursor, encodeCursor } from '../../../lib/cursor'
import { ask } from '../room/client'
import type { Edit } from '../room/log/edits'
import type { Feedback, GiveFeedback, Message, TreeMessage } from './schema'

/** A page of the chat’s messages of all branches. */
export async function listMessages(
  ctx: Context,
  chatId: string,
  { limit, cursor }: { limit: number; cursor?: string | undefined },
): Promise<Page<TreeMessage>> {
  const list = `messages:${ctx.tenant.id}:${chatId}`
  const after = cursor === undefined ? null : decodeCursor(list, cursor).id
  const { items, more } = await ask(ctx, chatId, 'messages', { after, limit })
  const last = more ? items.at(-1) : undefined
  return { items, next_cursor: last ? encodeCursor(list, { key: last.id, id: last.id }) : null }
}

/** The message as it is now, or the one that says it differently; null where it is to be answered anew. */
export function editMessage(ctx: Context, chatId: string, edit: Edit): Promise<Message | null> {
  return ask(ctx, chatId, 'edit', edit)
}

/** Shows the branch through a message; answers its last one. */
export async function chooseBranch(ctx: Context, chatId: string, messageId: string) {
  return { message_id: await ask(ctx, chatId, 'activate', { message_id: messageId }) }
}

/** Keeps what the caller thinks of an answer. */
export function giveFeedback(ctx: Context, chatId: string, input: GiveFeedback): Promise<Feedback> {
  return ask(ctx, chatId, 'giveFeedback', input)
}
