import { and, asc, eq, sql } from 'drizzle-orm'
import type { Check } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { type Role, scopesOf } from '../../tenancy/scopes'
import { type UserRow, users } from '../users/table'

/** A condition within a statement: somebody else is an active admin of the tenant. */
export const anotherAdmin = (ctx: Context, userId: string) =>
  sql`exists (select 1 from users as other where other.tenant_id = ${ctx.tenant.id} and other.id <> ${userId}
    and other.role = 'admin' and other.status = 'active')`

/** Whether a user is one of those of whom a tenant must have one. */
export const isActiveAdmin = ({ role, status }: Pick<UserRow, 'role' | 'status'>): boolean =>
  role === 'admin' && status === 'active'

/** The addresses of at most `limit` of the tenant's active admins, those of long standing first. */
export async function adminAddresses(ctx: Context, limit: number): Promise<string[]> {
  const rows = await ctx.db
    .select({ email: users.email })
    .from(users)
    .where(and(eq(users.tenant_id, ctx.tenant.id), eq(users.role, 'admin'), eq(users.status, 'active')))
    .orderBy(asc(users.id))
    .limit(limit)
  return rows.map(({ email }) => email)
}

const lastAdmin = () => problem('last_admin', 'This is the tenant’s last active admin')

/**
 * The condition, asked when the batch runs, that somebody else is an active admin: of two who demote each other at once
 * one stays. 409 `last_admin`.
 */
export const isNotLast = (ctx: Context, userId: string): Check => ({
  holds: anotherAdmin(ctx, userId),
  otherwise: lastAdmin(),
})

/** The same for a user who may be no admin at all, asked before the user is removed. */
export const mayLeave = (ctx: Context, userId: string): Check => ({
  holds: sql`(${anotherAdmin(ctx, userId)} or not exists (select 1 from users where tenant_id = ${ctx.tenant.id}
    and id = ${userId} and role = 'admin' and status = 'active'))`,
  otherwise: lastAdmin(),
})

/** Refuses to give a role of which the caller does not hold every scope: a key of few scopes must not make an admin. */
export function refuseBeyond(ctx: Context, role: Role): void {
  const missing = scopesOf(role).filter((scope) => !ctx.principal.scopes.has(scope))
  if (missing.length > 0)
    throw problem('insufficient_scope', `The role ${role} has scopes that the caller lacks`, {
      details: { required: scopesOf(role), missing },
    })
}

/** Refuses to touch the platform's own administrators: they are made and ended by the operator. */
export function refusePlatform({ role }: Pick<UserRow, 'role'>): void {
  if (role === 'platform_admin')
    throw problem('platform_only', 'A platform administrator is changed by the operator alone')
}
