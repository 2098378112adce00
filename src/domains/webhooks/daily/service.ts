import { and, asc, between, desc, eq, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { dailyDeliveries as daily } from './table'

/** What came of deliveries. */
export type DeliveryCounts = {
  attempts: number
  delivered: number
  failed: number
  exhausted: number
  cancelled: number
}

const sums = {
  attempts: sql<number>`sum(${daily.attempts})`.as('attempts'),
  delivered: sql<number>`sum(${daily.delivered})`.as('delivered'),
  failed: sql<number>`sum(${daily.failed})`.as('failed'),
  exhausted: sql<number>`sum(${daily.exhausted})`.as('exhausted'),
  cancelled: sql<number>`sum(${daily.cancelled})`.as('cancelled'),
}

const within = (ctx: Context, { from, to }: { from: string; to: string }) =>
  and(eq(daily.tenant_id, ctx.tenant.id), between(daily.day, from, to))

/** What came of the tenant's deliveries on each of those days (UTC) that had any, in order. */
export async function deliveriesByDay(
  ctx: Context,
  days: { from: string; to: string },
): Promise<(DeliveryCounts & { day: string })[]> {
  return ctx.db
    .select({ day: daily.day, ...sums })
    .from(daily)
    .where(within(ctx, days))
    .groupBy(daily.day)
    .orderBy(asc(daily.day))
}

/** The endpoints with the most attempts within those days, at most `limit`; deleted ones too. */
export async function deliveriesByEndpoint(
  ctx: Context,
  days: { from: string; to: string },
  limit: number,
): Promise<(DeliveryCounts & { endpoint_id: string })[]> {
  return ctx.db
    .select({ endpoint_id: daily.endpoint_id, ...sums })
    .from(daily)
    .where(within(ctx, days))
    .groupBy(daily.endpoint_id)
    .orderBy(desc(sql`attempts`), asc(daily.endpoint_id))
    .limit(limit)
}
