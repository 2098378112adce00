import { type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { dailyDeliveries } from './table'

/**
 * Counts new attempts, and what they make of their deliveries, on this day: `results` is a table `told` of results, each
 * delivery once, and `then` says how `deliveries` stand after it. One row written for each endpoint, however many the
 * attempts are. It goes right before the statement that writes the results, in the same batch; a result that is told
 * again is no new attempt, and a change without one is counted by a trigger. Not async.
 */
export function countAttempts(ctx: Context, results: SQL, then: SQL) {
  const became = (status: string) => sql`sum(deliveries.status <> ${status} and ${then} = ${status})`
  const more = (column: keyof typeof dailyDeliveries.$inferSelect) => {
    const name = sql.identifier(column)
    return sql`daily_deliveries.${name} + excluded.${name}`
  }
  return ctx.db
    .insert(dailyDeliveries)
    .select(sql`
      select deliveries.tenant_id, date('now'), deliveries.endpoint_id, sum(told.number - deliveries.attempt_count),
        ${became('delivered')}, ${became('failed')}, ${became('exhausted')}, ${became('cancelled')}
      from ${results} cross join deliveries
      where deliveries.tenant_id = ${ctx.tenant.id} and deliveries.id = told.id
        and told.number > deliveries.attempt_count
      group by deliveries.tenant_id, deliveries.endpoint_id`)
    .onConflictDoUpdate({
      target: [dailyDeliveries.tenant_id, dailyDeliveries.day, dailyDeliveries.endpoint_id],
      set: {
        attempts: more('attempts'),
        delivered: more('delivered'),
        failed: more('failed'),
        exhausted: more('exhausted'),
        cancelled: more('cancelled'),
      },
    })
}
