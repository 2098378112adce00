import { and, desc, eq, getTableColumns, lt, lte, or, type SQL } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import { actingUser, type Context } from '../../../data/context'
import { type Page, pageOfParts } from '../../../data/page'
import type { Position } from '../../../lib/cursor'
import { problem } from '../../../lib/problem'
import type { ListedMessage } from '../messages/schema'
import { callerOf, mayEnter } from '../room/caller'
import { ask } from '../room/client'
import type { ListFilters } from './schema'
import { type ChatRow, chats, chatTags } from './table'
import { listTitled } from './titled'

type Walk = { owner: string; is_archived: boolean; after: Position | null } & Pick<
  ListFilters,
  'tag' | 'agent_id'
>

/** A user’s chats, by their last message or, without one, their making, newest first; those found by words, by their last change. */
export async function listChats(
  ctx: Context,
  filters: ListFilters,
): Promise<Page<ChatRow & { messages?: ListedMessage[] }>> {
  const { include, ...by } = filters
  const owner = by.user_id ?? actingUser(ctx)
  if (owner === null || !mayEnter(callerOf(ctx), owner))
    throw problem('insufficient_scope', 'Another user’s chats need the scope chats:admin', {
      details: { required: ['chats:admin'], missing: 'chats:admin' },
    })
  const page = await (by.q === undefined ? listAll : listTitled)(ctx, owner, by)
  if (include === undefined) return page
  return { ...page, items: await Promise.all(page.items.map((row) => withLastExchange(ctx, row))) }
}

const listAll = (
  ctx: Context,
  owner: string,
  { limit, cursor, ...by }: ListFilters,
): Promise<Page<ChatRow>> =>
  pageOfParts(
    `chats:${ctx.tenant.id}:${JSON.stringify([owner, by])}`,
    { limit, cursor },
    by.include_archived ? [false, true] : [false],
    (is_archived, after, most) => walk(ctx, { ...by, owner, is_archived, after }).limit(most),
    (row) => row.last_activity_at,
  )

/** Chats in the order of the list: a user’s, those with an agent, those of a tag, each by its index. */
function walk(ctx: Context, { owner, tag, agent_id, is_archived, after }: Walk) {
  const all = ctx.db.select(getTableColumns(chats)).from(chats).$dynamic()
  if (tag === undefined)
    return all
      .where(
        and(
          eq(chats.tenant_id, ctx.tenant.id),
          eq(chats.user_id, owner),
          agent_id === undefined ? undefined : eq(chats.agent_id, agent_id),
          eq(chats.is_archived, is_archived),
          after ? olderThan(chats.last_activity_at, chats.id, after) : undefined,
        ),
      )
      .orderBy(desc(chats.last_activity_at), desc(chats.id))
  return all
    .innerJoin(chatTags, and(eq(chatTags.tenant_id, chats.tenant_id), eq(chatTags.chat_id, chats.id)))
    .where(
      and(
        eq(chatTags.tenant_id, ctx.tenant.id),
        eq(chatTags.user_id, owner),
        eq(chatTags.tag, tag),
        agent_id === undefined ? undefined : eq(chatTags.agent_id, agent_id),
        eq(chatTags.is_archived, is_archived),
        after ? olderThan(chatTags.last_activity_at, chatTags.chat_id, after) : undefined,
      ),
    )
    .orderBy(desc(chatTags.last_activity_at), desc(chatTags.chat_id))
}

// The range beside it is what SQLite seeks by: it takes none out of an OR.
const olderThan = (activity: SQLiteColumn, id: SQLiteColumn, { key, id: last }: Position): SQL | undefined =>
  and(lte(activity, key), or(lt(activity, key), and(eq(activity, key), lt(id, last))))

async function withLastExchange(
  ctx: Context,
  row: ChatRow,
): Promise<ChatRow & { messages: ListedMessage[] }> {
  if (row.message_count === 0) return { ...row, messages: [] }
  return { ...row, messages: await ask(ctx, row.id, 'lastExchange') }
}
