import { sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { marked } from '../../../lib/words'
import { chats } from '../chats/table'
import { chatTexts } from './table'

/** The statement by which a chat is found by a title that it was given. Not async: it goes into a batch. */
export function findByTitle(ctx: Context, chatId: string, title: string) {
  const row = { tenant_id: ctx.tenant.id, chat_id: chatId, title: marked(title) }
  return ctx.db
    .insert(chatTexts)
    .values(row)
    .onConflictDoUpdate({ target: [chatTexts.tenant_id, chatTexts.chat_id], set: { title: row.title } })
}

/** What the log of a chat says that it is found by: its title, as far as the chat has no other, and the end of its text. */
export type Said = { title: string | null; text: string; log_seq: number }

/**
 * The statement by which a chat is found by what was said in it, up to a place of its log; what is older than what is
 * there changes nothing, and neither does a chat that is no more. Not async: it goes into a batch.
 */
export function findByText(ctx: Context, chatId: string, { title, text, log_seq }: Said) {
  const found = title === null ? null : marked(title)
  const newer = sql`excluded.log_seq > ${chatTexts.log_seq}`
  return ctx.db
    .insert(chatTexts)
    .select(
      sql`select tenant_id, id, case when title = ${title} then ${found} end, ${marked(text)}, ${log_seq}
        from ${chats} where tenant_id = ${ctx.tenant.id} and id = ${chatId}`,
    )
    .onConflictDoUpdate({
      target: [chatTexts.tenant_id, chatTexts.chat_id],
      set: {
        title: sql`coalesce(excluded.title, ${chatTexts.title})`,
        text: sql`excluded.text`,
        log_seq: sql`excluded.log_seq`,
      },
      setWhere: newer,
    })
}
