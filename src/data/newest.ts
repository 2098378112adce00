import { and, desc, eq, getTableColumns, getTableName, isNull, type SQL } from 'drizzle-orm'
import type { SQLiteColumn, SQLiteTable } from 'drizzle-orm/sqlite-core'
import type { Context } from './context'
import { type Page, pageAmong, pageOf } from './page'
import { madeBetween } from './span'

type Listed = SQLiteTable & { tenant_id: SQLiteColumn; id: SQLiteColumn }
type Row<T extends Listed> = T['$inferSelect'] & { id: string }

type Asked = {
  limit: number
  cursor?: string | undefined
  created_after?: string | undefined
  created_before?: string | undefined
}

type Values<T extends Listed> = { [Name in keyof Row<T>]?: Row<T>[Name] | undefined }

/**
 * A page of the tenant's rows of `table`, newest first, since ids carry the time: those that have the values of `by`,
 * where null is null and undefined asks for nothing, and were made between the times, the later one excluded. Those of
 * `among` no index leads to: as many rows are looked at as pageAmong does, and the page may be short.
 */
export function newest<T extends Listed>(
  ctx: Context,
  table: T,
  { limit, cursor, created_after, created_before }: Asked,
  by: Values<T> = {},
  among: Values<T> = {},
): Promise<Page<Row<T>>> {
  const columns: Record<string, SQLiteColumn> = getTableColumns(table as SQLiteTable)
  const having = Object.entries(by).flatMap(([name, value]): SQL[] => {
    const column = columns[name]
    if (value === undefined || !column) return []
    return [value === null ? isNull(column) : eq(column, value)]
  })
  const wanted = Object.entries(among).filter(([, value]) => value !== undefined)
  const read = async (after: string | null, most: number) => {
    const rows = await ctx.db
      .select()
      .from(table as SQLiteTable)
      .where(
        and(
          eq(table.tenant_id, ctx.tenant.id),
          ...having,
          madeBetween(table.id, { created_after, created_before }, after),
        ),
      )
      .orderBy(desc(table.id))
      .limit(most)
    return rows as Row<T>[]
  }
  const filters = JSON.stringify([by, wanted, created_after, created_before])
  const list = `${getTableName(table)}:${ctx.tenant.id}:${filters}`
  if (wanted.length === 0)
    return pageOf(list, { limit, cursor }, (after, most) => read(after?.id ?? null, most))
  return pageAmong(list, { limit, cursor }, read, (row) =>
    wanted.every(([name, value]) => row[name as keyof Row<T>] === value),
  )
}
