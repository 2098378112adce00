import { and, asc, desc, eq, gt, gte, lt, type SQL, sql } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import type * as z from 'zod'
import type { Context } from '../../../data/context'
import { type Page, pageAmong, pageOf, pageOfParts } from '../../../data/page'
import { madeBetween } from '../../../data/span'
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

const select = (ctx: Context, from: SQL) =>
  ctx.db
    .select({
      id: shown<string>(users.id),
      tenant_id: shown<string>(users.tenant_id),
      email: shown<string>(users.email),
      full_name: shown<string | null>(users.full_name),
      role: shown<Listed['role']>(users.role),
      status: shown<Listed['status']>(users.status),
      avatar: shown<string | null>(users.avatar),
      preferences: sql`${users.preferences}`.mapWith(users.preferences).as('preferences'),
      email_verified_at: shown<string | null>(users.email_verified_at),
      last_login_at: shown<string | null>(users.last_login_at),
      created_at: shown<string>(users.created_at),
      updated_at: shown<string>(users.updated_at),
    })
    .from(from)

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
function usersByAddress(ctx: Context, list: string, asked: Asked, { q = '', role, status, ...by }: By) {
  const read = (after: string | null, most: number) =>
    select(ctx, sql`${users}`)
      .where(
        and(
          eq(users.tenant_id, ctx.tenant.id),
          // A span, not LIKE: it is looked up in the index, and what stands in it means itself.
          after === null ? gte(users.email, q) : gt(users.email, after),
          lt(users.email, `${q}\u{10ffff}`),
        ),
      )
      .orderBy(asc(users.email))
      .limit(most)
  const { created_after, created_before } = by
  if ([role, status, created_after, created_before].every((value) => value === undefined))
    return pageOf(list, asked, (after, most) => read(after && String(after.key), most), addressOf)
  const [from, until] = [idAt(created_after), idAt(created_before)]
  const wanted = (row: Listed) =>
    row.role === (role ?? row.role) &&
    row.status === (status ?? row.status) &&
    (from === undefined || row.id >= from) &&
    (until === undefined || row.id < until)
  return pageAmong(list, asked, read, wanted, addressOf)
}

const addressOf = (row: Listed): string => row.email

/** Ids carry the time they were made. */
const idAt = (time: string | undefined) => (time === undefined ? undefined : firstIdAt(Date.parse(time)))
