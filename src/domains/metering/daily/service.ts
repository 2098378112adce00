import { and, asc, between, desc, eq, gt, inArray, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { dailyCounts } from './table'

/** The most days that one look goes over. */
export const MOST_DAYS = 366
const DAY_MS = 86_400_000

/** A span of whole days (UTC), the last one included. */
export type Days = { from: string; to: string }

const numberOf = (day: string): number => Date.parse(`${day}T00:00:00.000Z`) / DAY_MS
const dayOf = (number: number): string => new Date(number * DAY_MS).toISOString().slice(0, 10)

/** The days that were asked for; the last thirty, today among them, where nothing was said. 422 names what is wrong. */
export function daysAsked(input: { from?: string | undefined; to?: string | undefined }, now: number): Days {
  const to = input.to ?? dayOf(Math.floor(now / DAY_MS))
  const from = input.from ?? dayOf(numberOf(to) - 29)
  if (from > to)
    throw problem.invalid({ from: `must not be after ${input.to === undefined ? 'today' : 'to'}` })
  if (numberOf(to) - numberOf(from) >= MOST_DAYS)
    throw problem.invalid({ from: `must be within ${MOST_DAYS} days of to; ask for a shorter time` })
  return { from, to }
}

/** Each of the days, in order. */
export function eachDay({ from, to }: Days): string[] {
  const first = numberOf(from)
  return Array.from({ length: numberOf(to) - first + 1 }, (_, i) => dayOf(first + i))
}

/** As many days before. */
export function daysBefore({ from, to }: Days): Days {
  const first = numberOf(from)
  return { from: dayOf(first - (numberOf(to) - first + 1)), to: dayOf(first - 1) }
}

export type DayCount = { day: string; name: string; n: number }

const of = (ctx: Context, metric: string, { from, to }: Days) =>
  and(
    eq(dailyCounts.tenant_id, ctx.tenant.id),
    eq(dailyCounts.metric, metric),
    between(dailyCounts.day, from, to),
  )

/** What a metric came to on each day that has any: all together, or under each of `names`. */
export function countsByDay(
  ctx: Context,
  metric: string,
  days: Days,
  names: readonly string[] = [''],
): Promise<DayCount[]> {
  return ctx.db
    .select({ day: dailyCounts.day, name: dailyCounts.name, n: dailyCounts.n })
    .from(dailyCounts)
    .where(and(of(ctx, metric, days), inArray(dailyCounts.name, [...names])))
    .orderBy(asc(dailyCounts.day), asc(dailyCounts.name))
    .then((rows) => rows)
}

/** The names that a metric had most of within those days, at most `limit`. */
export function countsByName(
  ctx: Context,
  metric: string,
  days: Days,
  limit: number,
): Promise<{ name: string; n: number }[]> {
  const n = sql<number>`sum(${dailyCounts.n})`
  return ctx.db
    .select({ name: dailyCounts.name, n })
    .from(dailyCounts)
    .where(and(of(ctx, metric, days), gt(dailyCounts.n, 0)))
    .groupBy(dailyCounts.name)
    .orderBy(desc(n), asc(dailyCounts.name))
    .limit(limit)
    .then((rows) => rows)
}
