import { and, eq, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { BEHIND_ANOTHER, deliveries, OPEN } from './table'

// The order of an endpoint that is `ordered`: of one subject a delivery goes out when those of lower `seq` have ended.
// Events without a subject are a line of their own. What is found to be behind another is due when that one ends, and not
// before, so a long line is looked through once.

/** Whether another of its subject goes before it; 0 where the endpoint is not ordered. */
export const isBehind = (
  ctx: Context,
): SQL => sql`case when ${deliveries.order_key} is null then 0 else exists (
  select 1 from deliveries as q where q.tenant_id = ${ctx.tenant.id} and q.endpoint_id = ${deliveries.endpoint_id}
    and q.order_key = ${deliveries.order_key} and q.status ${OPEN} and q.seq < ${deliveries.seq}) end`

/** Whether one may have to go before it whose delivery is not made yet. */
export const isUnsure = (
  ctx: Context,
): SQL => sql`case when ${deliveries.order_key} is null then 0 else exists (
  select 1 from events as u indexed by events_undispatched where u.tenant_id = ${ctx.tenant.id} and u.dispatched = 0
    and u.seq < ${deliveries.seq} and coalesce(u.subject, '') = ${deliveries.order_key}) end`

/** These deliveries have ended: those that were next behind them are due. A statement for the batch of that. */
export function callNext(ctx: Context, ended: readonly string[]) {
  return ctx.db
    .update(deliveries)
    .set({ next_attempt_at: iso(Date.now()), version: sql`version + 1` })
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        sql`${deliveries.status} = 'pending' and ${deliveries.next_attempt_at} = ${BEHIND_ANOTHER}`,
        sql`${deliveries.id} in (
          select (
            select n.id from deliveries as n
            where n.tenant_id = ${ctx.tenant.id} and n.endpoint_id = d.endpoint_id and n.order_key = d.order_key
              and n.status ${OPEN}
            order by n.seq limit 1)
          from json_each(${JSON.stringify(ended)}) as told
          cross join deliveries as d on d.tenant_id = ${ctx.tenant.id} and d.id = told.value)`,
      ),
    )
}

/** An endpoint becomes ordered, or is so no longer: what is open for it takes its place. For the batch of that change. */
export function reorder(ctx: Context, endpointId: string, ordered: boolean) {
  const open = (status: 'pending' | 'held') =>
    and(
      eq(deliveries.tenant_id, ctx.tenant.id),
      eq(deliveries.endpoint_id, endpointId),
      sql`${deliveries.status} = ${sql.raw(`'${status}'`)}`,
    )
  const event = (column: SQL) =>
    sql`(select ${column} from events as e where e.tenant_id = ${ctx.tenant.id} and e.id = ${deliveries.event_id})`
  const place = ordered
    ? { order_key: event(sql`coalesce(e.subject, '')`), seq: event(sql`e.seq`) }
    : { order_key: null, seq: null }
  const now = iso(ctx.now)
  const at = sql`case ${deliveries.next_attempt_at} when ${BEHIND_ANOTHER} then ${now} else ${deliveries.next_attempt_at} end`
  return (['pending', 'held'] as const).map((status) =>
    ctx.db
      .update(deliveries)
      .set({ ...place, next_attempt_at: at })
      .where(open(status)),
  )
}
