import { and, asc, eq, getTableColumns, gt, lte, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { auditLog } from './table'

/** A row as the database has it, its JSON as text: what a seal covers is what was written, and not what it means. */
export type RawRow = Record<string, string | number | null> & { seq: number }

/** Rows that are read at once. */
const SLICE = 250

type Reader = Pick<Context, 'db' | 'tenant'>

const RAW = Object.fromEntries(
  Object.entries(getTableColumns(auditLog)).map(([name, column]) => [name, sql`${column}`]),
)

/** The tenant's rows after a number (all where it is null) and up to another, in the order of their numbers. */
export async function* rowsAfter(
  { db, tenant }: Reader,
  after: number | null,
  through: number | null = null,
): AsyncGenerator<RawRow> {
  for (let last = after; ; ) {
    const slice: RawRow[] = await rowsOf(db, tenant.id, last, through)
    yield* slice
    if (slice.length < SLICE) return
    last = slice.at(-1)?.seq ?? last
  }
}

function rowsOf(db: Reader['db'], tenantId: string, after: number | null, through: number | null) {
  const range: (SQL | undefined)[] = [
    eq(auditLog.tenant_id, tenantId),
    after === null ? undefined : gt(auditLog.seq, after),
    through === null ? undefined : lte(auditLog.seq, through),
  ]
  return db
    .select(RAW)
    .from(auditLog)
    .where(and(...range))
    .orderBy(asc(auditLog.seq))
    .limit(SLICE)
    .all() as Promise<RawRow[]>
}

/**
 * The text of a row that is sealed: each column that has a value, by name. A column that is added later has none in the
 * rows before, whose text stays what it was.
 */
export function canonical(row: RawRow): string {
  const fields = Object.entries(row).filter(([, value]) => value !== null)
  return JSON.stringify(fields.sort(([a], [b]) => (a < b ? -1 : 1)))
}
