import { and, eq, getTableName, type SQL, sql } from 'drizzle-orm'
import { confinedTables, rowKeyOf } from '../../../data/columns'
import { type Change, commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { directory } from '../../../data/database'
import { kvOfTenants, tenantKeepings } from '../../../data/erasure'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { tenants } from '../tenants/table'
import { type DeletionRow, deletions } from './table'

// What a deletion goes through, each step in slices. How far it is stands in its row, and is written in the batch that
// removes, or, where what is removed is no row, in such an order that a crash makes nothing be counted twice or left out.

/** Rows of one statement; objects, files and entries of one slice. */
const ROWS = 500
const OBJECTS = 20
const FILES = 500
const ENTRIES = 50
/** What was on its way while a tenant was gone through has come by then: isolates go by what they knew for an hour at most. */
const SECOND_PASS_MS = 2 * 3600_000

/** Another is at it, or the tenant is not to be deleted (any more). */
export const OVERTAKEN = problem('conflict', 'The deletion is being carried on elsewhere')

type Slice = (ctx: Context, row: DeletionRow, next: string) => Promise<unknown>
type Step = { name: string; run: Slice }

/** Sending ends first, so webhooks go first; then what is outside of tables, while the tables still name it. */
export function stepsOf(): Step[] {
  const tables = tablesInOrder().map((table): Step & { first: boolean } => ({
    name: nameOf(table),
    first: /^(?:deliveries|endpoints)$/.test(getTableName(table)),
    run: rowsOf(table),
  }))
  const objects = tenantKeepings().map((keeping) => ({
    name: keeping.name,
    first: keeping.first === true,
    run: objectsOf(keeping),
  }))
  const entries = [...kvOfTenants()].map(
    ([name, prefixOf]): Step => ({ name, run: entriesOf(name, prefixOf) }),
  )
  return [
    ...[...objects, ...tables].filter(({ first }) => first),
    ...objects.filter(({ first }) => !first),
    { name: 'files', run: files },
    ...entries,
    ...tables.filter(({ first }) => !first),
  ]
}

/** A table’s step. That of what is in R2 is called `files`, so the rows of files are something else. */
const nameOf = (table: (typeof confinedTables)[number]): string => {
  const name = getTableName(table)
  return name === 'files' ? 'file_rows' : name
}

/** What refers to another is declared after it, so it goes before it: nothing is removed unseen by a cascade. */
export const tablesInOrder = () => [...confinedTables].reverse()

const mine = ({ id, pass, step, at }: DeletionRow) =>
  and(eq(deletions.id, id), eq(deletions.pass, pass), eq(deletions.step, step), eq(deletions.at, at))

/** Writes how far it is, provided that nobody else was faster and the tenant is still to be deleted. */
function advance(
  ctx: Context,
  row: DeletionRow,
  set: Record<string, unknown>,
  before: Change<undefined>['statements'] = [],
): Promise<undefined> {
  const update = directory(ctx.env).update(deletions).set(set).where(mine(row))
  const cancelled = sql`exists (select 1 from tenants where id = ${row.id} and status = 'cancelled')`
  return commit(ctx, {
    statements: [
      { holds: cancelled, otherwise: OVERTAKEN },
      ...before,
      { statement: update, otherwise: OVERTAKEN },
    ],
    result: undefined,
  })
}

/** The count of a kind with so many more. */
function counted(name: string, more: ReturnType<typeof sql>) {
  const path = `$."${name}"`
  return sql`json_set(${deletions.removed}, ${path}, coalesce(json_extract(${deletions.removed}, ${path}), 0) + ${more})`
}

const whereNext = (row: DeletionRow, ended: boolean, next: string, at: string) =>
  ended ? { step: next, at: '' } : { step: row.step, at }

const keyOf = (table: (typeof confinedTables)[number]): SQL =>
  sql.join(
    rowKeyOf(table).map((name) => sql.identifier(name)),
    sql`, `,
  )

/** The rows of a table: they and their count go in one batch. */
function rowsOf(table: (typeof confinedTables)[number]): Slice {
  return (ctx, row, next) => {
    const key = keyOf(table)
    const some = sql`(select ${key} from ${table} where ${table.tenant_id} = ${row.id} limit ${ROWS})`
    const removal = ctx.db.delete(table).where(and(eq(table.tenant_id, row.id), sql`(${key}) in ${some}`))
    const step = sql`case when changes() < ${ROWS} then ${next} else ${row.step} end`
    return advance(ctx, row, { removed: counted(nameOf(table), sql`changes()`), step }, [removal])
  }
}

/** Erased before they are counted: what a crash lets be erased again is counted once all the same. */
function objectsOf({ name, keys, erase }: ReturnType<typeof tenantKeepings>[number]): Slice {
  return async (ctx, row, next) => {
    const some = await keys(ctx, row.at, OBJECTS)
    await Promise.all(some.map((key) => erase(ctx.env, row.id, key)))
    const to = whereNext(row, some.length < OBJECTS, next, some.at(-1) ?? '')
    await advance(ctx, row, { ...to, removed: counted(name, sql`${some.length}`) })
  }
}

/** Counted before they are removed, up to a name: what a crash leaves behind is found again, and not counted again. */
async function files(ctx: Context, row: DeletionRow, next: string): Promise<void> {
  const { objects } = await ctx.env.FILES.list({ prefix: `${row.id}/`, limit: FILES })
  const names = objects.map(({ key }) => key)
  const fresh = names.filter((key) => key > row.at)
  if (fresh.length > 0 || names.length === 0) {
    const to = whereNext(row, names.length === 0, next, fresh.at(-1) ?? '')
    await advance(ctx, row, { ...to, removed: counted('files', sql`${fresh.length}`) })
  }
  if (names.length > 0) await ctx.env.FILES.delete(names)
}

/** The same in KV, which shows for a while what was removed: it ends with the last name. */
function entriesOf(name: string, prefixOf: (tenantId: string) => string): Slice {
  return async (ctx, row, next) => {
    const { keys } = await ctx.env.KV.list({ prefix: prefixOf(row.id), limit: ENTRIES })
    await Promise.all(keys.map((key) => ctx.env.KV.delete(key.name)))
    const fresh = keys.filter((key) => key.name > row.at)
    const to = whereNext(row, fresh.length === 0, next, fresh.at(-1)?.name ?? '')
    await advance(ctx, row, { ...to, removed: counted(name, sql`${fresh.length}`) })
  }
}

/** To the first step of a pass; nothing takes the deletion back from here on. */
export const begin = (ctx: Context, row: DeletionRow, first: string) =>
  advance(ctx, row, { started_at: row.started_at ?? iso(ctx.now), step: first, at: '' })

/** Something was written while the last tables were gone through. */
const LATE = problem('conflict', 'The tenant has rows again')

/**
 * After the last step: a second pass later on, or the tenant's own row, and with it its slug. Nothing stays behind: where a
 * table has rows again, the pass is repeated. Answers whether that was the end.
 */
export async function end(ctx: Context, row: DeletionRow, first: string): Promise<boolean> {
  const again = { pass: 2, step: first, at: '' }
  if (row.pass === 1) {
    await advance(ctx, row, { ...again, resume_at: iso(ctx.now + SECOND_PASS_MS) })
    return false
  }
  const done = { finished_at: iso(ctx.now), removed: counted('tenants', sql`changes()`) }
  const tenant = directory(ctx.env).delete(tenants).where(eq(tenants.id, row.id))
  try {
    await advance(ctx, row, done, [{ holds: isEmpty(row.id), otherwise: LATE }, tenant])
    return true
  } catch (error) {
    if (error !== LATE) throw error
    await advance(ctx, row, again)
    return false
  }
}

/** D1 takes an expression of 100 levels at most, and each AND is one. */
const TABLES_TOGETHER = 25

/** The condition that no table has a row of the tenant. */
function isEmpty(tenantId: string): SQL {
  const none = confinedTables.map(
    (table) => sql`not exists (select 1 from ${table} where ${table.tenant_id} = ${tenantId} limit 1)`,
  )
  const groups: SQL[] = []
  for (let i = 0; i < none.length; i += TABLES_TOGETHER)
    groups.push(sql`(${sql.join(none.slice(i, i + TABLES_TOGETHER), sql` and `)})`)
  return sql.join(groups, sql` and `)
}
