import { type DrizzleD1Database, drizzle } from 'drizzle-orm/d1'
import type { Bindings } from '../env'
import type { RequestContext } from './context'
import { confine } from './guard'

export type Database = DrizzleD1Database

/**
 * The database as one tenant sees it: a statement that touches a table must bind this tenant's id, or it throws
 * before D1 hears of it. Tables without a tenant (the directory) are out of reach.
 */
export function tenantDatabase(env: Bindings, tenantId: string): Database {
  let databases = confined.get(env)
  if (!databases) {
    databases = new Map()
    confined.set(env, databases)
  }
  let database = databases.get(tenantId)
  if (!database) {
    database = databaseThrough(env.DB, tenantId)
    if (databases.size >= MOST_DATABASES) databases.clear()
    databases.set(tenantId, database)
  }
  return database
}

/** The same for a request: in its session, so that its bookmark counts. */
export function databaseOf({ session, env }: Pick<RequestContext, 'session' | 'env'>, tenantId: string) {
  return session ? session.database(tenantId) : tenantDatabase(env, tenantId)
}

/** What statements go through: the database itself, at its primary, or a session of it. */
export type Door = Pick<D1DatabaseSession, 'prepare' | 'batch'>

/** The same through a door of one's own. */
export function databaseThrough(door: Door, tenantId: string): Database {
  return drizzle(new ConfinedD1(door, tenantId) as unknown as D1Database)
}

/** Drizzle's object for a tenant holds no state, and takes as long to make as a request to check. */
const confined = new WeakMap<Bindings, Map<string, Database>>()
const MOST_DATABASES = 1_000

/**
 * The whole database, for the directory (tenants, signing keys), for a login that does not know its tenant yet, and
 * for sweeps over all tenants. `architecture.test.ts` lists the few files that may import it.
 */
export function directory(env: Bindings): Database {
  return drizzle(env.DB)
}

/** What Drizzle needs of a D1 binding, each statement confined as its parameters are bound. */
class ConfinedD1 {
  // Private at run time too: nothing that holds a context can get behind it.
  readonly #d1: Door
  readonly #tenantId: string

  constructor(d1: Door, tenantId: string) {
    this.#d1 = d1
    this.#tenantId = tenantId
  }

  prepare(sql: string) {
    const statement = this.#d1.prepare(sql)
    const bind = (...params: unknown[]) => {
      confine(sql, params, this.#tenantId)
      return statement.bind(...params)
    }
    // A statement has no methods but `bind`: what was not checked can't run.
    return { bind }
  }

  batch<T>(statements: D1PreparedStatement[]): Promise<D1Result<T>[]> {
    return this.#d1.batch<T>(statements)
  }
}
