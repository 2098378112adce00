import { and, eq, inArray, ne, sql } from 'drizzle-orm'
import { type Change, commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { eventOf, isAboutWebhooks } from '../../events/catalogue'
import { endpoints } from '../endpoints/table'
import type { Report } from './attempt-log'
import { hold } from './hold'
import { deliveries } from './table'

/**
 * Tells D1 what came of attempts of one endpoint: where each delivery stands, whether the endpoint waits or is disabled,
 * and the events of that. Telling it again changes nothing.
 */
export async function report(ctx: Context, endpointId: string, reports: readonly Report[]): Promise<void> {
  const plain = reports.filter(({ verdict }) => verdict.disable === null && verdict.status !== 'exhausted')
  if (plain.length > 0)
    await commit(ctx, {
      statements: [results(ctx, plain), ...waits(ctx, endpointId, plain)],
      result: undefined,
    })
  for (const one of reports) {
    if (one.verdict.disable !== null) await reportDisabling(ctx, endpointId, one, one.verdict.disable)
    else if (one.verdict.status === 'exhausted') await reportExhausted(ctx, endpointId, one)
  }
}

/** Was it so already, when the guard looked: then there is nothing to announce. */
const SO_ALREADY = problem('conflict', 'It was so already')

/** Commits `change`; where its guard finds that it stands already, only what is in `otherwise`. */
async function once(ctx: Context, change: Change<undefined>, otherwise: Change<undefined>): Promise<void> {
  try {
    await commit(ctx, change)
  } catch (error) {
    if (error !== SO_ALREADY) throw error
    await commit(ctx, otherwise)
  }
}

/** The end of the tenth attempt. A delivery about webhooks ends in silence, or dead letters would breed. */
async function reportExhausted(ctx: Context, endpointId: string, one: Report): Promise<void> {
  const statements = waits(ctx, endpointId, [one])
  const plain = { statements: [results(ctx, [one]), ...statements], result: undefined }
  if (isAboutWebhooks(one.event_type)) {
    await commit(ctx, plain)
    return
  }
  const { delivery_id, event_id, event_type, number, response_status, error } = one
  const standing = sql`exists (select 1 from ${deliveries} where ${and(
    eq(deliveries.tenant_id, ctx.tenant.id),
    eq(deliveries.id, delivery_id),
    eq(deliveries.retries, one.retries),
    sql`${deliveries.status} in ('pending', 'held')`,
  )})`
  const exhausted = eventOf('delivery.exhausted', {
    ...{ delivery_id, event_id, event_type, endpoint_id: endpointId },
    ...{ attempt_count: number, response_status, error },
  })
  await once(
    ctx,
    {
      statements: [{ holds: standing, otherwise: SO_ALREADY }, ...plain.statements],
      events: [exhausted],
      result: undefined,
    },
    plain,
  )
}

/** The receiver wants no more. What is under way for it is held: a person may set it right and enable the endpoint. */
async function reportDisabling(
  ctx: Context,
  endpointId: string,
  one: Report,
  reason: 'gone' | 'asked',
): Promise<void> {
  const mine = and(eq(endpoints.tenant_id, ctx.tenant.id), eq(endpoints.id, endpointId))
  const rows = await ctx.db.select().from(endpoints).where(mine).limit(1)
  const plain = { statements: [results(ctx, [one])], result: undefined }
  const row = rows[0]
  if (!row || row.status === 'disabled') {
    await commit(ctx, plain)
    return
  }
  const disable = ctx.db
    .update(endpoints)
    .set({ status: 'disabled', version: sql`version + 1`, updated_at: iso(ctx.now) })
    .where(and(mine, ne(endpoints.status, 'disabled')))
  const disabled = eventOf('endpoint.disabled', {
    endpoint_id: endpointId,
    uid: row.uid,
    description: row.description,
    reason,
    delivery_id: one.delivery_id,
    disabled_at: iso(one.ended_at),
  })
  await once(
    ctx,
    {
      statements: [
        { statement: disable, otherwise: SO_ALREADY },
        ...plain.statements,
        ...hold(ctx, endpointId),
      ],
      audit: {
        action: 'endpoint.disable',
        resource: 'endpoint',
        resource_id: endpointId,
        before: { status: row.status },
        after: { status: 'disabled', reason },
      },
      events: [disabled],
      result: undefined,
    },
    plain,
  )
}

/**
 * One statement for any number of results. What was delivered is delivered, whatever happened to the delivery meanwhile;
 * a failure decides only one that still stands as it was claimed: not one that was cancelled, nor one whose retry was
 * asked for by hand.
 */
function results(ctx: Context, reports: readonly Report[]) {
  const told = reports.map((one) => ({
    id: one.delivery_id,
    number: one.number,
    retries: one.retries,
    status: one.verdict.status,
    next_attempt_at: one.verdict.next_attempt_at === null ? null : iso(one.verdict.next_attempt_at),
    ended_at: iso(one.ended_at),
  }))
  const decides = sql.raw(`(deliveries.retries = told.retries and case told.status
    when 'delivered' then 1
    when 'pending' then deliveries.status = 'pending'
    else deliveries.status in ('pending', 'held') end)`)
  const ids = JSON.stringify(told.map(({ id }) => id))
  return ctx.db
    .update(deliveries)
    .set({
      attempt_count: sql`max(deliveries.attempt_count, told.number)`,
      status: sql`case when ${decides} then told.status else deliveries.status end`,
      next_attempt_at: sql`case when ${decides} then told.next_attempt_at else deliveries.next_attempt_at end`,
      delivered_at: sql`case told.status when 'delivered' then told.ended_at else deliveries.delivered_at end`,
      version: sql`deliveries.version + 1`,
    })
    .from(sql`(
      select value ->> 'id' as id, value ->> 'number' as number, value ->> 'retries' as retries,
        value ->> 'status' as status, value ->> 'next_attempt_at' as next_attempt_at,
        value ->> 'ended_at' as ended_at
      from json_each(${JSON.stringify(told)})) as told`)
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        // By itself, the join would look through all of the tenant's deliveries for those that were told.
        inArray(deliveries.id, sql`(select value from json_each(${ids}))`),
        sql`${deliveries.id} = told.id`,
      ),
    )
}

/** The longest Retry-After among the answers, as the endpoint's own wait. */
function waits(ctx: Context, endpointId: string, reports: readonly Report[]) {
  const until = Math.max(...reports.map(({ verdict }) => verdict.wait_until ?? 0))
  if (until <= ctx.now) return []
  const longest = sql`max(coalesce(${endpoints.not_before}, ''), ${iso(until)})`
  return [
    ctx.db
      .update(endpoints)
      .set({ not_before: longest })
      .where(and(eq(endpoints.tenant_id, ctx.tenant.id), eq(endpoints.id, endpointId))),
  ]
}
