import { and, asc, desc, eq, gte, lt, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { problem } from '../../../lib/problem'
import { type Shown, shown } from '../interactions/rows'
import { interactions } from '../interactions/table'
import type { ListFilters } from './schema'
import { type ConversationRow, conversations } from './table'

type Seen = ConversationRow & { last_at: string | null }

/** With when the last of it was said, which the index of its interactions tells by one row. */
const columns = (ctx: Context) => ({
  tenant_id: conversations.tenant_id,
  id: conversations.id,
  created_at: conversations.created_at,
  last_at: sql<string | null>`(select max(i.occurred_at) from ${interactions} as i
    where i.tenant_id = ${ctx.tenant.id} and i.conversation_id = conversations.id)`.as('last_at'),
})

/** The tenant's conversations, those that began last first. */
export function listConversations(ctx: Context, filters: ListFilters): Promise<Page<Seen>> {
  const { limit, cursor, created_after, created_before } = filters
  const list = `conversations:${ctx.tenant.id}:${JSON.stringify([created_after, created_before])}`
  const { created_at, id, tenant_id } = conversations
  return pageOf(
    list,
    { limit, cursor },
    (after, most) =>
      ctx.db
        .select(columns(ctx))
        .from(conversations)
        .where(
          and(
            eq(tenant_id, ctx.tenant.id),
            created_after === undefined ? undefined : gte(created_at, created_after),
            // A page that goes on is within that (data/span.ts).
            created_before === undefined || after ? undefined : lt(created_at, created_before),
            after ? sql`(${created_at}, ${id}) < (${after.key}, ${after.id})` : undefined,
          ),
        )
        .orderBy(desc(created_at), desc(id))
        .limit(most),
    (row) => row.created_at,
  )
}

/** A conversation with what was said in it, in that order, page by page. 404. */
export async function getConversation(
  ctx: Context,
  id: string,
  input: { limit: number; cursor?: string | undefined },
): Promise<Seen & { interactions: Shown[]; next_cursor: string | null }> {
  const row = await ctx.db
    .select(columns(ctx))
    .from(conversations)
    .where(and(eq(conversations.tenant_id, ctx.tenant.id), eq(conversations.id, id)))
    .get()
  if (!row) throw problem.notFound('conversation', id)
  const { occurred_at } = interactions
  const page = await pageOf(
    `conversation:${ctx.tenant.id}:${id}`,
    input,
    (after, most) =>
      ctx.db
        .select()
        .from(interactions)
        .where(
          and(
            eq(interactions.tenant_id, ctx.tenant.id),
            eq(interactions.conversation_id, id),
            after ? sql`(${occurred_at}, ${interactions.id}) > (${after.key}, ${after.id})` : undefined,
          ),
        )
        .orderBy(asc(occurred_at), asc(interactions.id))
        .limit(most),
    (one) => one.occurred_at,
  )
  return { ...row, interactions: page.items.map((one) => shown(ctx, one)), next_cursor: page.next_cursor }
}
