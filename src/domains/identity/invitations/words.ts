import { and, eq } from 'drizzle-orm'
import { actingUser, type Context } from '../../../data/context'
import { tenants } from '../../tenancy/tenants/table'
import { users } from '../users/table'

/** The user of the tenant who invites; null for the platform and for who acts in the tenant from another. */
export const inviterOf = (ctx: Context): string | null => (ctx.impersonator ? null : actingUser(ctx))

/**
 * The name of the tenant as a mail to a stranger may show it; empty where whoever has the mail sent never confirmed an
 * address: a name can be an advertisement, and nobody would be known to have sent it.
 */
export async function nameForMail(ctx: Context): Promise<string> {
  const userId = inviterOf(ctx)
  const row = await ctx.db
    .select({ name: tenants.name, verified: users.email_verified_at })
    .from(tenants)
    .leftJoin(users, and(eq(users.tenant_id, ctx.tenant.id), eq(users.id, userId ?? '')))
    .where(eq(tenants.id, ctx.tenant.id))
    .get()
  return row && (userId === null || row.verified !== null) ? row.name : ''
}
