import { createHmac } from 'node:crypto'
import type { Bindings, Settings } from '../env'
import { primaryTables } from './columns'
import { type Database, type Door, databaseThrough } from './database'
import { batchWithOthers } from './group-commit'

// D1's Sessions API (developers.cloudflare.com/d1/best-practices/read-replication): a bookmark says how far a client has
// seen the database come. Who sends one along with a read may be answered by a replica that has come as far; everything
// else is asked of the primary, since 201 and then 404 is no answer, and who may do what is not told by a copy.

/** A bookmark as D1 prints it, and the mark of the tenant that it was given to. */
const GIVEN = /^([0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{32})\.([\w-]{12})$/

/** What one request says to D1. Nothing is opened before its first statement. */
export class RequestSession {
  readonly #env: Bindings
  readonly #settings: Settings
  readonly #sent: string | null
  #database: Database | null = null
  #tenantId = ''
  #atPrimary: D1DatabaseSession | null = null
  #anywhere: D1DatabaseSession | null = null
  #reached = ''

  /** `sent` is the bookmark that came with a request that only reads; null for any other. */
  constructor(env: Bindings, settings: Settings, sent: string | null) {
    this.#env = env
    this.#settings = settings
    this.#sent = sent
  }

  /** The database as a tenant sees it, in this session. */
  database(tenantId: string): Database {
    if (!this.#database || this.#tenantId !== tenantId) {
      this.#database = databaseThrough(this.#doorOf(tenantId), tenantId)
      this.#tenantId = tenantId
    }
    return this.#database
  }

  /** The same, whose batches are written with those of other requests (group-commit.ts). */
  databaseWithOthers(tenantId: string, defer: (work: Promise<unknown>) => void): Database {
    const batch: Door['batch'] = async <T>(statements: D1PreparedStatement[]) => {
      const open = () => this.#env.DB.withSession('first-primary')
      const { results, bookmark } = await batchWithOthers(this.#env, open, statements, defer)
      if (bookmark !== null && bookmark > this.#reached) this.#reached = bookmark
      return results as D1Result<T>[]
    }
    return databaseThrough({ prepare: (sql) => this.#primary().prepare(sql), batch }, tenantId)
  }

  /** How far the database had come at the last statement, for the tenant to send along; null where there was none. */
  get bookmark(): string | null {
    if (!this.#atPrimary && !this.#anywhere) return null
    const reached = [this.#reached, this.#atPrimary?.getBookmark(), this.#anywhere?.getBookmark()]
    // They sort as they came to be.
    const last = reached
      .map((one) => one ?? '')
      .sort()
      .at(-1)
    return last ? `${last}.${markOf(this.#env, this.#settings, this.#tenantId)}` : null
  }

  #doorOf(tenantId: string): Door {
    const bookmark = this.#sent === null ? null : this.#bookmarkOf(tenantId, this.#sent)
    if (bookmark === null)
      return {
        prepare: (sql) => this.#primary().prepare(sql),
        batch: (statements) => this.#primary().batch(statements),
      }
    this.#anywhere = null
    return {
      prepare: (sql) => (isForPrimary(sql) ? this.#primary() : this.#replica(bookmark)).prepare(sql),
      batch: (statements) => this.#primary().batch(statements),
    }
  }

  /** The bookmark that was sent, where this deployment gave it to this tenant. */
  #bookmarkOf(tenantId: string, sent: string): string | null {
    const [, bookmark = null, mark] = GIVEN.exec(sent) ?? []
    return mark === markOf(this.#env, this.#settings, tenantId) ? bookmark : null
  }

  /** The first statement of a session goes to the primary, and those after it may not: so each call has its own. */
  #primary(): D1DatabaseSession {
    const reached = this.#atPrimary?.getBookmark() ?? null
    if (this.#atPrimary && reached === null) return this.#atPrimary
    if (reached !== null && reached > this.#reached) this.#reached = reached
    this.#atPrimary = this.#env.DB.withSession('first-primary')
    return this.#atPrimary
  }

  #replica(bookmark: string): D1DatabaseSession {
    this.#anywhere ??= this.#env.DB.withSession(bookmark)
    return this.#anywhere
  }
}

let naming: { size: number; pattern: RegExp } | null = null

/** Whether a statement names a table that is read at the primary alone. */
function isForPrimary(sql: string): boolean {
  if (naming?.size !== primaryTables.size)
    naming = {
      size: primaryTables.size,
      pattern: new RegExp(`\\b(?:${[...primaryTables].join('|')})\\b`, 'i'),
    }
  return naming.pattern.test(sql)
}

/** The marks of tenants, which take an HMAC each; by the bindings, for tests have several deployments. */
const marks = new WeakMap<Bindings, Map<string, string>>()
const MOST_MARKS = 1_000

/** By what a tenant's bookmarks are known to be of this database, and its own. */
function markOf(env: Bindings, { MASTER_KEY }: Settings, tenantId: string): string {
  const known = marks.get(env) ?? new Map<string, string>()
  marks.set(env, known)
  let mark = known.get(tenantId)
  if (mark === undefined) {
    const whose = `d1-bookmark\nDB\n${tenantId}`
    mark = createHmac('sha256', MASTER_KEY).update(whose).digest('base64url').slice(0, 12)
    if (known.size >= MOST_MARKS) known.clear()
    known.set(tenantId, mark)
  }
  return mark
}
