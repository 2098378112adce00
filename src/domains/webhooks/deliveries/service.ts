import { and, desc, eq, gte, lt, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { keepWatch } from '../../../data/outbox'
import { type Page, pageOf } from '../../../data/page'
import { firstIdAt, iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { endpoints } from '../endpoints/table'
import type { Delivery, DeliveryDetail, ListDeliveries } from './schema'
import { type DeliveryRow, deliveries, UNDELIVERED } from './table'
import { senderOf, wakeEndpoint } from './wake'

/** A delivery may be made long after its event was accepted, and its id carries the time of the event. */
const LATEST_AFTER_EVENT_MS = 24 * 3_600_000

/** The tenant's deliveries, newest first. */
export async function listDeliveries(ctx: Context, input: ListDeliveries): Promise<Page<Delivery>> {
  const { limit, cursor, ...filters } = input
  const list = `deliveries:${ctx.tenant.id}:${JSON.stringify(Object.entries(filters).sort())}`
  const page = await pageOf(list, { limit, cursor }, (after, most) =>
    selection(ctx)
      .where(
        and(
          eq(deliveries.tenant_id, ctx.tenant.id),
          ...conditionsOf(filters).filter((condition) => condition !== ''),
          after ? lt(deliveries.id, after.id) : undefined,
        ),
      )
      .orderBy(desc(deliveries.id))
      .limit(most),
  )
  return { ...page, items: page.items.map(view) }
}

function conditionsOf(filters: Omit<ListDeliveries, 'limit' | 'cursor'>): (SQL | '' | undefined)[] {
  const { status, endpoint_id, event_id, event_type, created_after, created_before } = filters
  return [
    status && statusIs(status),
    endpoint_id === undefined ? undefined : eq(deliveries.endpoint_id, endpoint_id),
    event_id === undefined ? undefined : ofEvent(event_id),
    event_type === undefined ? undefined : eq(deliveries.event_type, event_type),
    created_after && gte(deliveries.id, firstIdAt(Date.parse(created_after) - LATEST_AFTER_EVENT_MS)),
    created_after && gte(deliveries.created_at, created_after),
    created_before && lt(deliveries.id, firstIdAt(Date.parse(created_before))),
    created_before && lt(deliveries.created_at, created_before),
  ]
}

/** Spelled out, so that SQLite sees which partial index serves; the words are the column's own. */
function statusIs(status: DeliveryRow['status']): SQL {
  const is = sql`${deliveries.status} = ${sql.raw(`'${status}'`)}`
  return status === 'delivered' ? is : sql`${is} and ${deliveries.status} ${UNDELIVERED}`
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

/** One delivery with its attempts, which its endpoint's object keeps. */
export async function getDelivery(ctx: Context, id: string): Promise<DeliveryDetail & { version: string }> {
  const rows = await selection(ctx)
    .where(and(eq(deliveries.tenant_id, ctx.tenant.id), eq(deliveries.id, id)))
    .limit(1)
  const row = rows[0]
  if (!row) throw problem.notFound('delivery', id)
  const sender = await senderOf(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id: row.endpoint_id })
  const attempts = await sender.attempts(id).catch((cause) => {
    throw problem('service_unavailable', 'The attempts can’t be read just now', { cause })
  })
  const delivery = view(row)
  return {
    ...delivery,
    // The object knows of an attempt a moment before D1 does.
    attempt_count: Math.max(delivery.attempt_count, attempts.length),
    attempts,
    version: `${row.version}.${attempts.length}`,
  }
}

/**
 * Attempts a delivery now, a finished one too; it takes the place of the attempt that is scheduled. An endpoint that asked
 * to be left alone for a while (Retry-After) is left alone. 409 where the endpoint takes nothing.
 */
export async function retryDelivery(ctx: Context, id: string): Promise<Delivery> {
  const rows = await selection(ctx)
    .where(and(eq(deliveries.tenant_id, ctx.tenant.id), eq(deliveries.id, id)))
    .limit(1)
  const row = rows[0]
  if (!row) throw problem.notFound('delivery', id)
  const takes = sql`exists (select 1 from ${endpoints} where ${endpoints.tenant_id} = ${ctx.tenant.id}
    and ${endpoints.id} = ${row.endpoint_id} and ${endpoints.status} = 'active')`
  const next_attempt_at = iso(ctx.now)
  const update = ctx.db
    .update(deliveries)
    .set({ status: 'pending', next_attempt_at, retries: sql`retries + 1`, version: sql`version + 1` })
    .where(and(eq(deliveries.tenant_id, ctx.tenant.id), eq(deliveries.id, id)))
  await keepWatch(ctx.env, ctx.now)
  const retried = await commit(ctx, {
    statements: [{ holds: takes, otherwise: refusal(row) }, update],
    audit: { action: 'delivery.retry', resource: 'delivery', resource_id: id },
    result: view({ ...row, status: 'pending', next_attempt_at }),
  })
  const endpoint = { tenant_id: ctx.tenant.id, endpoint_id: row.endpoint_id }
  ctx.defer(wakeEndpoint(ctx.env, endpoint, true))
  return retried
}

function refusal(row: Pick<Selected, 'endpoint_id' | 'endpoint_status'>) {
  const details = { endpoint_id: row.endpoint_id, endpoint_status: row.endpoint_status ?? 'deleted' }
  return problem('delivery_not_retryable', `The endpoint is ${details.endpoint_status}`, { details })
}

/** Deliveries beside what their endpoint says of when they may go out. */
function selection(ctx: Context) {
  return ctx.db
    .select({
      id: deliveries.id,
      event_id: deliveries.event_id,
      event_type: deliveries.event_type,
      endpoint_id: deliveries.endpoint_id,
      status: deliveries.status,
      attempt_count: deliveries.attempt_count,
      next_attempt_at: deliveries.next_attempt_at,
      created_at: deliveries.created_at,
      delivered_at: deliveries.delivered_at,
      version: deliveries.version,
      endpoint_status: sql<string | null>`${endpoints.status}`.as('endpoint_status'),
      not_before: endpoints.not_before,
    })
    .from(deliveries)
    .leftJoin(
      endpoints,
      and(eq(endpoints.tenant_id, deliveries.tenant_id), eq(endpoints.id, deliveries.endpoint_id)),
    )
    .$dynamic()
}

type Selected = Awaited<ReturnType<typeof selection>>[number]

function view({ not_before, ...row }: Selected): Delivery & { version: number } {
  const { endpoint_status: _, ...delivery } = row
  const at = delivery.next_attempt_at
  const waits = at !== null && not_before !== null && not_before > at
  return { ...delivery, next_attempt_at: waits ? not_before : at }
}
