import type { BuildExtraConfigColumns } from 'drizzle-orm'
import {
  integer,
  type SQLiteColumnBuilderBase,
  type SQLiteTableExtraConfigValue,
  sqliteTable,
  text,
} from 'drizzle-orm/sqlite-core'

/** Names of the tables whose every row belongs to a tenant; the guard in database.ts refuses statements on them without it. */
export const tenantTables = new Set<string>()

/** The column that every tenant's table begins with, and every key and index on it. */
export const tenantId = () => text().notNull()

/** A table of rows that belong to tenants. */
export function tenantTable<
  N extends string,
  C extends Record<string, SQLiteColumnBuilderBase> & { tenant_id: ReturnType<typeof tenantId> },
>(
  name: N,
  columns: C,
  extra: (table: BuildExtraConfigColumns<N, C, 'sqlite'>) => SQLiteTableExtraConfigValue[],
) {
  tenantTables.add(name)
  return sqliteTable(name, columns, extra)
}

/** A UUIDv7, or another id of the resource's own form. */
export const id = () => text().notNull()
/** ISO 8601 UTC with milliseconds. */
export const time = () => text()
export const json = <T>() => text({ mode: 'json' }).$type<T>()
/** Counts the changes of a row; it is what ETag and If-Match speak of. */
export const version = () => integer().notNull().default(1)
/** Order of commit: what must miss nothing reads by this, since ids are made before the commit. */
export const seq = () => integer().primaryKey({ autoIncrement: true })
