import { and, eq, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { problem } from '../../../lib/problem'
import { callNext } from './order'
import type { Delivery } from './schema'
import { deliveries, OPEN } from './table'
import { stopEndpoint } from './wake'

/**
 * Ends a delivery that is pending or held, without another attempt; where its endpoint is ordered, the next of its subject
 * goes out. One that is being attempted is delivered if that succeeds. 409 for one that has ended.
 */
export async function cancelDelivery(ctx: Context, id: string): Promise<Delivery & { version: number }> {
  const row = await find(ctx, deliveries, id)
  if (!row) throw problem.notFound('delivery', id)
  const update = ctx.db
    .update(deliveries)
    .set({ status: 'cancelled', next_attempt_at: null, version: sql`version + 1` })
    .where(
      and(eq(deliveries.tenant_id, ctx.tenant.id), eq(deliveries.id, id), sql`${deliveries.status} ${OPEN}`),
    )
  const ended = problem('conflict', 'Only a delivery that is pending or held can be cancelled', {
    details: { delivery_id: id, status: row.status },
  })
  const cancelled = await commit(ctx, {
    statements: [{ statement: update, otherwise: ended }, callNext(ctx, [id])],
    audit: {
      ...{ action: 'delivery.cancel', resource: 'delivery', resource_id: id },
      ...{ before: { status: row.status }, after: { status: 'cancelled' } },
    },
    result: { ...row, status: 'cancelled' as const, next_attempt_at: null, version: row.version + 1 },
  })
  await stopEndpoint(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id: row.endpoint_id })
  return cancelled
}
