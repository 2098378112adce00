import { and, desc, eq, gt, isNull, or, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { chats } from '../chats/table'
import { chatShares } from '../shares/table'
import type { Inbox, InboxChat } from './schema'
import { chatReads } from './table'

/** Chats of a user’s own that are looked at, the latest of them, and as many that are shared by name. */
const MOST = 100

/** A chat as an inbox shows it to the user of `chatReads`; the alias keeps it apart from whose chat it is. */
export const shown = {
  chat_id: chats.id,
  title: chats.title,
  user_id: chats.user_id,
  is_archived: chats.is_archived,
  message_count: chats.message_count,
  unread_count: sql<number>`max(0, ${chats.message_count} - coalesce(${chatReads.read_count}, 0))`.as(
    'unread_count',
  ),
  last_message_at: chats.last_message_at,
}

/** Of a user’s latest chats, and of those that are shared with the user by name, the ones with something unread; none that is archived. */
export async function inboxOf(ctx: Context, userId: string): Promise<Inbox> {
  const tenant = ctx.tenant.id
  const readsOfChat = and(
    eq(chatReads.tenant_id, tenant),
    eq(chatReads.chat_id, chats.id),
    eq(chatReads.user_id, userId),
  )
  const [own, received] = await ctx.db.batch([
    ctx.db
      .select(shown)
      .from(chats)
      .leftJoin(chatReads, readsOfChat)
      .where(and(eq(chats.tenant_id, tenant), eq(chats.user_id, userId), eq(chats.is_archived, false)))
      .orderBy(desc(chats.last_activity_at), desc(chats.id))
      .limit(MOST),
    ctx.db
      .select(shown)
      .from(chatShares)
      .innerJoin(chats, and(eq(chats.tenant_id, tenant), eq(chats.id, chatShares.chat_id)))
      .leftJoin(chatReads, readsOfChat)
      .where(
        and(
          eq(chatShares.tenant_id, tenant),
          eq(chatShares.subject, `user:${userId}`),
          or(isNull(chatShares.expires_at), gt(chatShares.expires_at, iso(ctx.now))),
          eq(chats.is_archived, false),
        ),
      )
      .orderBy(desc(chatShares.chat_id))
      .limit(MOST),
  ])
  const found: InboxChat[] = [...own, ...received].filter(({ unread_count }) => unread_count > 0)
  return { chats: found, unread_count: found.reduce((sum, { unread_count }) => sum + unread_count, 0) }
}
