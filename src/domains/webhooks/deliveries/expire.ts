import { and, asc, eq, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { count } from '../../../data/metrics'
import { problem } from '../../../lib/problem'
import { eventOf, isAboutWebhooks } from '../../events/catalogue'
import { deliveries, UNDELIVERED } from './table'

/** Deliveries of one batch; what is more comes with the next. */
const SLICE = 500
const ROUNDS = 20

/** What was held until its payload’s time was over can’t be sent any more. */
const ERROR = 'payload: it was held for as long as payloads are kept'

type Held = Pick<
  typeof deliveries.$inferSelect,
  'id' | 'event_id' | 'event_type' | 'endpoint_id' | 'attempt_count'
>

/**
 * Ends what is held and whose event is older than the id `before`, since its payload is no longer kept: exhausted, counted,
 * and told, one event for what each endpoint lost at once. Answers whether others are left.
 */
export async function exhaustHeld(ctx: Context, before: string): Promise<boolean> {
  for (let round = 0; round < ROUNDS; round++) {
    const held = await ctx.db
      .select({
        id: deliveries.id,
        event_id: deliveries.event_id,
        event_type: deliveries.event_type,
        endpoint_id: deliveries.endpoint_id,
        attempt_count: deliveries.attempt_count,
      })
      .from(deliveries)
      .where(
        and(
          eq(deliveries.tenant_id, ctx.tenant.id),
          sql`${deliveries.status} = 'held' and ${deliveries.status} ${UNDELIVERED}`,
          lt(deliveries.id, before),
        ),
      )
      .orderBy(asc(deliveries.id))
      .limit(SLICE)
    if (held.length > 0) await exhaust(ctx, held)
    if (held.length < SLICE) return false
  }
  return true
}

async function exhaust(ctx: Context, held: readonly Held[]): Promise<void> {
  const ids = JSON.stringify(held.map(({ id }) => id))
  const these = and(
    eq(deliveries.tenant_id, ctx.tenant.id),
    sql`${deliveries.id} in (select value from json_each(${ids}))`,
    // The plus keeps to their ids: the index of what is held has the tenant's others.
    sql`+${deliveries.status} = 'held'`,
  )
  await commit(ctx, {
    statements: [
      {
        holds: sql`(select count(*) from ${deliveries} where ${these}) = ${held.length}`,
        otherwise: problem('conflict', 'Some of them are held no longer; the next run looks again'),
      },
      ctx.db
        .update(deliveries)
        .set({ status: 'exhausted', next_attempt_at: null, version: sql`version + 1` })
        .where(these),
    ],
    events: announcements(held),
    result: undefined,
  })
  count(ctx.env, 'webhook_deliveries_total', { outcome: 'exhausted' }, held.length)
}

/** The oldest of each endpoint, and how many with it; the end of a delivery about webhooks is not announced. */
function announcements(held: readonly Held[]) {
  const told = held.filter(({ event_type }) => !isAboutWebhooks(event_type))
  return [...Map.groupBy(told, ({ endpoint_id }) => endpoint_id).values()].flatMap(([first, ...others]) => {
    if (!first) return []
    const { id: delivery_id, ...rest } = first
    const data = { ...rest, delivery_id, response_status: null, error: ERROR, count: others.length + 1 }
    return [eventOf('delivery.exhausted', data)]
  })
}
