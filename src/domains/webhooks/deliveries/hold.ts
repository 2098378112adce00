import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { deliveries } from './table'

// What becomes of an endpoint's open deliveries when the endpoint stops or goes on: statements for the batch of that
// change. The states are spelled out, so that SQLite sees that the partial indexes serve.

const ofEndpoint = (ctx: Context, endpointId: string) =>
  and(eq(deliveries.tenant_id, ctx.tenant.id), eq(deliveries.endpoint_id, endpointId))

const pending = sql`${deliveries.status} = 'pending'`
const held = sql`${deliveries.status} = 'held'`

const moved = (status: 'held' | 'pending' | 'cancelled', at: string | null) => ({
  status,
  next_attempt_at: at,
  version: sql`version + 1`,
})

/** The endpoint stops: what is pending is held, not dropped. */
export function hold(ctx: Context, endpointId: string) {
  const update = ctx.db.update(deliveries).set(moved('held', null))
  return [update.where(and(ofEndpoint(ctx, endpointId), pending))]
}

/** The endpoint goes on: what was held is due now, and goes out the oldest first. */
export function release(ctx: Context, endpointId: string) {
  const update = ctx.db.update(deliveries).set(moved('pending', iso(ctx.now)))
  return [update.where(and(ofEndpoint(ctx, endpointId), held))]
}

/** The endpoint is deleted: what is pending or held is cancelled. */
export function cancel(ctx: Context, endpointId: string) {
  const update = () => ctx.db.update(deliveries).set(moved('cancelled', null))
  return [
    update().where(and(ofEndpoint(ctx, endpointId), pending)),
    update().where(and(ofEndpoint(ctx, endpointId), held)),
  ]
}
