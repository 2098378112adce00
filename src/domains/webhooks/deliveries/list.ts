import { and, desc, eq, gte, lt, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type Page, pageAmong } from '../../../data/page'
import { firstIdAt } from '../../../lib/ids'
import type { Delivery, ListDeliveries } from './schema'
import { selection, view } from './selection'
import { deliveries, STUCK, UNDELIVERED } from './table'

/**
 * The tenant's deliveries, newest event first. An index leads to them by any filters; but of those that arrived, and of
 * those on their way by endpoint or type, there is none, which would be a row written for every delivery: there a page
 * looks at so many that the other filters lead to, and may be short.
 */
export async function listDeliveries(ctx: Context, input: ListDeliveries): Promise<Page<Delivery>> {
  const { limit, cursor, ...filters } = input
  const list = `deliveries:${ctx.tenant.id}:${JSON.stringify(Object.entries(filters).sort())}`
  const { index, by } = indexFor(filters)
  const read = (after: string | null, most: number) =>
    selection(ctx, index)
      .where(
        and(
          eq(deliveries.tenant_id, ctx.tenant.id),
          ...spanOf(filters),
          ...by.flatMap((name) => isOf(name, filters[name])),
          after === null ? undefined : lt(deliveries.id, after),
        ),
      )
      .orderBy(desc(deliveries.id))
      .limit(most)
  const rest = NAMES.filter((name) => filters[name] !== undefined && !by.includes(name))
  const page = await pageAmong(list, { limit, cursor }, read, (row) =>
    rest.every((name) => row[name] === filters[name]),
  )
  return { ...page, items: page.items.map(view) }
}

type Filters = Omit<ListDeliveries, 'limit' | 'cursor'>

const NAMES = ['status', 'endpoint_id', 'event_type'] as const
type Name = (typeof NAMES)[number]
type Led = { index: string | null; by: readonly Name[] }

/** What leads to deliveries by which filters, the best first. */
const STUCK_ONES: Led[] = [
  { index: 'deliveries_stuck_by_endpoint_and_type', by: ['status', 'endpoint_id', 'event_type'] },
  { index: 'deliveries_stuck_by_endpoint', by: ['status', 'endpoint_id'] },
  { index: 'deliveries_stuck_by_type', by: ['status', 'event_type'] },
  { index: 'deliveries_undelivered', by: ['status'] },
]
const PENDING_ONES: Led[] = [{ index: 'deliveries_undelivered', by: ['status'] }]
const OTHERS: Led[] = [
  { index: 'deliveries_by_endpoint_and_type', by: ['endpoint_id', 'event_type'] },
  { index: 'deliveries_by_endpoint', by: ['endpoint_id'] },
  { index: 'deliveries_by_type', by: ['event_type'] },
]

/** The index to go by; an event's deliveries are so few that all of them are looked at. */
function indexFor(filters: Filters): Led {
  const { status, event_id } = filters
  const none: Led = { index: null, by: [] }
  if (event_id !== undefined) return none
  const led =
    status === undefined || status === 'delivered' ? OTHERS : status === 'pending' ? PENDING_ONES : STUCK_ONES
  return led.find(({ by }) => by.every((name) => filters[name] !== undefined)) ?? none
}

/** What a filter says, where an index goes by it. */
function isOf(name: Name, value: string | undefined): SQL[] {
  if (value === undefined) return []
  if (name !== 'status') return [eq(deliveries[name], value)]
  // Spelled out, so that SQLite sees that the partial indexes serve; the words are the column's own.
  const is = sql`${deliveries.status} = ${sql.raw(`'${value}'`)}`
  const stuck = value === 'pending' ? sql`` : sql` and ${deliveries.status} ${STUCK}`
  return [sql`${is} and ${deliveries.status} ${UNDELIVERED}${stuck}`]
}

function spanOf({ event_id, created_after, created_before }: Filters): SQL[] {
  const idAt = (time: string) => firstIdAt(Date.parse(time))
  return [
    ...(event_id === undefined ? [] : [ofEvent(event_id)]),
    ...(created_after === undefined ? [] : [gte(deliveries.id, idAt(created_after))]),
    ...(created_before === undefined ? [] : [lt(deliveries.id, idAt(created_before))]),
  ]
}

/** The span of ids that an event's deliveries have (table.ts). */
function ofEvent(eventId: string): SQL {
  const start = eventId.slice(4, 34)
  return sql`${deliveries.id} >= ${start} and ${deliveries.id} < ${`${start}g`}`
}

/** The deliveries of one event, at most a hundred. */
export async function deliveriesOfEvent(
  ctx: Context,
  eventId: string,
): Promise<(Delivery & { version: number })[]> {
  const rows = await selection(ctx)
    .where(and(eq(deliveries.tenant_id, ctx.tenant.id), ofEvent(eventId)))
    .orderBy(desc(deliveries.id))
    .limit(100)
  return rows.map(view)
}
