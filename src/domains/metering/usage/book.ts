import { PUBLIC, type Sample, USERS, type UsageLine, type UsageReport } from './line'
import {
  addLine,
  addParts,
  addStat,
  emptyParts,
  emptyStat,
  OTHERS,
  type Part,
  type Stat,
  statOf,
} from './stat'
import type { Totals, UsageStore } from './store'

export const MINUTE_MS = 60_000
export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS
/** Minutes are kept this long (limits.md). */
export const MINUTES_KEPT_MS = 7 * DAY_MS
/** Whole days of hours are made into days, so hours are kept a day longer. */
const HOURS_KEPT_MS = MINUTES_KEPT_MS + DAY_MS
/** Failed and slow requests: of the last day, and at most so many (limits.md). */
export const SAMPLES_KEPT_MS = DAY_MS
export const MOST_SAMPLES = 1_000
/** A report that an isolate sends again is younger. */
const REPORTS_KEPT_MS = DAY_MS
/** Isolates' clocks agree with the Meter's to much less. */
const AHEAD_MS = MINUTE_MS
/** `last_used_at` of a key in steady use is that old at most. */
export const KEY_USE_MS = 5 * MINUTE_MS

type TimeGroup = 'minute' | 'hour' | 'day'
export type GroupBy = TimeGroup | Part

export const isTime = (by: GroupBy): by is TimeGroup => by === 'minute' || by === 'hour' || by === 'day'

/** One group of requests: a time in milliseconds since 1970, or a name. */
export type UsageGroup = { group: number | string; stat: Stat }

export const floorTo = (ms: number, at: number): number => Math.floor(at / ms) * ms
export const ceilTo = (ms: number, at: number): number => Math.ceil(at / ms) * ms

/** What a tenant used, as its Meter keeps it: minutes, hours made of them, and what is to go on to D1. */
export class UsageBook {
  constructor(private readonly store: UsageStore) {}

  /** Adds what an isolate measured, once; whether it was new. */
  apply(isolate: string, report: UsageReport, now: number): boolean {
    if (report.sequence <= this.store.lastReport(isolate)) return false
    this.store.atomically(() => {
      this.store.markReport(isolate, report.sequence, now)
      const byMinute = Map.groupBy(report.lines, ({ minute }) => kept(minute * MINUTE_MS, now))
      for (const [at, lines] of byMinute) this.addMinute(at, lines)
      for (const sample of report.samples) this.store.addSample(sample, MOST_SAMPLES)
      this.noteKeys(report.lines, now)
    })
    return true
  }

  /** Groups of the requests from `from` on and before `to`, to the minute; times in order. */
  groups(by: GroupBy, from: number, to: number): UsageGroup[] {
    switch (by) {
      case 'minute':
      case 'hour':
        return [...this.store.totalsBetween(by, from, to)].map(({ at, total }) => ({
          group: at,
          stat: total,
        }))
      case 'day':
        return this.days(from, to)
      default:
        return Object.entries(this.part(by, from, to)).map(([group, stat]) => ({ group, stat }))
    }
  }

  /** What the requests from `from` on and before `to` came to together, to the minute. */
  total(from: number, to: number): Stat {
    const sum = emptyStat()
    for (const [grain, start, end] of grains(from, to))
      for (const { total } of this.store.totalsBetween(grain, start, end)) addStat(sum, total)
    return sum
  }

  /** Failed and slow requests of the last day, newest first, before the one of that id. */
  samples(now: number, before: number | null, limit: number): (Sample & { id: number })[] {
    return this.store.samples(now - SAMPLES_KEPT_MS, before, limit)
  }

  /** What whole hours came to together. */
  whole(from: number, to: number): Totals {
    const total = emptyStat()
    const parts = emptyParts()
    for (let at = from; at < to; at += HOUR_MS) {
      const hour = this.store.totals('hour', at)
      if (!hour) continue
      addStat(total, hour.total)
      addParts(parts, hour.parts)
    }
    return { total, parts }
  }

  /** Drops what was kept for as long as was promised. */
  drop(now: number): void {
    // A day is made of all its hours, so they go together.
    const [behind] = this.store.unarchived(now)
    const needed = floorTo(DAY_MS, Math.min(now - HOURS_KEPT_MS, behind?.at ?? now))
    this.store.drop({
      minute: floorTo(HOUR_MS, now - MINUTES_KEPT_MS),
      hour: needed,
      sample: now - SAMPLES_KEPT_MS,
      report: now - REPORTS_KEPT_MS,
    })
  }

  private addMinute(at: number, lines: UsageLine[]): void {
    const hourAt = floorTo(HOUR_MS, at)
    const minute = this.store.totals('minute', at) ?? { total: emptyStat(), parts: emptyParts() }
    const hour = this.store.totals('hour', hourAt) ?? { total: emptyStat(), parts: emptyParts() }
    for (const line of lines) {
      const stat = statOfLine(line)
      for (const totals of [minute, hour]) {
        addStat(totals.total, stat)
        addLine(totals.parts, line, stat)
      }
    }
    this.store.saveMinute(at, minute)
    this.store.saveHour(hourAt, hour)
  }

  private noteKeys(lines: UsageLine[], now: number): void {
    const used = new Map<string, number>()
    // Bytes of a stream that goes on are no use of its key.
    for (const { caller, last_at, requests } of lines)
      if (isKey(caller) && requests > 0) used.set(caller, Math.max(last_at, used.get(caller) ?? 0))
    for (const [id, at] of used) this.store.noteKey(id, Math.min(at, now), now - KEY_USE_MS)
  }

  private days(from: number, to: number): UsageGroup[] {
    const days = new Map<number, Stat>()
    for (const { at, total } of this.store.totalsBetween('hour', from, to)) {
      const day = floorTo(DAY_MS, at)
      const stat = days.get(day) ?? emptyStat()
      addStat(stat, total)
      days.set(day, stat)
    }
    return [...days].map(([group, stat]) => ({ group, stat }))
  }

  /** Whole hours as such, what lies before and behind them by minutes. */
  private part(part: Part, from: number, to: number): Record<string, Stat> {
    const found: Record<string, Stat> = {}
    for (const [grain, start, end] of grains(from, to))
      for (const stats of this.store.partsBetween(grain, start, end, part))
        for (const [name, stat] of Object.entries(stats)) addStat(statOf(found, name), stat)
    return found
  }
}

/** A time as whole hours, and what lies before and behind them as minutes. */
function grains(from: number, to: number): ['minute' | 'hour', from: number, to: number][] {
  const [first, last] = [ceilTo(HOUR_MS, from), floorTo(HOUR_MS, to)]
  if (first >= last) return [['minute', from, to]]
  return [
    ['minute', from, first],
    ['hour', first, last],
    ['minute', last, to],
  ]
}

/** Where a minute is counted: isolates' clocks may be wrong, and what is older than what is kept would be lost. */
const kept = (at: number, now: number): number =>
  Math.max(
    floorTo(HOUR_MS, now - MINUTES_KEPT_MS) + HOUR_MS,
    Math.min(at, floorTo(MINUTE_MS, now + AHEAD_MS)),
  )

const isKey = (caller: string): boolean => caller !== USERS && caller !== PUBLIC && caller !== OTHERS

const statOfLine = (line: UsageLine): Stat => ({
  requests: line.requests,
  errors: line.status >= 400 ? line.requests : 0,
  request_size_bytes: line.request_size_bytes,
  response_size_bytes: line.response_size_bytes,
  latency: line.latency,
  ...(line.answers ? { answers: line.answers } : {}),
})
