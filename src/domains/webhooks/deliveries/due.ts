import { and, asc, eq, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { dataText } from '../../events/payload'
import { events } from '../../events/table'
import { isActive } from '../../tenancy/tenants/active'
import { type EndpointRow, endpoints } from '../endpoints/table'
import type { Due, Work } from './drain'
import { deliveries } from './table'

// What an endpoint's object reads from D1; what it writes is in report.ts.

/** A due delivery with its event; `data` is null where the payload is no longer kept. */
export type DueDelivery = Due & {
  timestamp: string
  trace_id: string | null
  data: string | null
}

export type DueWork = Work<DueDelivery> & { endpoint: EndpointRow | null }

/**
 * The endpoint as it is now and at most `limit` of its deliveries that are due, the longest due first, none of `except`.
 * Nothing is due for an endpoint that is gone, paused, disabled or asked to wait, nor for one of a tenant that is
 * suspended or cancelled: the sweep takes up what waited once the tenant goes on.
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
    pendingOf(ctx, endpointId, except, limit + 1),
  ])
  const endpoint = found[0] ?? null
  const first = rows[0]
  if (endpoint?.status !== 'active' || !first) return { endpoint, due: [], next_at: null }
  const gate = endpoint.not_before === null ? 0 : Date.parse(endpoint.not_before)
  const at = (row: { next_attempt_at: string | null }) =>
    Math.max(gate, Date.parse(row.next_attempt_at ?? iso(now)))
  const due = rows.slice(0, limit).filter((row) => at(row) <= now)
  const next = rows[due.length]
  return {
    endpoint,
    due: await Promise.all(due.map(async (row) => ({ ...row, data: await dataText(ctx.env, row) }))),
    next_at: next ? at(next) : null,
  }
}

function pendingOf(ctx: Context, endpointId: string, except: readonly string[], limit: number) {
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
    })
    .from(deliveries)
    .leftJoin(events, and(eq(events.tenant_id, deliveries.tenant_id), eq(events.id, deliveries.event_id)))
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        eq(deliveries.endpoint_id, endpointId),
        // Spelled out, so that SQLite sees that the partial index serves.
        sql`${deliveries.status} = 'pending'`,
        // One parameter for any number: D1 takes a hundred.
        except.length > 0
          ? sql`${deliveries.id} not in (select value from json_each(${JSON.stringify(except)}))`
          : undefined,
      ),
    )
    .orderBy(asc(deliveries.next_attempt_at))
    .limit(limit)
}
