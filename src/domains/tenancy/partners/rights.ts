import { and, asc, eq, gt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { directory } from '../../../data/database'
import { type Page, pageOf } from '../../../data/page'
import { contextFor } from '../../../data/system'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { tokensEnd } from '../../identity/outdated'
import { tenantView } from '../../identity/sessions/standing'
import { users } from '../../identity/users/table'
import { tenants } from '../tenants/table'
import { partnerChange } from './changes'
import { lookAtConnections, openTo } from './connections'
import { changingPartner, getPartner, usersChange } from './service'
import { type PartnerRole, partners, partnerTenants, partnerUsers } from './table'

// What a partner may in a tenant, and who acts for it. Each is on record in the log of that tenant, and told there. Whoever
// may something else by it needs a new access token (tenancy.md: a change of role, status or membership).

type Paging = { limit: number; cursor?: string | undefined }

/** A tenant as a partner's lists show it. */
export type TenantOfPartner = Awaited<ReturnType<typeof tenantsOf>>[number]

type Asked = { partnerId: string; only: string | undefined; after: string; limit: number }

/** The tenants of a partner, by their ids; `only` one of them where it is given. */
const tenantsOf = ({ env }: Pick<Context, 'env'>, { partnerId, only, after, limit }: Asked) =>
  directory(env)
    .select({
      tenant_id: partnerTenants.tenant_id,
      ...{ name: tenants.name, slug: tenants.slug, plan: tenants.plan, status: tenants.status },
      ...{ role: partnerTenants.role, created_at: partnerTenants.created_at },
    })
    .from(partnerTenants)
    .innerJoin(tenants, eq(tenants.id, partnerTenants.tenant_id))
    .where(
      and(
        eq(partnerTenants.partner_id, partnerId),
        gt(partnerTenants.tenant_id, after),
        only === undefined ? undefined : eq(partnerTenants.tenant_id, only),
      ),
    )
    .orderBy(asc(partnerTenants.tenant_id))
    .limit(limit)

/** A page of the tenants of a partner that is there, oldest first. */
export function pageOfTenants(
  ctx: Pick<Context, 'env'>,
  partnerId: string,
  input: Paging,
  only?: string,
): Promise<Page<TenantOfPartner & { id: string }>> {
  return pageOf(`partner_tenants:${partnerId}:${only ?? ''}`, input, async (position, limit) => {
    const rows = await tenantsOf(ctx, { partnerId, only, after: position?.id ?? '', limit })
    return rows.map((row) => ({ ...row, id: row.tenant_id }))
  })
}

/** The tenants that a partner's users may act in. */
export async function listPartnerTenants(ctx: Context, partnerId: string, input: Paging) {
  await getPartner(ctx, partnerId)
  return pageOfTenants(ctx, partnerId, input)
}

/** The users who act for a partner. */
export async function listPartnerUsers(ctx: Context, partnerId: string, input: Paging) {
  await getPartner(ctx, partnerId)
  return pageOf(`partner_users:${partnerId}`, input, async (after, limit) => {
    const rows = await directory(ctx.env)
      .select(USER)
      .from(partnerUsers)
      .innerJoin(users, and(eq(users.tenant_id, partnerUsers.tenant_id), eq(users.id, partnerUsers.id)))
      .where(and(eq(partnerUsers.partner_id, partnerId), gt(partnerUsers.id, after?.id ?? '')))
      .orderBy(asc(partnerUsers.id))
      .limit(limit)
    return rows.map((row) => ({ ...row, id: row.user_id }))
  })
}

const USER = {
  ...{ user_id: partnerUsers.id, tenant_id: partnerUsers.tenant_id },
  ...{ email: users.email, full_name: users.full_name },
  created_at: partnerUsers.created_at,
}

async function readTenant(ctx: Context, id: string) {
  const row = await directory(ctx.env).select().from(tenants).where(eq(tenants.id, id)).get()
  if (!row) throw problem.notFound('tenant', id)
  return row
}

/** Lets a partner's users act in a tenant, as what `role` says. */
export async function grantTenant(ctx: Context, partnerId: string, tenantId: string, role: PartnerRole) {
  const tenant = await readTenant(ctx, tenantId)
  if (tenant.is_platform === 1) throw problem('conflict', 'The platform’s own tenant is no partner’s')
  if (tenant.status === 'cancelled') throw problem('conflict', 'The tenant was cancelled')
  const inside = contextFor(ctx, tenantView(tenant), ctx.principal)
  const at = and(eq(partnerTenants.tenant_id, tenantId), eq(partnerTenants.partner_id, partnerId))
  const granted = await changingPartner(ctx, partnerId, {}, async (_row, _next, written) => {
    const known = await inside.db.select().from(partnerTenants).where(at).get()
    const created_at = known?.created_at ?? iso(ctx.now)
    const row = { tenant_id: tenantId, partner_id: partnerId, role, created_at }
    const { name, slug, plan, status } = tenant
    const result = { tenant_id: tenantId, name, slug, plan, status, role, created_at }
    if (known?.role === role) return commit(inside, { statements: [], result })
    return commit(inside, {
      statements: [
        written,
        inside.db
          .insert(partnerTenants)
          .values(row)
          .onConflictDoUpdate({
            target: [partnerTenants.tenant_id, partnerTenants.partner_id],
            set: { role },
          }),
      ],
      result,
      audit: {
        ...{ action: 'partner.grant_tenant', resource: 'partner', resource_id: partnerId },
        ...(known ? { before: { role: known.role } } : {}),
        after: { role },
      },
      tell: [partnerChange(partnerId, tenantId), ...(await usersChange(ctx, partnerId))],
    })
  })
  lookAtConnections(ctx, [tenantId])
  return granted
}

/** Ends what a partner may in a tenant; everywhere within ten seconds. */
export async function removeTenant(ctx: Context, partnerId: string, tenantId: string): Promise<undefined> {
  const inside = contextFor(ctx, tenantView(await readTenant(ctx, tenantId)), ctx.principal)
  const statement = inside.db
    .delete(partnerTenants)
    .where(and(eq(partnerTenants.tenant_id, tenantId), eq(partnerTenants.partner_id, partnerId)))
  await changingPartner(ctx, partnerId, {}, async (_row, _next, written) =>
    commit(inside, {
      statements: [written, { statement, otherwise: problem.notFound('tenant of the partner', tenantId) }],
      result: undefined,
      audit: { action: 'partner.remove_tenant', resource: 'partner', resource_id: partnerId },
      tell: [partnerChange(partnerId, tenantId), ...(await usersChange(ctx, partnerId))],
    }),
  )
  lookAtConnections(ctx, [tenantId])
}

/** The tenants that a user of this one may act in for a partner, with the role there. */
export const rightsOfUser = ({ env, tenant }: Context, userId: string, limit: number) =>
  directory(env)
    .select({
      ...{ id: tenants.id, name: tenants.name, slug: tenants.slug, plan: tenants.plan },
      role: partnerTenants.role,
    })
    .from(partnerUsers)
    .innerJoin(partners, and(eq(partners.id, partnerUsers.partner_id), eq(partners.status, 'active')))
    .innerJoin(partnerTenants, eq(partnerTenants.partner_id, partners.id))
    .innerJoin(tenants, and(eq(tenants.id, partnerTenants.tenant_id), eq(tenants.status, 'active')))
    .where(and(eq(partnerUsers.tenant_id, tenant.id), eq(partnerUsers.id, userId)))
    .orderBy(asc(partnerTenants.tenant_id))
    .limit(limit)

/** A user by the id alone, with the tenant he belongs to. */
async function readUser(ctx: Context, id: string) {
  const row = await directory(ctx.env)
    .select({ user: users, tenant: tenants })
    .from(users)
    .innerJoin(tenants, eq(tenants.id, users.tenant_id))
    .where(eq(users.id, id))
    .get()
  if (!row) throw problem.notFound('user', id)
  return row
}

/** Makes a user of any tenant one who acts for the partner; 409 where he acts for another. */
export async function addUser(ctx: Context, partnerId: string, userId: string) {
  const { user, tenant } = await readUser(ctx, userId)
  if (tenant.is_platform === 1) throw problem('conflict', 'The platform’s own users act for no partner')
  const { tenant_id, email, full_name } = user
  const inside = contextFor(ctx, tenantView(tenant), ctx.principal)
  return changingPartner(ctx, partnerId, {}, async (_row, _next, written) => {
    const known = await inside.db
      .select()
      .from(partnerUsers)
      .where(and(eq(partnerUsers.tenant_id, tenant_id), eq(partnerUsers.id, userId)))
      .get()
    const taken = problem('conflict', 'The user acts for another partner: remove him there first')
    if (known && known.partner_id !== partnerId) throw taken
    const created_at = known?.created_at ?? iso(ctx.now)
    const row = { tenant_id, id: userId, partner_id: partnerId, created_at }
    const result = { user_id: userId, tenant_id, email, full_name, created_at: row.created_at }
    if (known) return commit(inside, { statements: [], result })
    return commit(inside, {
      statements: [written, inside.db.insert(partnerUsers).values(row)],
      result,
      audit: {
        ...{ action: 'partner.add_user', resource: 'partner', resource_id: partnerId },
        after: { user_id: userId },
      },
      tell: [partnerChange(partnerId, tenant_id), tokensEnd(userId)],
      unique: { 'partner_users.tenant_id': taken },
    })
  })
}

/** Ends what a user may for a partner; everywhere within ten seconds. */
export async function removeUser(ctx: Context, partnerId: string, userId: string): Promise<undefined> {
  const { user, tenant } = await readUser(ctx, userId)
  const { tenant_id } = user
  const inside = contextFor(ctx, tenantView(tenant), ctx.principal)
  const statement = inside.db
    .delete(partnerUsers)
    .where(
      and(
        eq(partnerUsers.tenant_id, tenant_id),
        eq(partnerUsers.id, userId),
        eq(partnerUsers.partner_id, partnerId),
      ),
    )
  await changingPartner(ctx, partnerId, {}, (_row, _next, written) =>
    commit(inside, {
      statements: [written, { statement, otherwise: problem.notFound('user of the partner', userId) }],
      result: undefined,
      audit: {
        ...{ action: 'partner.remove_user', resource: 'partner', resource_id: partnerId },
        before: { user_id: userId },
      },
      tell: [partnerChange(partnerId, tenant_id), tokensEnd(userId)],
    }),
  )
  lookAtConnections(ctx, await openTo(ctx, partnerId))
}
