import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { events } from '../../events/table'
import { isActive } from '../../tenancy/tenants/active'
import type { DueDelivery } from './due'

// What fan-out reads at the end of its batch: new deliveries that may go out at once, which their endpoints' objects then
// need not read.

/** New deliveries that may go out at once, as they were made; `version` is the endpoint's as it was read with them, no earlier than `read_at`. */
export type Handed = { version: number; read_at: number; deliveries: DueDelivery[] }

export type Pending = {
  endpoint_id: string
  delivery_id: string
  event_id: string
  version: number
  ready: number
}
export type Sendable = Pick<DueDelivery, 'event_id' | 'event_type' | 'timestamp' | 'trace_id' | 'data'>

/** Adds to `awake` who has something to send, and what of it is known already. */
export function handOut(
  { now: read_at }: Pick<Context, 'now'>,
  pending: readonly Pending[],
  sendable: readonly Sendable[],
  awake: Map<string, Handed>,
): void {
  const messages = new Map(sendable.map((message) => [message.event_id, message]))
  for (const { endpoint_id, delivery_id, event_id, version, ready } of pending) {
    const handed = awake.get(endpoint_id) ?? { version, read_at, deliveries: [] }
    awake.set(endpoint_id, handed)
    const message = messages.get(event_id)
    if (!message || ready !== 1 || handed.version !== version) continue
    handed.deliveries.push({
      ...{ ...message, delivery_id, data_key: null },
      ...{ attempt_count: 0, retries: 0, probe: false },
    })
  }
}

/** What is to be sent, by the span of ids that an event's deliveries have (table.ts), and whether it may be at once. */
export function pendingOf(ctx: Context, eventIds: readonly string[]) {
  const now = iso(ctx.now)
  return (
    ctx.db
      .select({
        endpoint_id: sql<string>`d.endpoint_id`.as('endpoint_id'),
        delivery_id: sql<string>`d.id`.as('delivery_id'),
        event_id: sql<string>`d.event_id`.as('event_id'),
        version: sql<number>`w.version`.as('version'),
        ready: sql<number>`w.status = 'active' and not w.ordered and d.attempt_count = 0 and d.retries = 0
          and d.next_attempt_at <= ${now} and coalesce(w.not_before, '') <= ${now}`.as('ready'),
      })
      // CROSS JOIN keeps to that order.
      .from(sql`json_each(${JSON.stringify(eventIds)}) as event
        cross join deliveries as d on d.tenant_id = ${ctx.tenant.id}
          and d.id >= substr(event.value, 5, 30) and d.id < substr(event.value, 5, 30) || 'g'
        cross join endpoints as w on w.tenant_id = d.tenant_id and w.id = d.endpoint_id`)
      .where(sql`d.status = 'pending'`)
  )
}

/** Larger payloads are read where they are sent. */
const MOST_HANDED = 4_096

/** The events as they are sent, where the tenant may send. */
export function sendableOf(ctx: Context, eventIds: readonly string[]) {
  return ctx.db
    .select({
      event_id: sql<string>`${events.id}`.as('event_id'),
      event_type: sql<string>`${events.type}`.as('event_type'),
      timestamp: events.timestamp,
      trace_id: events.trace_id,
      data: events.data,
    })
    .from(events)
    .where(
      and(
        eq(events.tenant_id, ctx.tenant.id),
        inArray(events.id, listed(eventIds)),
        sql`length(${events.data}) <= ${MOST_HANDED}`,
        isActive(ctx.tenant.id),
      ),
    )
}

/** One parameter for any number: D1 takes a hundred. */
export const listed = (values: readonly string[]) =>
  sql`(select value from json_each(${JSON.stringify(values)}))`
