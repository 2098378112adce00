import { fitting } from './fitting'
import type { Sample } from './line'
import type { Part, Parts, Stat } from './stat'

/** What a minute or an hour came to. */
export type Totals = { total: Stat; parts: Parts }

export type Grain = 'minute' | 'hour'

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS usage_minutes (at INTEGER PRIMARY KEY, total TEXT NOT NULL, parts TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS usage_hours (at INTEGER PRIMARY KEY, total TEXT NOT NULL, parts TEXT NOT NULL, revision INTEGER NOT NULL, archived INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS usage_reports (isolate TEXT PRIMARY KEY, sequence INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS usage_samples (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, sample TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS usage_tenant (id TEXT PRIMARY KEY) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS usage_keys (id TEXT PRIMARY KEY, used_at INTEGER NOT NULL, told INTEGER NOT NULL) WITHOUT ROWID;
`

type TotalsRow = { total: string; parts: string }

/** A Meter's usage in its object's own SQLite. A time is one row whole, for each row written is paid for. */
export class UsageStore {
  private readonly sql: SqlStorage

  constructor(private readonly storage: DurableObjectStorage) {
    this.sql = storage.sql
    this.sql.exec(SCHEMA)
  }

  /** All that `write` writes, or nothing. */
  atomically(write: () => void): void {
    this.storage.transactionSync(write)
  }

  /** Whose Meter this is: an alarm is not told the object's name. Null before the first report. */
  tenant(): string | null {
    const [row] = this.sql.exec<{ id: string }>('SELECT id FROM usage_tenant').toArray()
    return row?.id ?? null
  }

  keepTenant(id: string): void {
    this.sql.exec('INSERT OR IGNORE INTO usage_tenant VALUES (?)', id)
  }

  /** The last report of an isolate that was applied; 0 where none was. */
  lastReport(isolate: string): number {
    return this.number('SELECT sequence AS n FROM usage_reports WHERE isolate = ?', isolate) ?? 0
  }

  markReport(isolate: string, sequence: number, now: number): void {
    this.sql.exec('INSERT OR REPLACE INTO usage_reports VALUES (?, ?, ?)', isolate, sequence, now)
  }

  totals(grain: Grain, at: number): Totals | null {
    const [row] = this.sql
      .exec<TotalsRow>(`SELECT total, parts FROM ${TABLES[grain]} WHERE at = ?`, at)
      .toArray()
    return row ? { total: JSON.parse(row.total), parts: JSON.parse(row.parts) } : null
  }

  saveMinute(at: number, { total, parts }: Totals): void {
    const values = [at, JSON.stringify(total), fitting(parts)]
    this.sql.exec('INSERT OR REPLACE INTO usage_minutes VALUES (?, ?, ?)', ...values)
  }

  saveHour(at: number, { total, parts }: Totals): void {
    this.sql.exec(
      `INSERT INTO usage_hours VALUES (?, ?, ?, 1, 0)
       ON CONFLICT (at) DO UPDATE SET total = excluded.total, parts = excluded.parts, revision = revision + 1`,
      ...[at, JSON.stringify(total), fitting(parts)],
    )
  }

  /** The totals of times from `from` on and before `to`, in order. */
  *totalsBetween(grain: Grain, from: number, to: number): Generator<{ at: number; total: Stat }> {
    const rows = this.sql.exec<{ at: number; total: string }>(
      `SELECT at, total FROM ${TABLES[grain]} WHERE at >= ? AND at < ? ORDER BY at`,
      ...[from, to],
    )
    for (const { at, total } of rows) yield { at, total: JSON.parse(total) }
  }

  /** One part of those times. */
  *partsBetween(grain: Grain, from: number, to: number, part: Part): Generator<Record<string, Stat>> {
    const rows = this.sql.exec<{ stats: string }>(
      `SELECT json_extract(parts, ?) AS stats FROM ${TABLES[grain]} WHERE at >= ? AND at < ?`,
      ...[`$.${part}`, from, to],
    )
    for (const { stats } of rows) yield JSON.parse(stats)
  }

  /** Hours before `before` of which the archive lacks something, with the revision that they are at; in order. */
  unarchived(before: number): { at: number; revision: number }[] {
    return this.sql
      .exec<{ at: number; revision: number }>(
        'SELECT at, revision FROM usage_hours WHERE archived < revision AND at < ? ORDER BY at',
        before,
      )
      .toArray()
  }

  markArchived(hours: { at: number; revision: number }[]): void {
    for (const { at, revision } of hours)
      this.sql.exec('UPDATE usage_hours SET archived = ? WHERE at = ?', revision, at)
  }

  addSample(sample: Sample, most: number): void {
    const text = JSON.stringify(sample)
    this.sql.exec('INSERT INTO usage_samples (at, sample) VALUES (?, ?)', sample.at, text)
    this.sql.exec('DELETE FROM usage_samples WHERE id <= (SELECT max(id) FROM usage_samples) - ?', most)
  }

  /** Samples made since, newest first, before the one of that id. */
  samples(since: number, before: number | null, limit: number): (Sample & { id: number })[] {
    return this.sql
      .exec<{ id: number; sample: string }>(
        'SELECT id, sample FROM usage_samples WHERE at >= ? AND id < ? ORDER BY id DESC LIMIT ?',
        ...[since, before ?? Number.MAX_SAFE_INTEGER, limit],
      )
      .toArray()
      .map(({ id, sample }) => ({ ...(JSON.parse(sample) as Sample), id }))
  }

  /** Notes that a key was used, unless it was noted later than `since`; whether it was noted now. */
  noteKey(id: string, usedAt: number, since: number): boolean {
    const { rowsWritten } = this.sql.exec(
      `INSERT INTO usage_keys VALUES (?, ?, 0)
       ON CONFLICT (id) DO UPDATE SET used_at = excluded.used_at, told = 0 WHERE used_at <= ?`,
      ...[id, usedAt, since],
    )
    return rowsWritten > 0
  }

  /** Keys whose use nobody else was told of. */
  untoldKeys(): { id: string; used_at: number }[] {
    return this.sql
      .exec<{ id: string; used_at: number }>('SELECT id, used_at FROM usage_keys WHERE told = 0')
      .toArray()
  }

  markTold(keys: { id: string; used_at: number }[]): void {
    for (const { id, used_at } of keys)
      this.sql.exec('UPDATE usage_keys SET told = 1 WHERE id = ? AND used_at = ?', id, used_at)
  }

  /** Drops what was kept long enough. */
  drop(before: { minute: number; hour: number; sample: number; report: number }): void {
    this.sql.exec('DELETE FROM usage_minutes WHERE at < ?', before.minute)
    this.sql.exec('DELETE FROM usage_hours WHERE at < ?', before.hour)
    this.sql.exec('DELETE FROM usage_samples WHERE at < ?', before.sample)
    this.sql.exec('DELETE FROM usage_reports WHERE at < ?', before.report)
    this.sql.exec('DELETE FROM usage_keys WHERE used_at < ? AND told = 1', before.hour)
  }

  /** The earliest hour that is kept; null where there is none. */
  firstHour(): number | null {
    return this.number('SELECT min(at) AS n FROM usage_hours')
  }

  private number(query: string, ...params: (string | number)[]): number | null {
    const [row] = this.sql.exec<{ n: number | null }>(query, ...params).toArray()
    return row?.n ?? null
  }
}

const TABLES = { minute: 'usage_minutes', hour: 'usage_hours' } as const
