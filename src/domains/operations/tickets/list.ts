import { and, desc, eq, isNull, ne, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type Page, pageOf, pageOfParts } from '../../../data/page'
import { madeBetween } from '../../../data/span'
import { decodeCursor, encodeCursor, type Position } from '../../../lib/cursor'
import { matchOf, tenantCode, wantedOf } from '../../../lib/words'
import { isStaff, mayRead, selfOf } from './rights'
import type { TicketFilters } from './schema'
import { PRIORITIES, STATUSES, TICKET_WORDS, type TicketRow, tickets } from './table'

/** Tickets with these words that a page looks at; what else they are filtered by may want none of them. */
const MOST_LOOKED_AT = 200

/** The tickets that the caller may read, newest first. */
export async function listTickets(ctx: Context, filters: TicketFilters): Promise<Page<TicketRow>> {
  const { limit, cursor, ...by } = filters
  const whose = isStaff(ctx) ? 'all' : selfOf(ctx)
  const list = `tickets:${ctx.tenant.id}:${JSON.stringify([whose, by])}`
  if (whose === null) return pageOf(list, { limit, cursor }, async () => [])
  if (by.q !== undefined) return search(ctx, list, whose, { ...filters, q: by.q })
  return pageOfParts(
    list,
    { limit, cursor },
    partsOf(whose, by),
    (part, after, most) => read(ctx, part, after, most),
    ({ id }) => id,
  )
}

type Filters = Omit<TicketFilters, 'limit' | 'cursor' | 'q'>

/** Tickets of which an index has the order; `ofAnother` leaves those out that another part has. */
type Part = Filters & { ofAnother?: string }

/**
 * What is asked for as parts that an index answers each, however rare they are: those that one opened and those that one
 * works on; and, since an index has status, priority and id, each of the one where only the other is asked for.
 */
function partsOf(whose: string, by: Filters): Part[] {
  const { status, priority, assignee_id, requester_id } = by
  const mine: Part[] =
    whose === 'all'
      ? [by]
      : [
          ...((requester_id ?? whose) === whose ? [{ ...by, requester_id: whose }] : []),
          ...((assignee_id ?? whose) === whose && requester_id !== whose
            ? [{ ...by, assignee_id: whose, ...(requester_id ? {} : { ofAnother: whose }) }]
            : []),
        ]
  if (by.number !== undefined || (status === undefined) === (priority === undefined)) return mine
  return mine.flatMap((part) => {
    if (part.assignee_id !== undefined && part.requester_id !== undefined) return [part]
    if (status === undefined) return STATUSES.map((one) => ({ ...part, status: one }))
    return PRIORITIES.map((one) => ({ ...part, priority: one }))
  })
}

function read(ctx: Context, part: Part, after: Position | null, limit: number): Promise<TicketRow[]> {
  return ctx.db
    .select()
    .from(tickets)
    .where(
      and(eq(tickets.tenant_id, ctx.tenant.id), ...wanted(part), madeBetween(tickets.id, part, after?.id)),
    )
    .orderBy(desc(tickets.id))
    .limit(limit)
}

function wanted(part: Part): (SQL | undefined)[] {
  const { status, priority, assignee_id, requester_id, number, ofAnother } = part
  // A pair of people has few tickets, and an index of its own: `+` keeps SQLite from others.
  const pair = assignee_id !== undefined && requester_id !== undefined
  const is = (column: typeof tickets.status | typeof tickets.priority, value: string | undefined) =>
    value === undefined ? undefined : pair ? sql`+${column} = ${value}` : sql`${column} = ${value}`
  return [
    number === undefined ? undefined : eq(tickets.number, number),
    is(tickets.status, status),
    is(tickets.priority, priority),
    requester_id === undefined ? undefined : eq(tickets.requester_id, requester_id),
    assignee_id === undefined ? undefined : assignedTo(assignee_id),
    ofAnother === undefined ? undefined : ne(tickets.requester_id, ofAnother),
  ]
}

const assignedTo = (who: string): SQL =>
  who === 'none' ? isNull(tickets.assignee_id) : eq(tickets.assignee_id, who)

/** Those with all the words, the newest first, among as many as a page looks at. */
async function search(
  ctx: Context,
  list: string,
  whose: string,
  { limit, cursor, q, ...by }: TicketFilters & { q: string },
): Promise<Page<TicketRow>> {
  const after = cursor === undefined ? Number.MAX_SAFE_INTEGER : Number(decodeCursor(list, cursor).key)
  const code = whose === 'all' ? tenantCode(ctx.tenant.id) : `u${whose.slice(-12)}`
  // The index goes by a bound only where that is an integer, and D1 binds every number as a double.
  const hits = await ctx.db.all<Hit>(sql`
    select t.seq, t.id, t.number, t.status, t.priority, t.requester_id, t.assignee_id, t.created_at
    from ${sql.identifier(TICKET_WORDS)} join ${tickets} as t on t.seq = ticket_words.rowid
    where ticket_words match ${matchOf(wantedOf(q), [code])} and ticket_words.rowid < cast(${after} as integer)
      and t.tenant_id = ${ctx.tenant.id}
    order by ticket_words.rowid desc limit ${MOST_LOOKED_AT}`)
  const found = hits.filter((hit) => mayRead(ctx, hit) && isWanted(hit, by))
  const page = found.slice(0, limit)
  const last = found.length > limit ? page.at(-1) : hits.length === MOST_LOOKED_AT ? hits.at(-1) : undefined
  return {
    items: await byIds(ctx, page),
    next_cursor: last ? encodeCursor(list, { key: last.seq, id: last.id }) : null,
  }
}

type Hit = Pick<
  TicketRow,
  'seq' | 'id' | 'number' | 'status' | 'priority' | 'requester_id' | 'assignee_id' | 'created_at'
>

function isWanted(hit: Hit, by: Filters): boolean {
  const { number, status, priority, requester_id, created_after = '', created_before = '~' } = by
  const assignee = by.assignee_id === 'none' ? null : by.assignee_id
  return (
    (number ?? hit.number) === hit.number &&
    (status ?? hit.status) === hit.status &&
    (priority ?? hit.priority) === hit.priority &&
    (requester_id ?? hit.requester_id) === hit.requester_id &&
    (assignee === undefined || assignee === hit.assignee_id) &&
    hit.created_at >= created_after &&
    hit.created_at < created_before
  )
}

async function byIds(ctx: Context, hits: readonly Hit[]): Promise<TicketRow[]> {
  if (hits.length === 0) return []
  const ids = JSON.stringify(hits.map(({ id }) => id))
  const rows = await ctx.db
    .select()
    .from(tickets)
    .where(
      and(eq(tickets.tenant_id, ctx.tenant.id), sql`${tickets.id} in (select value from json_each(${ids}))`),
    )
  return rows.sort((one, other) => other.seq - one.seq)
}
