import { getTableName } from 'drizzle-orm'
import { integer, type SQLiteColumn, type SQLiteTable, text } from 'drizzle-orm/sqlite-core'

/** Names of the tables whose every row belongs to a tenant; the guard refuses statements on them that do not bind it. */
export const tenantTables = new Set<string>()

type TenantTable = SQLiteTable & { tenant_id: SQLiteColumn }

/** The tables themselves, as they were declared: what refers to another comes after it. */
export const confinedTables: TenantTable[] = []

/** Declares a table of rows that belong to tenants. */
export function confined<T extends TenantTable>(table: T): T {
  tenantTables.add(getTableName(table))
  confinedTables.push(table)
  return table
}

/** What tells a table's rows apart: `rowid`, or its key where migrations gave it no rowids. */
export const rowKeyOf = (table: TenantTable): readonly string[] => keyed.get(getTableName(table)) ?? ['rowid']

const keyed = new Map<string, readonly string[]>()

/** Declares a tenant's table without rowids (SQLite's `WITHOUT ROWID`), and its key. */
export function withoutRowid<T extends TenantTable>(table: T, ...key: (keyof T & string)[]): T {
  keyed.set(getTableName(table), key)
  return confined(table)
}

/** Names of the full-text indexes (FTS5) that keep no text: all they tell is which numbers match. */
export const wordIndexes = new Set<string>()

/** Declares a full-text index that a migration made with `content=''`; statements may read it, triggers write it. */
export function wordIndex(name: string): string {
  wordIndexes.add(name)
  return name
}

/** Names of the views (tenant_id, id, words) through which a tenant's words come into such an index. */
export const wordViews = new Set<string>()

/** Declares such a view: a trigger on it finds the number of their row. */
export function wordsOf(view: string): string {
  wordViews.add(view)
  return view
}

/** Names of the tables that are read at D1's primary alone: what a replica says of them may have been revoked since. */
export const primaryTables = new Set<string>(['tenants'])

/** Declares a tenant's table of who somebody is, and what they may. */
export function ofIdentity<T extends TenantTable>(table: T): T {
  primaryTables.add(getTableName(table))
  return confined(table)
}

/** The column that every tenant's table begins with, and every key and index on it. */
export const tenantId = () => text().notNull()
/** A UUIDv7, or another id of the resource's own form. */
export const id = () => text().notNull()
/** ISO 8601 UTC with milliseconds. */
export const time = () => text()
export const json = <T>() => text({ mode: 'json' }).$type<T>()
/** Counts the changes of a row; it is what ETag and If-Match speak of. */
export const version = () => integer().notNull().default(1)
/** Order of commit: what must miss nothing reads by this, since ids are made before the commit. */
export const seq = () => integer().primaryKey({ autoIncrement: true })
