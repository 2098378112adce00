import { and, desc, eq, getTableColumns, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { madeBetween } from '../../../data/span'
import { decodeCursor, encodeCursor, type Position } from '../../../lib/cursor'
import { matchOf, tenantCode, wantedOf } from '../../../lib/words'
import { type Shown, shown } from './rows'
import { type ListFilters, SPEECH } from './schema'
import { INTERACTION_WORDS, type InteractionRow, interactions } from './table'

/** Rows that a page looks at for each that it may show, where one filter leads to them and another chooses. */
const LOOKED_AT_EACH = 5

/** Filters with an index of their own; the first that is given leads, as what is rarest as a rule. */
const LEADS = ['conversation_id', 'item_id', 'user_id', 'speaker_id', 'channel', 'type'] as const
type Lead = (typeof LEADS)[number]

type By = Omit<ListFilters, 'limit' | 'cursor'>

/** The rows after a position, as far as one filter leads to them; which of them are wanted; and where each stands. */
type Walk = {
  read: (after: Position | null, most: number) => Promise<InteractionRow[]>
  wanted: ((row: InteractionRow) => boolean) | null
  positionOf: (row: InteractionRow) => Position
}

/** The tenant's interactions, newest first; of one conversation, what was said last first. */
export async function listInteractions(ctx: Context, filters: ListFilters): Promise<Page<Shown>> {
  const { limit, cursor, ...by } = filters
  const list = `interactions:${ctx.tenant.id}:${JSON.stringify(by)}`
  const after = cursor === undefined ? null : decodeCursor(list, cursor)
  const walk = by.q === undefined ? ledBy(ctx, by) : foundBy(ctx, by, by.q)
  const { rows, end } = await walked(walk, after, limit + 1)
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  const next = rows.length > limit && last ? walk.positionOf(last) : end
  return { items: items.map((row) => shown(ctx, row)), next_cursor: next && encodeCursor(list, next) }
}

/** The first `most` rows that are wanted; `end` is the last that was looked at, where others may follow. */
async function walked({ read, wanted, positionOf }: Walk, from: Position | null, most: number) {
  if (!wanted) return { rows: await read(from, most), end: null }
  const found: InteractionRow[] = []
  let end = from
  // Where nearly all are wanted, the first look has them.
  for (const some of [most, most * (LOOKED_AT_EACH - 1)]) {
    const rows = await read(end, some)
    const last = rows.at(-1)
    found.push(...rows.filter(wanted))
    end = last && rows.length === some ? positionOf(last) : null
    if (end === null || found.length >= most) break
  }
  return { rows: found, end }
}

/** Chooses among rows what the other filters want; null where they want all. */
function choice(by: By, names: readonly Lead[], created: boolean): Walk['wanted'] {
  const given = names.filter((name) => by[name] !== undefined)
  if (given.length === 0 && !created) return null
  const { created_after = '', created_before = '9' } = by
  return (row) =>
    given.every((name) => row[name] === by[name]) &&
    (!created || (row.created_at >= created_after && row.created_at < created_before))
}

const asksTime = ({ created_after, created_before }: By): boolean =>
  created_after !== undefined || created_before !== undefined

function ledBy(ctx: Context, by: By): Walk {
  // What was said is nearly all that there is; what was done has an index for each type.
  const [lead] = LEADS.filter((name) => by[name] !== undefined && !(name === 'type' && by.type === SPEECH))
  const others = LEADS.filter((name) => name !== lead)
  if (lead === 'conversation_id')
    return inConversation(ctx, by.conversation_id ?? '', choice(by, others, asksTime(by)))
  return {
    wanted: choice(by, others, false),
    positionOf: ({ id }) => ({ key: id, id }),
    read: (after, most) =>
      ctx.db
        .select()
        .from(interactions)
        .where(
          and(
            eq(interactions.tenant_id, ctx.tenant.id),
            lead === undefined ? undefined : eq(interactions[lead], by[lead] ?? ''),
            // In the index's own words, so that SQLite sees that it serves.
            lead === 'type' ? sql`${interactions.type} <> 'speech'` : undefined,
            madeBetween(interactions.id, by, after?.id),
          ),
        )
        .orderBy(desc(interactions.id))
        .limit(most),
  }
}

/** What was said in a conversation, the last first. */
export function inConversation(ctx: Context, id: string, wanted: Walk['wanted']): Walk {
  const { occurred_at } = interactions
  return {
    wanted,
    positionOf: (row) => ({ key: row.occurred_at, id: row.id }),
    read: (after, most) =>
      ctx.db
        .select()
        .from(interactions)
        .where(
          and(
            eq(interactions.tenant_id, ctx.tenant.id),
            eq(interactions.conversation_id, id),
            after ? sql`(${occurred_at}, ${interactions.id}) < (${after.key}, ${after.id})` : undefined,
          ),
        )
        .orderBy(desc(occurred_at), desc(interactions.id))
        .limit(most),
  }
}

/** Those in whose text all the words are, what was committed last first. */
function foundBy(ctx: Context, by: By, q: string): Walk {
  const match = matchOf(wantedOf(q), [tenantCode(ctx.tenant.id)])
  return {
    wanted: choice(by, LEADS, asksTime(by)),
    positionOf: ({ seq, id }) => ({ key: seq, id }),
    read: async (after, most) => {
      // The index goes by a bound only where that is an integer, and D1 binds every number as a double.
      const hits = await ctx.db.all<{ seq: number }>(sql`
        select rowid as seq from ${sql.identifier(INTERACTION_WORDS)}
        where interaction_words match ${match} and rowid < cast(${after?.key ?? Number.MAX_SAFE_INTEGER} as integer)
        order by rowid desc limit ${most}`)
      const numbers = JSON.stringify(hits.map(({ seq }) => seq))
      const rows = await ctx.db
        .select(getTableColumns(interactions))
        .from(sql`(select value as hit from json_each(${numbers})) as n`)
        // In this order: SQLite would go through all of the tenant's, taking them for few.
        .crossJoin(interactions)
        .where(and(sql`${interactions.seq} = n.hit`, eq(interactions.tenant_id, ctx.tenant.id)))
      return rows.sort((one, other) => other.seq - one.seq)
    },
  }
}
