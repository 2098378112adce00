import { and, eq, getTableColumns, sql } from 'drizzle-orm'
import type { SQLiteColumn, SQLiteTable } from 'drizzle-orm/sqlite-core'
import { differs } from '../lib/differs'
import { iso } from '../lib/ids'
import { problem } from '../lib/problem'
import { type Change, commit } from './commit'
import type { Context } from './context'

type Versioned = SQLiteTable & {
  tenant_id: SQLiteColumn
  id: SQLiteColumn
  version: SQLiteColumn
}

/** A change decided from the row as it was read: the columns to set and whatever else belongs in the batch. */
export type Revision<Row> = Partial<Omit<Change<unknown>, 'result'>> & { set: Partial<Row> }

/** How often a change without If-Match is decided anew when others write the same row meanwhile. */
const ATTEMPTS = 5

/** Reads one row of the tenant; null where this tenant has none of that id. */
export async function find<T extends Versioned>(
  ctx: Context,
  table: T,
  id: string,
): Promise<T['$inferSelect'] | null> {
  const rows = await ctx.db
    .select()
    .from(table as SQLiteTable)
    .where(and(eq(table.tenant_id, ctx.tenant.id), eq(table.id, id)))
    .limit(1)
  return (rows[0] as T['$inferSelect'] | undefined) ?? null
}

/**
 * Changes one row of the tenant by what `decide` makes of it, with the version as a condition of the statement that
 * writes (RFC 9110, 13.1.1). 404 where there is no such row, 412 where If-Match is stale; without If-Match a race is
 * decided anew. A row that is as it should be already is left so, and nothing is put on record. Answers with the row as it
 * stands afterwards; `show` makes of it what the route answers with, where that
 * is not the row itself (an idempotent request stores it).
 */
export async function revise<T extends Versioned>(
  ctx: Context,
  table: T,
  resource: string,
  id: string,
  decide: (row: T['$inferSelect']) => Revision<T['$inferSelect']> | Promise<Revision<T['$inferSelect']>>,
  show: (row: T['$inferSelect']) => unknown = (row) => row,
): Promise<T['$inferSelect']> {
  const stale = problem('precondition_failed', `The ${resource} has changed since it was read`)
  for (let attempt = 1; ; attempt++) {
    const row = await find(ctx, table, id)
    if (!row) throw problem.notFound(resource, id)
    const version = (row as { version: number }).version
    if (ctx.ifMatch !== undefined && ctx.ifMatch !== version) throw stale
    const revision = await decide(row)
    const { set, statements = [], ...rest } = revision
    if (statements.length === 0 && !differs(row, set)) {
      await commit(ctx, { statements: [], result: show(row) })
      return row
    }
    const columns = getTableColumns(table)
    const touched = 'updated_at' in columns ? { updated_at: iso(ctx.now) } : {}
    const next = { ...row, ...set, ...touched, version: version + 1 } as T['$inferSelect']
    const update = ctx.db
      .update(table as SQLiteTable)
      .set({ ...set, ...touched, version: sql`version + 1` })
      .where(and(eq(table.tenant_id, ctx.tenant.id), eq(table.id, id), eq(table.version, version)))
    try {
      await commit(ctx, {
        ...rest,
        statements: [{ statement: update, otherwise: stale }, ...statements],
        result: show(next),
      })
      return next
    } catch (error) {
      if (error !== stale || ctx.ifMatch !== undefined || attempt === ATTEMPTS) throw error
    }
  }
}

/** A delete of one row as a guarded statement: 404 where there is none, 412 where If-Match is stale. */
export function removal<T extends Versioned>(ctx: Context, table: T, resource: string, id: string) {
  const mine = and(eq(table.tenant_id, ctx.tenant.id), eq(table.id, id))
  const where = ctx.ifMatch === undefined ? mine : and(mine, eq(table.version, ctx.ifMatch))
  return {
    statement: ctx.db.delete(table as SQLiteTable).where(where),
    otherwise:
      ctx.ifMatch === undefined
        ? problem.notFound(resource, id)
        : problem('precondition_failed', `The ${resource} has changed since it was read, or is gone`),
  }
}
