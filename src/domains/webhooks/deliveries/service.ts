import { and, eq, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { keepWatch } from '../../../data/outbox'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import type { Delivery, DeliveryDetail } from './schema'
import { type Selected, selection, view } from './selection'
import { deliveries } from './table'
import { senderOf, wakeEndpoint } from './wake'

/** One delivery with its attempts, which its endpoint's object keeps. */
export async function getDelivery(ctx: Context, id: string): Promise<DeliveryDetail & { version: string }> {
  const read = async () => {
    const mine = and(eq(deliveries.tenant_id, ctx.tenant.id), eq(deliveries.id, id))
    const [row] = await selection(ctx).where(mine).limit(1)
    if (!row) throw problem.notFound('delivery', id)
    return row
  }
  let row = await read()
  const sender = await senderOf(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id: row.endpoint_id })
  const attempts = await sender.attempts(id).catch((cause) => {
    throw problem('service_unavailable', 'The attempts can’t be read just now', { cause })
  })
  // One of them ended just now, and its object has told D1 of it.
  if ((attempts.at(-1)?.number ?? 0) > row.attempt_count) row = await read()
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
 * to be left alone for a while (Retry-After) is left alone; for one that is degraded it lines up with what is held, and
 * goes out with that. 409 where the endpoint takes nothing, or the payload is no longer kept.
 */
export async function retryDelivery(ctx: Context, id: string): Promise<Delivery> {
  const rows = await selection(ctx)
    .where(and(eq(deliveries.tenant_id, ctx.tenant.id), eq(deliveries.id, id)))
    .limit(1)
  const row = rows[0]
  if (!row) throw problem.notFound('delivery', id)
  const now = iso(ctx.now)
  const { takes, isActive, isKept } = standing(ctx, row)
  const update = ctx.db
    .update(deliveries)
    .set({
      status: sql`case when ${isActive} then 'pending' else 'held' end`,
      next_attempt_at: sql`case when ${isActive} then ${now} end`,
      ...{ retries: sql`retries + 1`, version: sql`version + 1` },
    })
    .where(and(eq(deliveries.tenant_id, ctx.tenant.id), eq(deliveries.id, id)))
  await keepWatch(ctx.env, ctx.now)
  const held = row.endpoint_status === 'degraded'
  const retried = await commit(ctx, {
    statements: [
      { holds: takes, otherwise: refusal(row) },
      {
        holds: isKept,
        otherwise: problem('delivery_not_retryable', 'The event’s payload is no longer kept'),
      },
      update,
    ],
    audit: { action: 'delivery.retry', resource: 'delivery', resource_id: id },
    result: view({
      ...row,
      ...(held
        ? ({ status: 'held', next_attempt_at: null } as const)
        : { status: 'pending', next_attempt_at: now }),
    }),
  })
  const endpoint = { tenant_id: ctx.tenant.id, endpoint_id: row.endpoint_id }
  ctx.defer(wakeEndpoint(ctx.env, endpoint, true))
  return retried
}

/** How the endpoint and the event of a delivery stand when the statement runs. */
function standing(ctx: Context, { endpoint_id, event_id }: Pick<Selected, 'endpoint_id' | 'event_id'>) {
  const status = sql`(select w.status from endpoints as w where w.tenant_id = ${ctx.tenant.id} and w.id = ${endpoint_id})`
  return {
    takes: sql`coalesce(${status} in ('active', 'degraded'), 0)`,
    isActive: sql`${status} = 'active'`,
    isKept: sql`exists (select 1 from events as e where e.tenant_id = ${ctx.tenant.id} and e.id = ${event_id}
      and (e.data is not null or e.data_key is not null))`,
  }
}

function refusal(row: Pick<Selected, 'endpoint_id' | 'endpoint_status'>) {
  const details = { endpoint_id: row.endpoint_id, endpoint_status: row.endpoint_status ?? 'deleted' }
  const then = row.endpoint_status === null ? '' : ': enable it first, or send what is missing with recover'
  return problem('delivery_not_retryable', `The endpoint is ${details.endpoint_status}${then}`, { details })
}
