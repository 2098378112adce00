// What a chat keeps in its object's own SQLite. The tables are made with the first message, title or the like: an
// object that was only asked for by a guessed id has stored nothing.

/** What brings the tables to each version in turn: only ever added to, since chats of every version lie asleep. */
const VERSIONS: readonly (readonly string[])[] = [
  [
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
  ],
  [
    // Messages are a tree. What a run was ordered by tells a repeat of its client_message_id from another order.
    'create index messages_by_parent on messages (parent_id)',
    `alter table runs add column kind text not null default 'send'`,
    'alter table runs add column target text',
    `create table feedback (
     message_id text not null, by text not null, user_id text, rating text not null, comment text,
     timestamp text not null, primary key (message_id, by)) without rowid`,
  ],
  [
    // Messages in the order in which they were there whole: what a user has read is counted by them.
    'create table arrivals (n integer primary key, seq integer not null)',
    'create unique index arrivals_by_seq on arrivals (seq)',
    `insert into arrivals (seq) select seq from (select first_seq - 1 as seq from runs
     union select last_seq from runs where last_seq is not null) where seq > 0 order by seq`,
    `create table reads (
     user_id text primary key, seq integer not null, read_count integer not null, at integer not null,
     told integer not null default 0) without rowid`,
    'create index reads_untold on reads (told) where told = 0',
    // Whom to tell of an answer by Web Push.
    `create table notices (
     id integer primary key autoincrement, user_id text not null, message_id text not null, finish text not null,
     at integer not null, attempts integer not null default 0)`,
  ],
  [
    // A run whose agent answers by callback: the number of its next event, and when the last one came.
    `create table callbacks (
     run_id text primary key, next integer not null, heard_at integer not null, bytes integer not null,
     first_at integer, ended integer not null default 0) without rowid`,
  ],
  [
    // What an answer cost is metered: whom it is counted under, and whether the tenant's Meter was told.
    'alter table runs add column billed_to text',
    'alter table runs add column metered integer not null default 1',
    'create index runs_unmetered on runs (last_seq) where metered = 0',
  ],
  [
    // What was hidden in chats of before is not known: none of it is told again to who has a public link.
    `insert into meta select 'hidden_before', last + 1 from log order by last desc limit 1`,
  ],
]

export class Store {
  readonly sql: SqlStorage
  private made: boolean

  constructor(private readonly storage: DurableObjectStorage) {
    this.sql = storage.sql
    this.made = this.rows(`select 1 from sqlite_master where type = 'table' and name = 'epochs'`).length > 0
    if (this.made) this.upgrade(Number(this.get('version')))
  }

  /** Whether anything was ever written here. */
  get exists(): boolean {
    return this.made
  }

  /** Makes the tables where there are none yet. */
  create(): void {
    if (this.made) return
    this.storage.transactionSync(() => {
      this.upgrade(0)
      this.sql.exec('insert into epochs values (1, 1)')
    })
    this.made = true
  }

  /** Brings tables of an older version to the newest. */
  private upgrade(version: number): void {
    if (version === VERSIONS.length) return
    this.storage.transactionSync(() => {
      for (const statement of VERSIONS.slice(version).flat()) this.sql.exec(statement)
      this.set('version', String(VERSIONS.length))
    })
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
