import type { Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { ask } from '../room/client'
import type { MarkRead, ReadReceipt, ReadState, TypingHere } from './schema'

/** Notes how far the caller has read, and answers how that stands. 422 for an event that there is not. */
export function markRead(ctx: Context, chatId: string, { seq }: MarkRead): Promise<ReadState> {
  return ask(ctx, chatId, 'markRead', { seq })
}

/** How far everyone has read who has read anything. */
export async function listReads(
  ctx: Context,
  chatId: string,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<ReadReceipt>> {
  const list = `reads:${ctx.tenant.id}:${chatId}`
  const page = await pageOf(list, input, async (after, limit) => {
    const reads = await ask(ctx, chatId, 'reads', { after: after?.id ?? '', limit })
    return reads.map((read) => ({ ...read, id: read.user_id }))
  })
  return { ...page, items: page.items.map(({ id: _, ...read }) => read) }
}

/** Tells who follows the chat that the caller types, or does not any more. */
export async function sayTyping(ctx: Context, chatId: string, { typing }: TypingHere): Promise<undefined> {
  await ask(ctx, chatId, 'types', { typing })
}
