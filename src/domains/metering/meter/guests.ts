// Who acts in a tenant of others listens at objects of that tenant, whose Meter hears nothing of what becomes of him at
// home. So the Meter at home keeps who has let him in, and has them look at his rights when anything changes there.

/** So many are kept; beyond, a connection ends with what would come to it next. */
const MOST = 1_000

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS hosts (holder TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, noted_at INTEGER NOT NULL) WITHOUT ROWID;
`

/** An object of another tenant at which somebody from here listens. */
export type Host = { holder: string; tenant_id: string }

/** Those objects, in the SQLite of the Meter of the tenant that their guests are from. */
export class Hosts {
  constructor(private readonly sql: SqlStorage) {
    sql.exec(SCHEMA)
  }

  /** A holder has let somebody from here in. */
  note({ holder, tenant_id }: Host, now: number): void {
    this.sql.exec(
      'INSERT OR REPLACE INTO hosts (holder, tenant_id, noted_at) VALUES (?, ?, ?)',
      holder,
      tenant_id,
      now,
    )
    this.sql.exec(
      'DELETE FROM hosts WHERE holder IN (SELECT holder FROM hosts ORDER BY noted_at DESC LIMIT -1 OFFSET ?)',
      MOST,
    )
  }

  /** All of them. */
  all(): Host[] {
    return this.sql.exec<Host>('SELECT holder, tenant_id FROM hosts').toArray()
  }

  /** A holder has nobody any more, unless somebody came since `asked`. */
  forget(holder: string, asked: number): void {
    this.sql.exec('DELETE FROM hosts WHERE holder = ? AND noted_at < ?', holder, asked)
  }
}
