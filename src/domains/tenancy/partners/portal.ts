import { and, count, eq } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { directory } from '../../../data/database'
import type { Page } from '../../../data/page'
import { problem } from '../../../lib/problem'
import { pageOfTenants, type TenantOfPartner } from './rights'
import { partners, partnerTenants, partnerUsers } from './table'

// What a partner's user sees of the partner, at home or in the tenant that X-Active-Tenant-Id names.

/** The partner that the caller acts for; 403 `partner_required` for who acts for none. */
export async function partnerOf(ctx: Context): Promise<{ id: string; name: string }> {
  const { principal, impersonator, tenant } = ctx
  const none = problem('partner_required', 'This is for a partner’s users')
  if (principal.kind === 'user' && principal.tenant_only) throw none
  const self = impersonator ?? { tenant_id: tenant.id, id: principal.id ?? '' }
  const found = await directory(ctx.env)
    .select({ id: partners.id, name: partners.name })
    .from(partnerUsers)
    .innerJoin(partners, and(eq(partners.id, partnerUsers.partner_id), eq(partners.status, 'active')))
    .where(and(eq(partnerUsers.tenant_id, self.tenant_id), eq(partnerUsers.id, self.id)))
    .get()
  if (!found) throw none
  return found
}

/** The partner, how much it has, and the tenant that is acted in. */
export async function portal(ctx: Context) {
  const partner = await partnerOf(ctx)
  const db = directory(ctx.env)
  const [[tenants], [users], active] = await Promise.all([
    db.select({ n: count() }).from(partnerTenants).where(eq(partnerTenants.partner_id, partner.id)),
    db.select({ n: count() }).from(partnerUsers).where(eq(partnerUsers.partner_id, partner.id)),
    ctx.impersonator ? activeTenant(ctx, partner.id) : null,
  ])
  return { partner, tenants: tenants?.n ?? 0, users: users?.n ?? 0, active_tenant: active }
}

/** The one of a partner's tenants that the caller acts in. */
async function activeTenant(ctx: Context, partnerId: string): Promise<TenantOfPartner | null> {
  const { items } = await pageOfTenants(ctx, partnerId, { limit: 1 }, ctx.tenant.id)
  return items[0] ?? null
}

/** The tenants that the caller's partner has; the one alone that is acted in. */
export async function portalTenants(
  ctx: Context,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<TenantOfPartner & { id: string }>> {
  const { id } = await partnerOf(ctx)
  return pageOfTenants(ctx, id, input, ctx.impersonator ? ctx.tenant.id : undefined)
}
