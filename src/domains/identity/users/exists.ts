import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { users } from './table'

/** A condition for `commit`: the tenant has this user. */
export const isUser = (ctx: Pick<Context, 'tenant'>, id: string) =>
  sql`exists (select 1 from ${users} where ${and(eq(users.tenant_id, ctx.tenant.id), eq(users.id, id))})`

/** The same, and that the user is not suspended. */
export const isActiveUser = (ctx: Pick<Context, 'tenant'>, id: string) =>
  sql`exists (select 1 from ${users} where ${and(
    eq(users.tenant_id, ctx.tenant.id),
    eq(users.id, id),
    eq(users.status, 'active'),
  )})`
