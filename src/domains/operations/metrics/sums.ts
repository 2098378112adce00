import type { GaugeReport } from '../../../data/gauges'
import type { MetricsReport } from '../../../data/metrics'
import { type Counted, sumOf } from '../../../lib/tally'

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS isolates (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, seen INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS gauges (metric TEXT, source TEXT, value REAL NOT NULL, seen INTEGER NOT NULL, PRIMARY KEY (metric, source)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`

/** An isolate gives a report up after a day; by then it may be forgotten, for it tells nothing twice any more. */
const FORGET_MS = 48 * 3600_000
const SWEEP_MS = 3600_000
/** A source says at least every hour how it stands; after so long it is gone. */
const GAUGE_MS = 24 * 3600_000
/** A guard against labels that nobody bounded, not a limit that anyone should meet; the row that holds all ends at 2 MB. */
const MOST_SERIES = 5_000

/** What all isolates of one shard counted since the beginning, in its object's own SQLite: two rows written a report. */
export class Sums {
  private totals: Counted
  private sweptAt = 0

  constructor(
    private readonly storage: DurableObjectStorage,
    private readonly most = MOST_SERIES,
  ) {
    storage.sql.exec(SCHEMA)
    const [row] = storage.sql
      .exec<{ value: string }>("SELECT value FROM state WHERE key = 'totals'")
      .toArray()
    this.totals = row ? JSON.parse(row.value) : { counters: {}, histograms: {} }
  }

  read(): Counted {
    return this.totals
  }

  /** Adds a report, on disk when this returns; one that was added already changes nothing. */
  add(report: MetricsReport, now: number): void {
    const { sql } = this.storage
    const [known] = sql
      .exec<{ sequence: number }>('SELECT sequence FROM isolates WHERE id = ?', report.isolate)
      .toArray()
    if (known && report.sequence <= known.sequence) return
    const totals = this.with(report)
    this.storage.transactionSync(() => {
      sql.exec(
        'INSERT OR REPLACE INTO isolates (id, sequence, seen) VALUES (?, ?, ?)',
        ...[report.isolate, report.sequence, now],
      )
      sql.exec("INSERT OR REPLACE INTO state (key, value) VALUES ('totals', ?)", JSON.stringify(totals))
      this.sweep(now)
    })
    // Not before it is written: a report that could not be is sent again.
    this.totals = totals
  }

  /** The totals and a report together. */
  private with(report: MetricsReport): Counted {
    const counters = { ...this.totals.counters }
    const histograms = { ...this.totals.histograms }
    let room = this.most - Object.keys(counters).length - Object.keys(histograms).length
    for (const [name, value] of Object.entries(report.counters)) {
      const before = counters[name]
      if (before !== undefined || room-- > 0) counters[name] = (before ?? 0) + value
    }
    for (const [name, value] of Object.entries(report.histograms)) {
      const before = histograms[name]
      if (before || room-- > 0) histograms[name] = before ? sumOf(before, value) : value
    }
    return { counters, histograms }
  }

  /** Keeps how a gauge stands at one source, in place of what it said before. */
  hold({ metric, source, value }: GaugeReport, now: number): void {
    const { sql } = this.storage
    if (value === 0) sql.exec('DELETE FROM gauges WHERE metric = ? AND source = ?', metric, source)
    else
      sql.exec(
        'INSERT OR REPLACE INTO gauges (metric, source, value, seen) VALUES (?, ?, ?, ?)',
        ...[metric, source, value, now],
      )
  }

  /** Each gauge over all its sources. */
  gauges(now: number): Record<string, number> {
    const rows = this.storage.sql
      .exec<{ metric: string; total: number }>(
        'SELECT metric, sum(value) AS total FROM gauges WHERE seen > ? GROUP BY metric',
        now - GAUGE_MS,
      )
      .toArray()
    return Object.fromEntries(rows.map(({ metric, total }) => [metric, total]))
  }

  private sweep(now: number): void {
    if (Math.abs(now - this.sweptAt) < SWEEP_MS) return
    this.sweptAt = now
    this.storage.sql.exec('DELETE FROM isolates WHERE seen < ?', now - FORGET_MS)
    this.storage.sql.exec('DELETE FROM gauges WHERE seen < ?', now - FORGET_MS)
  }
}
