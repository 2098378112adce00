import { and, asc, eq, or, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { events } from '../../events/table'
import { isActive } from '../../tenancy/tenants/active'
import { type EndpointRow, endpoints } from '../endpoints/table'
import type { Due, Work } from './drain-ports'
import { isBehind, isUnsure } from './order'
import { BEHIND_ANOTHER, deliveries } from './table'

// What an endpoint's object reads from D1; what it writes is in report.ts.

/** A due delivery with its event; `data` and `data_key` are null where the payload is no longer kept. */
export type DueDelivery = Due & {
  timestamp: string
  trace_id: string | null
  data: string | null
  data_key: string | null
}

export type DueWork = Work<DueDelivery> & { endpoint: EndpointRow | null }

/** How soon it is looked again for what another may have to go out before. */
const LOOK_AGAIN_MS = 100
/** How soon a probe is looked for again while what went out before the endpoint was degraded is under way. */
const PROBE_AGAIN_MS = 1_000

/**
 * The endpoint as it is now and at most `limit` of its deliveries that are due, the longest due first, none of `except`.
 * Nothing is due for an endpoint that is gone, paused, disabled or asked to wait, nor for one of a tenant that is
 * suspended or cancelled: the sweep takes up what waited once the tenant goes on. Of a degraded one, one is, now and then.
 */
export async function loadDue(
  ctx: Context,
  endpointId: string,
  except: readonly string[],
  limit: number,
): Promise<DueWork> {
  const now = Date.now()
  const [found, rows] = await ctx.db.batch([
    ctx.db
      .select()
      .from(endpoints)
      .where(
        and(eq(endpoints.tenant_id, ctx.tenant.id), eq(endpoints.id, endpointId), isActive(ctx.tenant.id)),
      ),
    // Spelled out, so that SQLite sees that the partial index serves.
    deliveriesOf(ctx, endpointId, except, sql`${deliveries.status} = 'pending'`)
      .orderBy(asc(deliveries.next_attempt_at))
      .limit(limit + 1),
  ])
  const endpoint = found[0] ?? null
  const gate = endpoint?.not_before ? Date.parse(endpoint.not_before) : 0
  if (endpoint?.status === 'degraded') {
    const { due, next_at } = await loadProbe(ctx, endpointId, except, { now, gate })
    return { endpoint, due, next_at }
  }
  if (endpoint?.status !== 'active') return { endpoint, due: [], next_at: null }
  const at = (row: { next_attempt_at: string | null }) =>
    Math.max(gate, Date.parse(row.next_attempt_at ?? iso(now)))
  const due = rows.slice(0, limit).filter((row) => at(row) <= now)
  const next = rows[due.length]
  const next_at = next && next.next_attempt_at !== BEHIND_ANOTHER ? at(next) : null
  const work = { endpoint, rate: endpoint.rate_limit, ordered: endpoint.ordered }
  if (!endpoint.ordered) return { ...work, due, next_at }
  return { ...work, ...(await inOrder(ctx, due, next_at, now)) }
}

type Row = DueDelivery & { behind: number; unsure: number }

/** Of deliveries that are due those that nothing goes before; what is behind another is due when that has ended. */
async function inOrder(
  ctx: Context,
  due: readonly Row[],
  next_at: number | null,
  now: number,
): Promise<Work<DueDelivery>> {
  const behind = JSON.stringify(due.filter((row) => row.behind === 1).map((row) => row.delivery_id))
  const first = due.filter((row) => row.behind === 0 && row.unsure === 0)
  if (behind === '[]' && first.length === due.length) return { due: first, next_at }
  if (behind !== '[]') {
    const park = ctx.db
      .update(deliveries)
      .set({ next_attempt_at: BEHIND_ANOTHER })
      .where(
        and(
          eq(deliveries.tenant_id, ctx.tenant.id),
          sql`${deliveries.id} in (select value from json_each(${behind}))`,
          sql`${deliveries.status} = 'pending'`,
          // Asked again, for that may have ended meanwhile.
          isBehind(ctx),
        ),
      )
    await commit(ctx, { statements: [park], result: undefined })
  }
  const again = first.length + JSON.parse(behind).length < due.length ? now + LOOK_AGAIN_MS : null
  if (again !== null) return { due: first, next_at: Math.min(again, next_at ?? again) }
  // Others may be due behind those that were read.
  return { due: first, next_at: first.length === 0 ? now : next_at }
}

/** The oldest delivery that is held, if it is time for it; one that failed as a probe lets the others go first. */
async function loadProbe(
  ctx: Context,
  endpointId: string,
  except: readonly string[],
  { now, gate }: { now: number; gate: number },
): Promise<Work<DueDelivery>> {
  const held = sql`${deliveries.status} = 'held'`
  const oldest = (...more: (SQL | undefined)[]) =>
    deliveriesOf(ctx, endpointId, [], and(held, ...more), sql`not ${isBehind(ctx)}`)
      .orderBy(asc(deliveries.id))
      .limit(1)
  const { next_attempt_at: at } = deliveries
  const [turn, any] = await ctx.db.batch([
    oldest(or(sql`${at} is null`, sql`${at} <= ${iso(now)}`)),
    oldest(),
  ])
  const probe = turn[0] ?? any[0]
  if (!probe) return { due: [], next_at: null }
  if (gate > now) return { due: [], next_at: gate }
  if (except.length > 0) return { due: [], next_at: now + PROBE_AGAIN_MS }
  return { due: [{ ...probe, probe: true }], next_at: null }
}

function deliveriesOf(
  ctx: Context,
  endpointId: string,
  except: readonly string[],
  ...conditions: (SQL | undefined)[]
) {
  return ctx.db
    .select({
      delivery_id: sql<string>`${deliveries.id}`.as('delivery_id'),
      event_id: deliveries.event_id,
      event_type: deliveries.event_type,
      attempt_count: deliveries.attempt_count,
      retries: deliveries.retries,
      next_attempt_at: deliveries.next_attempt_at,
      timestamp: sql<string>`coalesce(${events.timestamp}, '')`.as('timestamp'),
      trace_id: events.trace_id,
      data: events.data,
      data_key: events.data_key,
      behind: sql<number>`${isBehind(ctx)}`.as('behind'),
      unsure: sql<number>`${isUnsure(ctx)}`.as('unsure'),
      probe: sql<boolean>`0`.mapWith(Boolean).as('probe'),
    })
    .from(deliveries)
    .leftJoin(events, and(eq(events.tenant_id, deliveries.tenant_id), eq(events.id, deliveries.event_id)))
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        eq(deliveries.endpoint_id, endpointId),
        ...conditions,
        // One parameter for any number: D1 takes a hundred.
        except.length > 0
          ? sql`${deliveries.id} not in (select value from json_each(${JSON.stringify(except)}))`
          : undefined,
      ),
    )
    .$dynamic()
}
