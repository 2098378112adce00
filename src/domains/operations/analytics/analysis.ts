import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { countedUntil } from '../../metering/daily/follow'
import { type Days, daysAsked, daysBefore, eachDay } from '../../metering/daily/service'
import type { DaysQuery } from './schema'

/** So much of something on a day. */
export type Found<K extends string> = { day: string; key: K; n: number }

export type Analysis<K extends string> = {
  from: string
  to: string
  as_of: string
  totals: Record<K, number>
  previous: { from: string; to: string; totals: Record<K, number> }
  days: ({ day: string } & Record<K, number>)[]
}

/** What `find` finds on the days that were asked for and on as many before, which it is asked for at once. */
export async function analysed<K extends string>(
  ctx: Context,
  input: DaysQuery,
  keys: readonly K[],
  find: (days: Days) => Promise<Found<K>[]>,
): Promise<Analysis<K>> {
  const days = daysAsked(input, ctx.now)
  const before = daysBefore(days)
  // Before anything is read: what is counted meanwhile is more than was promised, and not less.
  const until = await countedUntil(ctx.env, ctx.now)
  const none = () => Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>
  const totals = none()
  const previous = { ...before, totals: none() }
  const byDay = new Map(eachDay(days).map((day) => [day, none()]))
  for (const { day, key, n } of await find({ from: before.from, to: days.to })) {
    const sum = day < days.from ? previous.totals : totals
    sum[key] += n
    const counts = byDay.get(day)
    if (counts) counts[key] += n
  }
  const trend = [...byDay].map(([day, counts]) => ({ day, ...counts }))
  return { ...days, as_of: iso(until), totals, previous, days: trend }
}
