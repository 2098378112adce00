import { and, desc, eq, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type Page, pageAmong } from '../../../data/page'
import { madeBetween } from '../../../data/span'
import { firstIdAt } from '../../../lib/ids'
import type { Delivery, ListDeliveries } from './schema'
import { type Selected, selection, through, view } from './selection'
import { deliveries, STUCK, UNDELIVERED } from './table'

/**
 * The tenant's deliveries, newest event first. An index leads to them by any filters; but of those that arrived, and of
 * those on their way by endpoint or type, there is none, which would be a row written for every delivery: there a page
 * looks at so many that the other filters lead to, and may be short. To those of a type their events lead.
 */
export async function listDeliveries(ctx: Context, input: ListDeliveries): Promise<Page<Delivery>> {
  const { limit, cursor, ...filters } = input
  const list = `deliveries:${ctx.tenant.id}:${JSON.stringify(Object.entries(filters).sort())}`
  const led = indexFor(filters)
  const rest = NAMES.filter((name) => filters[name] !== undefined && !led.by.includes(name))
  const wanted = (row: Selected) => row.event_id !== null && rest.every((name) => row[name] === filters[name])
  const read = (after: string | null, most: number) =>
    led === BY_EVENTS ? byEvents(ctx, filters, after, most) : byIndex(ctx, led, filters, after, most)
  const page = await pageAmong(list, { limit, cursor }, read, wanted)
  return { ...page, items: page.items.map(view) }
}

function byIndex(ctx: Context, { index, by }: Led, filters: Filters, after: string | null, most: number) {
  return selection(ctx, through(index))
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        filters.event_id === undefined ? undefined : ofEvent(filters.event_id),
        ...by.flatMap((name) => isOf(name, filters[name])),
        madeBetween(deliveries.id, filters, after),
      ),
    )
    .orderBy(desc(deliveries.id))
    .limit(most)
}

/**
 * The deliveries of a type's events, and a row without one for each event that has none such, under what its deliveries’
 * ids would begin with: so no more events are looked at than rows are asked for.
 */
function byEvents(
  ctx: Context,
  { event_type, endpoint_id, created_after, created_before }: Filters,
  after: string | null,
  most: number,
) {
  const start = sql`substr(e.id, 5, ${sql.raw(String(SHARED))})`
  const to = endpoint_id === undefined ? sql`` : sql`and ${deliveries.endpoint_id} = ${endpoint_id}`
  // One bound: of two an index is asked for either, and might go through all before the page instead of an event's.
  const end = after === null ? sql`${start} || 'g'` : sql`min(${start} || 'g', ${after})`
  const id = sql<string>`coalesce(${deliveries.id}, ${start})`
  const from = sql`events as e indexed by events_by_type left join ${deliveries}
    on ${deliveries.tenant_id} = ${ctx.tenant.id} and ${deliveries.id} >= ${start} and ${deliveries.id} < ${end} ${to}`
  const eventsFrom = (time: string) => `msg_${firstIdAt(Date.parse(time))}`
  const [until] = [
    after === null ? [] : `msg_${after.slice(0, SHARED)}g`,
    created_before === undefined ? [] : eventsFrom(created_before),
  ]
    .flat()
    .sort()
  return selection(ctx, from, id)
    .where(
      and(
        sql`e.tenant_id = ${ctx.tenant.id} and e.type = ${event_type}`,
        created_after === undefined ? undefined : sql`e.id >= ${eventsFrom(created_after)}`,
        until === undefined ? undefined : sql`e.id < ${until}`,
        after === null ? undefined : sql`coalesce(${deliveries.id}, ${start}) < ${after}`,
      ),
    )
    .orderBy(sql`e.id desc`, desc(deliveries.id))
    .limit(most)
}

/** What the ids of an event and of its deliveries have in common (table.ts). */
const SHARED = 30

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
const BY_ENDPOINT: Led = { index: 'deliveries_by_endpoint', by: ['endpoint_id'] }
const BY_EVENTS: Led = { index: null, by: ['event_type', 'endpoint_id'] }
const BY_ID: Led = { index: null, by: [] }

/** The index to go by; an event's deliveries are so few that all of them are looked at. */
function indexFor(filters: Filters): Led {
  const { status, event_id, event_type, endpoint_id } = filters
  if (event_id !== undefined) return BY_ID
  if (status !== undefined && status !== 'delivered') {
    const led = status === 'pending' ? PENDING_ONES : STUCK_ONES
    return led.find(({ by }) => by.every((name) => filters[name] !== undefined)) ?? BY_ID
  }
  return event_type !== undefined ? BY_EVENTS : endpoint_id !== undefined ? BY_ENDPOINT : BY_ID
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

/** The span of ids that an event's deliveries have (table.ts). */
function ofEvent(eventId: string): SQL {
  const start = eventId.slice(4, 4 + SHARED)
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
