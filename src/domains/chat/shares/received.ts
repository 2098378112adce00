import { and, desc, eq, gt, isNull, lt, ne, or } from 'drizzle-orm'
import type { BatchItem } from 'drizzle-orm/batch'
import { actingUser, type Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { iso } from '../../../lib/ids'
import { teamsOf } from '../../tenancy/teams/members'
import { type ChatRow, chats } from '../chats/table'
import { chatShares } from './table'

type Received = ChatRow & { role: 'viewer' | 'editor' }

/** The chats of others that are shared with the caller, by name, by a team or with everybody, newest first. */
export async function listReceived(
  ctx: Context,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<Received>> {
  const user = actingUser(ctx)
  const own = user === null ? [] : [`user:${user}`, ...(await teamsOf(ctx, user)).map((id) => `team:${id}`)]
  const list = `shared chats:${ctx.tenant.id}:${user}`
  return pageOf(list, input, async (after, most) => {
    // Each subject’s newest by its own index; together they hold the newest of all.
    const [first, ...rest] = ['tenant', ...own].map((subject) =>
      newest(ctx, subject, user ?? '', after?.id, most),
    )
    const pages = await ctx.db.batch([first as BatchItem<'sqlite'>, ...rest])
    return merged(pages.flat() as Row[]).slice(0, most)
  })
}

type Row = { chat: ChatRow; role: Received['role'] }

const newest = (ctx: Context, subject: string, user: string, before: string | undefined, most: number) =>
  ctx.db
    .select({ chat: chats, role: chatShares.role })
    .from(chatShares)
    .innerJoin(chats, and(eq(chats.tenant_id, ctx.tenant.id), eq(chats.id, chatShares.chat_id)))
    .where(
      and(
        eq(chatShares.tenant_id, ctx.tenant.id),
        eq(chatShares.subject, subject),
        before === undefined ? undefined : lt(chatShares.chat_id, before),
        or(isNull(chatShares.expires_at), gt(chatShares.expires_at, iso(ctx.now))),
        ne(chats.user_id, user),
      ),
    )
    .orderBy(desc(chatShares.chat_id))
    .limit(most)

/** Each chat once, with the most that any share allows. */
function merged(rows: Row[]): Received[] {
  const byId = new Map<string, Received>()
  for (const { chat, role } of rows) {
    const before = byId.get(chat.id)
    byId.set(chat.id, { ...chat, role: before?.role === 'editor' ? 'editor' : role })
  }
  return [...byId.values()].sort((a, b) => (a.id < b.id ? 1 : -1))
}
