import { and, eq, inArray, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { eventOf, isAboutWebhooks } from '../../events/catalogue'
import { countAttempts } from '../daily/count'
import { endpoints } from '../endpoints/table'
import type { Report } from './attempt-log'
import { disabling, reportCircuit } from './circuit'
import type { Health } from './health'
import { once, SO_ALREADY } from './once'
import { callNext } from './order'
import { deliveries } from './table'

/** What the endpoint's object knows beside the attempts: how it fares, and whether it is ordered. */
export type Standing = { health: Health; ordered: boolean }

/**
 * Tells D1 what came of attempts of one endpoint: where each delivery stands, whether the endpoint waits, is degraded,
 * recovered or disabled, and the events of that. Telling it again changes nothing. Answers whether more may be due now.
 */
export async function report(
  ctx: Context,
  endpointId: string,
  reports: readonly Report[],
  standing: Standing,
): Promise<boolean> {
  const { ordered } = standing
  const plain = reports.filter(({ verdict }) => verdict.disable === null && verdict.status !== 'exhausted')
  if (plain.length > 0)
    await commit(ctx, {
      statements: [...results(ctx, plain, ordered), ...waits(ctx, endpointId, plain)],
      result: undefined,
    })
  for (const one of reports) {
    if (one.verdict.disable !== null)
      await reportDisabling(ctx, endpointId, one, one.verdict.disable, ordered)
    else if (one.verdict.status === 'exhausted') await reportExhausted(ctx, endpointId, one, ordered)
  }
  // After the results: what was delivered is not held, and not released.
  for (const one of reports)
    if (one.verdict.circuit !== null && one.verdict.disable === null)
      await reportCircuit(ctx, endpointId, one, standing.health)
  return ordered || reports.some(({ verdict }) => verdict.circuit ?? verdict.disable ?? verdict.wait_until)
}

/** Whether all that a result says is that its delivery arrived. */
export const isPlain = ({ verdict }: Report): boolean =>
  verdict.status === 'delivered' && (verdict.disable ?? verdict.wait_until ?? verdict.circuit) === null

/** Tells D1 of deliveries that arrived, at any endpoints of the tenant that are not ordered: one statement. */
export async function reportArrived(ctx: Context, reports: readonly Report[]): Promise<void> {
  await commit(ctx, { statements: results(ctx, reports, false), result: undefined })
}

/** The end of the tenth attempt. A delivery about webhooks ends in silence, or dead letters would breed. */
async function reportExhausted(
  ctx: Context,
  endpointId: string,
  one: Report,
  ordered: boolean,
): Promise<void> {
  const statements = waits(ctx, endpointId, [one])
  const plain = { statements: [...results(ctx, [one], ordered), ...statements], result: undefined }
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
    ...{ attempt_count: number, response_status, error, count: 1 },
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
  ordered: boolean,
): Promise<void> {
  const mine = and(eq(endpoints.tenant_id, ctx.tenant.id), eq(endpoints.id, endpointId))
  const rows = await ctx.db.select().from(endpoints).where(mine).limit(1)
  const plain = { statements: results(ctx, [one], ordered), result: undefined }
  const row = rows[0]
  if (!row || row.status === 'disabled') {
    await commit(ctx, plain)
    return
  }
  await once(
    ctx,
    disabling(ctx, row, {
      reason,
      delivery_id: one.delivery_id,
      at: one.ended_at,
      statements: plain.statements,
    }),
    plain,
  )
}

/**
 * Three statements at most for any number of results. What was delivered is delivered, whatever happened to the delivery
 * meanwhile; a failure decides only one that still stands as it was claimed: not one that was cancelled, nor one whose
 * retry was asked for by hand.
 */
function results(ctx: Context, reports: readonly Report[], ordered: boolean) {
  const told = [...new Map(reports.map((one) => [one.delivery_id, one])).values()].map((one) => ({
    id: one.delivery_id,
    number: one.number,
    retries: one.retries,
    status: one.verdict.status,
    next_attempt_at: one.verdict.next_attempt_at === null ? null : iso(one.verdict.next_attempt_at),
    ended_at: iso(one.ended_at),
  }))
  const results = sql`(
      select value ->> 'id' as id, value ->> 'number' as number, value ->> 'retries' as retries,
        value ->> 'status' as status, value ->> 'next_attempt_at' as next_attempt_at,
        value ->> 'ended_at' as ended_at
      from json_each(${JSON.stringify(told)})) as told`
  const ids = JSON.stringify(told.map(({ id }) => id))
  const update = ctx.db
    .update(deliveries)
    .set({
      attempt_count: sql`max(deliveries.attempt_count, told.number)`,
      status: STATUS_THEN,
      next_attempt_at: sql`case when ${DECIDES} then told.next_attempt_at else deliveries.next_attempt_at end`,
      delivered_at: sql`case told.status when 'delivered' then told.ended_at else deliveries.delivered_at end`,
      version: sql`deliveries.version + 1`,
    })
    .from(results)
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        // By itself, the join would look through all of the tenant's deliveries for those that were told.
        inArray(deliveries.id, sql`(select value from json_each(${ids}))`),
        sql`${deliveries.id} = told.id`,
      ),
    )
  const ended = told.filter(({ status }) => status !== 'pending' && status !== 'held').map(({ id }) => id)
  const written = [countAttempts(ctx, results, STATUS_THEN), update]
  return ordered && ended.length > 0 ? [...written, callNext(ctx, ended)] : written
}

/** Whether a result decides how its delivery stands. */
const DECIDES = sql.raw(`(deliveries.retries = told.retries and case told.status
    when 'delivered' then 1
    when 'pending' then deliveries.status = 'pending'
    when 'held' then deliveries.status = 'held'
    else deliveries.status in ('pending', 'held') end)`)

const STATUS_THEN = sql`case when ${DECIDES} then told.status else deliveries.status end`

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
