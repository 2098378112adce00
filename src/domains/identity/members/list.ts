import { and, asc, desc, eq, gt, gte, inArray, lt, type SQL, sql } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import type * as z from 'zod'
import type { Context } from '../../../data/context'
import { type Page, pageAmong, pageOf, pageOfParts } from '../../../data/page'
import { madeBetween } from '../../../data/span'
import type { Position } from '../../../lib/cursor'
import { firstIdAt } from '../../../lib/ids'
import type { User } from '../users/schema'
import { users } from '../users/table'
import type { UserFilters } from './schema'

type Listed = z.output<typeof User>
type By = Omit<UserFilters, 'limit' | 'cursor'>
type Asked = Pick<UserFilters, 'limit' | 'cursor'>

/** The tenant's users, newest first; by their addresses where `q` says how those begin. */
export function listUsers(ctx: Context, { limit, cursor, ...by }: UserFilters): Promise<Page<Listed>> {
  const list = `users:${ctx.tenant.id}:${JSON.stringify(by)}`
  return by.q === undefined
    ? newestUsers(ctx, list, { limit, cursor }, by)
    : usersByAddress(ctx, list, { limit, cursor }, by)
}

/** A column of a table that is named with its index, in which Drizzle knows no columns. */
const shown = <T>(column: SQLiteColumn) => sql<T>`${column}`.as(column.name)

const COLUMNS = {
  id: shown<string>(users.id),
  tenant_id: shown<string>(users.tenant_id),
  email: shown<string>(users.email),
  full_name: shown<string | null>(users.full_name),
  role: shown<Listed['role']>(users.role),
  status: shown<Listed['status']>(users.status),
  email_verified_at: shown<string | null>(users.email_verified_at),
  last_login_at: shown<string | null>(users.last_login_at),
  created_at: shown<string>(users.created_at),
  updated_at: shown<string>(users.updated_at),
}

/** What a user chose for themselves, which may be large. */
const CHOSEN = {
  avatar: shown<string | null>(users.avatar),
  preferences: sql`${users.preferences}`.mapWith(users.preferences).as('preferences'),
}

const select = (ctx: Context, from: SQL) => ctx.db.select({ ...COLUMNS, ...CHOSEN }).from(from)

const STATUSES = ['active', 'suspended'] as const

/** Each role’s users of either status lie in the order of their ids. */
function newestUsers(ctx: Context, list: string, asked: Asked, { role, status, ...by }: By) {
  const index = role !== undefined ? 'users_by_role' : status !== undefined ? 'users_by_status' : null
  // By its name: between two ids SQLite would rather walk all of the tenant's users.
  const from = index === null ? sql`${users}` : sql`${users} indexed by ${sql.raw(index)}`
  const parts = role === undefined || status !== undefined ? [status] : STATUSES
  const read = (of: Listed['status'] | undefined, after: { id: string } | null, most: number) =>
    select(ctx, from)
      .where(
        and(
          eq(users.tenant_id, ctx.tenant.id),
          role === undefined ? undefined : eq(users.role, role),
          of === undefined ? undefined : eq(users.status, of),
          madeBetween(users.id, by, after?.id),
        ),
      )
      .orderBy(desc(users.id))
      .limit(most)
  return pageOfParts(list, asked, parts, read, (row) => row.id)
}

/** An index leads to how an address begins; who is wanted of those is looked for among them. */
async function usersByAddress(ctx: Context, list: string, asked: Asked, { q = '', role, status, ...by }: By) {
  const begins = (after: string | null) =>
    and(
      eq(users.tenant_id, ctx.tenant.id),
      // A span, not LIKE: it is looked up in the index, and what stands in it means itself.
      after === null ? gte(users.email, q) : gt(users.email, after),
      lt(users.email, `${q}\u{10ffff}`),
    )
  const { created_after, created_before } = by
  if ([role, status, created_after, created_before].every((value) => value === undefined)) {
    const read = async (after: Position | null, most: number): Promise<Listed[]> =>
      select(ctx, sql`${users}`)
        .where(begins(after && String(after.key)))
        .orderBy(asc(users.email))
        .limit(most)
    return pageOf(list, asked, read, addressOf)
  }
  const [from, until] = [idAt(created_after), idAt(created_before)]
  const wanted = (row: Omit<Listed, keyof typeof CHOSEN>) =>
    row.role === (role ?? row.role) &&
    row.status === (status ?? row.status) &&
    (from === undefined || row.id >= from) &&
    (until === undefined || row.id < until)
  const read = (after: string | null, most: number) =>
    ctx.db.select(COLUMNS).from(users).where(begins(after)).orderBy(asc(users.email)).limit(most)
  const { items, next_cursor } = await pageAmong(list, asked, read, wanted, addressOf)
  return { items: await withChosen(ctx, items), next_cursor }
}

/** Users with what they chose, which is read of those alone that are shown. */
async function withChosen(
  ctx: Context,
  some: readonly Omit<Listed, keyof typeof CHOSEN>[],
): Promise<Listed[]> {
  const ids = sql`(select value from json_each(${JSON.stringify(some.map(({ id }) => id))}))`
  const rows = await ctx.db
    .select({ id: users.id, ...CHOSEN })
    .from(users)
    .where(and(eq(users.tenant_id, ctx.tenant.id), inArray(users.id, ids)))
  const chosen = new Map(rows.map(({ id, ...row }) => [id, row]))
  return some.map((user) => ({ ...user, ...(chosen.get(user.id) ?? { avatar: null, preferences: {} }) }))
}

const addressOf = (row: Pick<Listed, 'email'>): string => row.email

/** Ids carry the time they were made. */
const idAt = (time: string | undefined) => (time === undefined ? undefined : firstIdAt(Date.parse(time)))
