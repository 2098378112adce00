import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { decodeCursor, encodeCursor } from '../../../lib/cursor'
import { matchOf, wantedOf } from '../../../lib/words'
import { hitsOf } from '../search/service'
import { finderCode, isIn } from '../search/words'
import type { ListFilters } from './schema'
import { type ChatRow, chats } from './table'

/** Chats that a page looks at for each that it may show: in some the words are not in the title. */
const LOOKED_AT = 2

/**
 * A user’s chats with all the words of `q` in their titles, what changed last first: among those that the index of words
 * leads to, so that a page may be shorter than was asked for, or empty, with others to come.
 */
export async function listTitled(
  ctx: Context,
  owner: string,
  { limit, cursor, q = '', tag, agent_id, include_archived }: ListFilters,
): Promise<Page<ChatRow>> {
  const list = `titled chats:${ctx.tenant.id}:${JSON.stringify([owner, q, tag, agent_id, include_archived])}`
  const after = cursor === undefined ? null : Number(decodeCursor(list, cursor).key)
  const subject = `user:${owner}`
  const wanted = wantedOf(q)
  const most = limit * LOOKED_AT + 1
  const match = matchOf(wanted, [finderCode(subject, ctx.tenant.id)])
  const hits = await hitsOf(ctx, match, [subject], after, most)
  const ids = sql`(select value from json_each(${JSON.stringify(hits.map(({ chat_id }) => chat_id))}))`
  const rows = await ctx.db
    .select()
    .from(chats)
    .where(
      and(
        eq(chats.tenant_id, ctx.tenant.id),
        inArray(chats.id, ids),
        sql`+${chats.user_id} = ${owner}`,
        agent_id === undefined ? undefined : sql`+${chats.agent_id} = ${agent_id}`,
        include_archived ? undefined : sql`not +${chats.is_archived}`,
        tag === undefined
          ? undefined
          : sql`exists (select 1 from json_each(${chats.tags}) as tagged where tagged.value = ${tag})`,
      ),
    )
  const byId = new Map(rows.map((row) => [row.id, row]))
  const found = hits.filter(({ chat_id }) => isIn(byId.get(chat_id)?.title ?? '', wanted))
  const last = found.length > limit ? found[limit - 1] : hits.length === most ? hits.at(-1) : undefined
  return {
    items: found.slice(0, limit).flatMap(({ chat_id }) => byId.get(chat_id) ?? []),
    next_cursor: last ? encodeCursor(list, { key: last.seq, id: last.chat_id }) : null,
  }
}
