import type { Lent } from './lease'
import type { Change } from './ledger'
import type { MeterStore, SavedMeter, SavedWindow } from './store'
import type { Period } from './window'

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS windows (name TEXT PRIMARY KEY, period TEXT NOT NULL, reserve INTEGER NOT NULL, buckets TEXT NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS changes (kind TEXT, id TEXT, revision INTEGER NOT NULL, seq INTEGER NOT NULL, until INTEGER, data TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`

/** The rows that hold what is lent, one after the other. */
const LENDING = "key >= 'lending' AND key < 'lending/'"
const partOf = (i: number): string => (i === 0 ? 'lending' : `lending.${String(i).padStart(6, '0')}`)

type WindowRow = { name: string; period: Period; reserve: number; buckets: string }
type ChangeRow = {
  kind: string
  id: string
  revision: number
  seq: number
  until: number | null
  data: string
}
type Lending = Pick<SavedMeter, 'leases' | 'clock'>

/**
 * Letters of one row, each of three bytes at worst: a row ends at 2 MB (developers.cloudflare.com/durable-objects/
 * platform/limits), and the leases of a tenant with thousands of keys that have limits of their own are more.
 */
const MOST_LETTERS = 600_000

/** A Meter's memory in its object's own SQLite. Rows are few and whole, for each row written is paid for. */
export class SqliteStore implements MeterStore {
  private readonly sql: SqlStorage

  constructor(private readonly storage: DurableObjectStorage) {
    this.sql = storage.sql
    this.sql.exec(SCHEMA)
  }

  read(): SavedMeter {
    const rows = this.sql.exec<WindowRow>('SELECT name, period, reserve, buckets FROM windows').toArray()
    const lending = this.getLending()
    return {
      windows: rows.map((row): SavedWindow => ({ ...row, buckets: JSON.parse(row.buckets) })),
      leases: lending?.leases ?? ([] as [string, Lent][]),
      clock: lending?.clock ?? { ahead: 0, last: 0 },
    }
  }

  write({ windows, leases, clock }: SavedMeter, gone: string[]): void {
    this.storage.transactionSync(() => {
      for (const { name, period, reserve, buckets } of windows)
        this.sql.exec(
          'INSERT OR REPLACE INTO windows (name, period, reserve, buckets) VALUES (?, ?, ?, ?)',
          ...[name, period, reserve, JSON.stringify(buckets)],
        )
      for (const name of gone) this.sql.exec('DELETE FROM windows WHERE name = ?', name)
      this.setLending({ leases, clock })
    })
  }

  /** The last revision that was given; null before the first time. */
  readChanges(): { changes: Change[]; revision: number | null } {
    const rows = this.sql
      .exec<ChangeRow>('SELECT kind, id, revision, seq, until, data FROM changes ORDER BY revision')
      .toArray()
    const changes = rows.map((row): Change => ({ ...row, data: JSON.parse(row.data) }))
    return { changes, revision: this.get<number>('revision') }
  }

  writeChanges(added: Change[], gone: Change[], revision: number): void {
    this.storage.transactionSync(() => {
      for (const { kind, id } of gone)
        this.sql.exec('DELETE FROM changes WHERE kind = ? AND id = ?', kind, id)
      for (const { kind, id, revision, seq, until, data } of added)
        this.sql.exec(
          'INSERT OR REPLACE INTO changes (kind, id, revision, seq, until, data) VALUES (?, ?, ?, ?, ?, ?)',
          ...[kind, id, revision, seq, until, JSON.stringify(data)],
        )
      // Kept apart, for the change that bore it may be pruned, and a revision is never given twice.
      this.set('revision', revision)
    })
  }

  private getLending(): Lending | null {
    const parts = this.sql
      .exec<{ value: string }>(`SELECT value FROM state WHERE ${LENDING} ORDER BY key`)
      .toArray()
    return parts.length === 0 ? null : JSON.parse(parts.map(({ value }) => value).join(''))
  }

  private setLending(lending: Lending): void {
    const text = JSON.stringify(lending)
    const parts = Math.ceil(text.length / MOST_LETTERS)
    for (let i = 0; i < parts; i++)
      this.sql.exec(
        'INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)',
        ...[partOf(i), text.slice(i * MOST_LETTERS, (i + 1) * MOST_LETTERS)],
      )
    this.sql.exec(`DELETE FROM state WHERE ${LENDING} AND key >= ?`, partOf(parts))
  }

  private get<T>(key: string): T | null {
    const [row] = this.sql.exec<{ value: string }>('SELECT value FROM state WHERE key = ?', key).toArray()
    return row ? JSON.parse(row.value) : null
  }

  private set(key: string, value: unknown): void {
    this.sql.exec('INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)', key, JSON.stringify(value))
  }
}
