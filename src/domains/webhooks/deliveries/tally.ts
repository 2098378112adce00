import { bucketOf, type Latencies } from '../../metering/usage/latency'
import type { Attempt } from './schema'
import type { Verdict } from './verdict'

/** What the attempts of one hour came to. */
export type Counts = {
  attempts: number
  succeeded: number
  /** Deliveries that ended. */
  delivered: number
  failed: number
  exhausted: number
  /** By status (`200`), or by why there was none (`timeout`). */
  outcomes: Record<string, number>
  /** How long answers took. */
  latency: Latencies
}

export const HOUR_MS = 3_600_000
/** Hours that are kept: a month and a day. */
const KEPT_HOURS = 31 * 24

export const noCounts = (): Counts => ({
  ...{ attempts: 0, succeeded: 0, delivered: 0, failed: 0, exhausted: 0 },
  ...{ outcomes: {}, latency: {} },
})

/** Adds `more` to `counts`. */
export function addCounts(counts: Counts, more: Counts): void {
  for (const name of ['attempts', 'succeeded', 'delivered', 'failed', 'exhausted'] as const)
    counts[name] += more[name]
  for (const [name, n] of Object.entries(more.outcomes))
    counts.outcomes[name] = (counts.outcomes[name] ?? 0) + n
  for (const bucket in more.latency)
    counts.latency[bucket] = (counts.latency[bucket] ?? 0) + (more.latency[bucket] ?? 0)
}

/**
 * What an endpoint's attempts came to, hour by hour, in its object's own SQLite: so many rows, however many attempts there
 * are. An attempt that a crash cut off is not counted; the one that is made in its place is.
 */
export class Tally {
  private current: { hour: number; counts: Counts } | null = null

  constructor(private readonly sql: SqlStorage) {
    sql.exec('create table if not exists hours (hour integer primary key, counts text not null)')
  }

  /** Counts an attempt that ended at `now`. */
  add(attempt: Attempt, { status }: Pick<Verdict, 'status'>, now: number): void {
    const { hour, counts } = this.at(Math.floor(now / HOUR_MS))
    const outcome = outcomeOf(attempt)
    const bucket = bucketOf(attempt.duration_ms)
    addCounts(counts, {
      ...noCounts(),
      attempts: 1,
      succeeded: Number(attempt.error === null),
      ...(status === 'pending' ? {} : { [status]: 1 }),
      outcomes: { [outcome]: 1 },
      latency: attempt.response_status === null ? {} : { [bucket]: 1 },
    })
    this.sql.exec('insert or replace into hours (hour, counts) values (?, ?)', hour, JSON.stringify(counts))
  }

  /** The hours from `first` on, numbered since 1970. */
  since(first: number): { hour: number; counts: Counts }[] {
    const rows = this.sql.exec<{ hour: number; counts: string }>(
      'select hour, counts from hours where hour >= ? order by hour',
      first,
    )
    return rows.toArray().map(({ hour, counts }) => ({ hour, counts: JSON.parse(counts) as Counts }))
  }

  private at(hour: number): { hour: number; counts: Counts } {
    if (this.current?.hour === hour) return this.current
    const [kept] = this.sql
      .exec<{ counts: string }>('select counts from hours where hour = ?', hour)
      .toArray()
    if (!kept) this.sql.exec('delete from hours where hour < ?', hour - KEPT_HOURS)
    this.current = { hour, counts: kept ? (JSON.parse(kept.counts) as Counts) : noCounts() }
    return this.current
  }
}

/** The status that was answered, or the word that says why there was none, or none in time. */
function outcomeOf({ response_status, error }: Attempt): string {
  const word = error?.split(':')[0] ?? 'status'
  const isAnswer = ['status', 'redirect', 'gone'].includes(word)
  return isAnswer && response_status !== null ? String(response_status) : word
}
