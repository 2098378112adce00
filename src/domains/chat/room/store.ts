// What a chat keeps in its object's own SQLite. The tables are made with the first message, title or the like: an
// object that was only asked for by a guessed id has stored nothing.

const SCHEMA = [
  'create table meta (key text primary key, value text not null) without rowid',
  // The log. A row holds the consecutive entries `first` to `last` of one type: `data` is a JSON array, one element
  // an entry (of a `message` only its text). A compacted row has fewer elements than numbers.
  `create table log (
     last integer primary key, first integer not null, type text not null, data text not null, at integer not null)`,
  'create table epochs (epoch integer primary key, first_seq integer not null)',
  `create table messages (
     id text primary key, parent_id text, role text not null, status text not null, run_id text,
     attachments text not null, metadata text not null, timestamp text not null) without rowid`,
  // Apart and in parts: a row of the object's storage ends at 2 MB, an answer at 4 MiB.
  `create table contents (
     message_id text not null, part integer not null, text text not null, primary key (message_id, part)) without rowid`,
  `create table runs (
     id text primary key, message_id text not null, answer_id text not null, sent_by text not null,
     client_message_id text, status text not null, finish text, error text, usage text,
     first_seq integer not null, last_seq integer, started_at integer not null, ended_at integer,
     compacted integer not null default 0) without rowid`,
  `create unique index runs_by_client on runs (sent_by, client_message_id) where client_message_id is not null`,
  'create index runs_by_state on runs (status, compacted, ended_at)',
  'create table outbox (seq integer primary key autoincrement, event text)',
  'create table alarms (name text primary key, due integer not null) without rowid',
]

/** The tables' version; a later one migrates when it opens an older. */
const VERSION = '1'

export class Store {
  readonly sql: SqlStorage
  private made: boolean

  constructor(private readonly storage: DurableObjectStorage) {
    this.sql = storage.sql
    this.made = this.rows(`select 1 from sqlite_master where type = 'table' and name = 'epochs'`).length > 0
  }

  /** Whether anything was ever written here. */
  get exists(): boolean {
    return this.made
  }

  /** Makes the tables where there are none yet. */
  create(): void {
    if (this.made) return
    this.storage.transactionSync(() => {
      for (const statement of SCHEMA) this.sql.exec(statement)
      this.sql.exec('insert into epochs values (1, 1)')
      this.set('version', VERSION)
    })
    this.made = true
  }

  /** Runs `work` whole or not at all. */
  atomically<T>(work: () => T): T {
    return this.storage.transactionSync(work)
  }

  /** Deletes everything, the alarm among it. */
  async erase(): Promise<void> {
    await this.storage.deleteAlarm()
    await this.storage.deleteAll()
    this.made = false
  }

  rows<T extends Record<string, SqlStorageValue>>(query: string, ...params: SqlStorageValue[]): T[] {
    return this.sql.exec<T>(query, ...params).toArray()
  }

  row<T extends Record<string, SqlStorageValue>>(query: string, ...params: SqlStorageValue[]): T | undefined {
    return this.rows<T>(query, ...params)[0]
  }

  run(query: string, ...params: SqlStorageValue[]): void {
    this.sql.exec(query, ...params)
  }

  get(key: string): string | null {
    return this.row<{ value: string }>('select value from meta where key = ?', key)?.value ?? null
  }

  set(key: string, value: string): void {
    this.run(
      'insert into meta values (?, ?) on conflict (key) do update set value = excluded.value',
      key,
      value,
    )
  }
}
