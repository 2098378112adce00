import { and, asc, desc, eq, gte, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { directory } from '../../../data/database'
import { firstIdAt, iso } from '../../../lib/ids'
import { deliveries } from '../deliveries/table'
import { type EndpointRow, endpoints } from '../endpoints/table'
import { receivedWebhooks, refusedWebhooks } from '../incoming/table'

/** Events that wait in the service and are looked at: those of all tenants, in the order in which they go. */
const MOST_EVENTS = 100
/** Endpoints that are told one by one: those whose deliveries have waited longest. */
const MOST_ENDPOINTS = 20
const HOUR_MS = 3_600_000

type Status = EndpointRow['status']

/** What waits for one endpoint. */
export type EndpointQueue = {
  endpoint_id: string
  status: Status
  pending: number
  held: number
  /** When its longest-due delivery was, or will be, due. */
  next_attempt_at: string | null
  /** No attempt is made before: the receiver asked for a pause, or a probe comes then. */
  not_before: string | null
}

export type DeliveriesNow = {
  pending: number
  held: number
  overdue_ms: number
  endpoints: Record<Status, number>
  queues: EndpointQueue[]
}

const counted = (rows: SQL, most: number) => sql<number>`(select count(*) from (${rows} limit ${most}))`

/** How the tenant's deliveries stand, counted up to `most`: each that is counted is read. Nothing is late that waits for a receiver which asked for it, or is not to be sent to. */
export async function deliveriesNow(ctx: Context, most: number): Promise<DeliveriesNow> {
  const { id } = ctx.tenant
  const first = sql<
    string | null
  >`(select min(d.next_attempt_at) from deliveries as d where d.tenant_id = ${id} and d.endpoint_id = endpoints.id and d.status = 'pending')`
  const held = sql<number>`exists (select 1 from deliveries as h where h.tenant_id = ${id} and h.endpoint_id = endpoints.id and h.status = 'held')`
  const rows = await ctx.db
    .select({
      id: endpoints.id,
      status: endpoints.status,
      not_before: endpoints.not_before,
      first: first.as('first'),
      held: held.as('is_held'),
    })
    .from(endpoints)
    .where(eq(endpoints.tenant_id, id))
    .orderBy(asc(endpoints.id))
  const now = iso(ctx.now)
  const late = rows.flatMap(({ status, first, not_before }) =>
    status === 'active' && first !== null && (not_before ?? '') <= now ? first : [],
  )
  const waiting = rows
    .filter(({ first, held }) => first !== null || held === 1)
    .sort((a, b) => ((a.first ?? '~') < (b.first ?? '~') ? -1 : 1))
    .slice(0, MOST_ENDPOINTS)
  const states: Record<Status, number> = { active: 0, degraded: 0, paused: 0, disabled: 0 }
  for (const { status } of rows) states[status] += 1
  const [totals, queues] = await Promise.all([
    ctx.db
      .select({
        pending: counted(open(ctx, sql.raw(`'pending'`)), most).as('pending'),
        held: counted(open(ctx, sql.raw(`'held'`)), most).as('held'),
      })
      .from(sql`(select 1)`),
    Promise.all(waiting.map((row) => queueOf(ctx, row, most))),
  ])
  const oldest = Math.min(ctx.now, ...late.map((at) => Date.parse(at)))
  return {
    ...{ pending: totals[0]?.pending ?? 0, held: totals[0]?.held ?? 0 },
    ...{ overdue_ms: ctx.now - oldest, endpoints: states, queues },
  }
}

/** The states are spelled out, so that SQLite sees that the partial indexes serve. */
const open = (ctx: Context, status: SQL, endpointId?: string) =>
  sql`select 1 from ${deliveries} where ${deliveries.tenant_id} = ${ctx.tenant.id} and ${deliveries.status} = ${status}
    ${endpointId === undefined ? sql`` : sql`and ${deliveries.endpoint_id} = ${endpointId}`}`

type Row = Pick<EndpointRow, 'id' | 'status' | 'not_before'> & { first: string | null }

async function queueOf(
  ctx: Context,
  { id, status, not_before, first }: Row,
  most: number,
): Promise<EndpointQueue> {
  const [row] = await ctx.db
    .select({
      pending: counted(open(ctx, sql.raw(`'pending'`), id), most).as('pending'),
      held: counted(open(ctx, sql.raw(`'held'`), id), most).as('held'),
    })
    .from(sql`(select 1)`)
  const { pending = 0, held = 0 } = row ?? {}
  return { endpoint_id: id, status, pending, held, next_attempt_at: first, not_before }
}

/**
 * Events of the tenant whose deliveries are not made yet, of the first hundred that wait in the service, and since when;
 * null where those are all of others.
 */
export async function eventsWaiting(ctx: Context): Promise<{ waiting: number | null; since: number | null }> {
  const { all, ...row } = await directory(ctx.env).get<Found>(sql`
    select count(*) as "all", count(*) filter (where tenant_id = ${ctx.tenant.id}) as waiting,
      min(id) filter (where tenant_id = ${ctx.tenant.id}) as first
    from (select tenant_id, id from events where dispatched = 0 order by seq limit ${MOST_EVENTS})`)
  if (row.waiting === 0 && all === MOST_EVENTS) return { waiting: null, since: null }
  const since = row.first === null ? null : Number.parseInt(row.first.slice(4, 17).replace('-', ''), 16)
  return { waiting: row.waiting, since }
}

type Found = { all: number; waiting: number; first: string | null }

/** Webhooks that were taken in, and refused, within the last hour; counted up to `most`. */
export async function incomingLately(
  ctx: Context,
  most: number,
): Promise<{ received: number; refused: number }> {
  const since = firstIdAt(ctx.now - HOUR_MS)
  const [received, refused] = await Promise.all(
    [receivedWebhooks, refusedWebhooks].map((table) =>
      ctx.db
        .select({ id: table.id })
        .from(table)
        .where(and(eq(table.tenant_id, ctx.tenant.id), gte(table.id, since)))
        .orderBy(desc(table.id))
        .limit(most),
    ),
  )
  return { received: received?.length ?? 0, refused: refused?.length ?? 0 }
}
