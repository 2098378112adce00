import { getTableColumns, type SQL, sql } from 'drizzle-orm'
import type { SQLiteColumn, SQLiteTable } from 'drizzle-orm/sqlite-core'
import type { Context } from './context'

/** D1 takes 100 parameters a statement, each of 2 MB at most. */
const MOST_ROWS = 500
const MOST_BYTES = 1024 * 1024

/**
 * The statements that insert many rows of the tenant, each with its rows as one JSON parameter; a column that counts by
 * itself is left to count. Not async: they go into a batch.
 */
export function insertRows<T extends SQLiteTable & { tenant_id: SQLiteColumn }>(
  ctx: Context,
  table: T,
  rows: readonly T['$inferInsert'][],
  options: { known?: 'kept' } = {},
) {
  const kept = <I extends { onConflictDoNothing: () => unknown }>(insert: I) =>
    (options.known === 'kept' ? insert.onConflictDoNothing() : insert) as I
  const [only, second] = rows
  if (only && !second) return [kept(ctx.db.insert(table).values(only))]
  const columns = Object.entries(getTableColumns(table) as Record<string, SQLiteColumn>)
  const values = columns.map(([name, column]): SQL => {
    if (name === 'tenant_id') return sql`${ctx.tenant.id}`
    if (column.primary && column.getSQLType() === 'integer') return sql`null`
    return sql`json_extract(value, ${sql.raw(`'$.${name}'`)})`
  })
  const printed = rows.map((row) => JSON.stringify(stored(columns, row as Record<string, unknown>)))
  return slices(printed).map((slice) =>
    kept(
      ctx.db
        .insert(table)
        // What SQLite reads before ON CONFLICT must not be taken for a join.
        .select(
          sql`select ${sql.join(values, sql`, `)} from json_each(${`[${slice.join(',')}]`}) where true`,
        ),
    ),
  )
}

/** A row as D1 keeps it: JSON as text. */
function stored(columns: [string, SQLiteColumn][], row: Record<string, unknown>): Record<string, unknown> {
  const of = ([name, column]: [string, SQLiteColumn]) => {
    const value = row[name] ?? column.default ?? null
    return [name, value === null ? null : column.mapToDriverValue(value)]
  }
  return Object.fromEntries(columns.filter(([name]) => name !== 'tenant_id').map(of))
}

/** Texts in slices that one parameter can hold. */
export function slices(texts: readonly string[]): string[][] {
  const all: string[][] = []
  let bytes = MOST_BYTES
  for (const text of texts) {
    const size = Buffer.byteLength(text) + 1
    const last = all.at(-1)
    if (last && last.length < MOST_ROWS && bytes + size <= MOST_BYTES) {
      last.push(text)
      bytes += size
    } else {
      all.push([text])
      bytes = size
    }
  }
  return all
}
