import { type ArchivedGrain, HOURS_ARCHIVED_MS } from './archive'
import { ceilTo, DAY_MS, floorTo, type GroupBy, HOUR_MS, MINUTE_MS, MINUTES_KEPT_MS } from './book'

/** A span of time and who knows of it: the Meter to the minute, D1 by hours or days. */
export type Span = { source: 'meter' | ArchivedGrain; from: number; to: number }

/** The times that groups are made of, in whole ones. */
const STEP: Record<GroupBy, number> = {
  minute: MINUTE_MS,
  hour: HOUR_MS,
  day: DAY_MS,
  endpoint: MINUTE_MS,
  status: MINUTE_MS,
  caller: MINUTE_MS,
}

/** How far back each group of times goes; days are kept for ever. */
const REACH: Partial<Record<GroupBy, number>> = { minute: MINUTES_KEPT_MS, hour: HOURS_ARCHIVED_MS }

/** The last 24 hours before `to`: as many whole minutes or hours, or whatever days they touch. */
export const dayBefore = (by: GroupBy, to: number): number =>
  (by === 'minute' || by === 'hour' ? ceilTo(STEP[by], to) : to) - DAY_MS

/** The earliest time that can be asked for. */
export const earliest = (by: GroupBy, now: number): number =>
  floorTo(HOUR_MS, now - (REACH[by] ?? Number.POSITIVE_INFINITY))

/**
 * Who is to be asked for the requests from `from` on and before `to`: whole minutes, hours or days as they are grouped.
 * The Meter knows the whole days of the last week, the present second among them; before that there are hours, and
 * before those, days.
 */
export function spansOf(by: GroupBy, from: number, to: number, now: number): Span[] {
  const start = floorTo(STEP[by], from)
  const end = ceilTo(STEP[by], to)
  // Minutes are the Meter's alone.
  const known = by === 'minute' ? 0 : floorTo(DAY_MS, now - MINUTES_KEPT_MS) + DAY_MS
  const old = before(by, start, Math.min(end, known), now)
  const recent: Span = { source: 'meter', from: Math.max(start, known), to: end }
  return [...old, recent].filter((span) => span.from < span.to)
}

function before(by: GroupBy, from: number, to: number, now: number): Span[] {
  if (by === 'hour' || by === 'day') return [{ source: by, from, to }]
  // By whole days, with hours at both ends as long as there are any.
  const hours = ceilTo(DAY_MS, now - HOURS_ARCHIVED_MS)
  const start = from < hours ? floorTo(DAY_MS, from) : floorTo(HOUR_MS, from)
  const end = to <= hours ? ceilTo(DAY_MS, to) : ceilTo(HOUR_MS, to)
  const [first, last] = [ceilTo(DAY_MS, start), floorTo(DAY_MS, end)]
  if (first >= last) return [{ source: 'hour', from: start, to: end }]
  return [
    { source: 'hour', from: start, to: first },
    { source: 'day', from: first, to: last },
    { source: 'hour', from: last, to: end },
  ]
}
