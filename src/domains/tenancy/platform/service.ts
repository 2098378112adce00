import { and, desc, eq, gte, lt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { type Page, pageOf } from '../../../data/page'
import { contextFor } from '../../../data/system'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { insertKey } from '../../identity/api-keys/service'
import { invitationTo } from '../../identity/invitations/service'
import { tenantView } from '../../identity/sessions/standing'
import { calledOff, scheduled } from '../deletions/schedule'
import { LIMIT_NAMES, type OwnLimits } from '../plans'
import { isAdministrative, scopesByAction, scopesOf } from '../scopes'
import { isKept } from '../tenants/active'
import { newTenant } from '../tenants/new-tenant'
import { regionFor } from '../tenants/region'
import type { SetRateLimits } from '../tenants/schema'
import { changeTenant, shown, slugTaken, type TenantShown } from '../tenants/service'
import { type TenantRow, tenants } from '../tenants/table'
import type { CreateTenant, CreateTenantKey, PatchTenant } from './schema'

/** Makes a tenant; an invitation to be its admin goes to `admin_email`. */
export async function createTenant(ctx: Context, input: CreateTenant): Promise<TenantShown> {
  const { name, slug, plan } = input
  const rate_limits = withLimits({}, input.rate_limits)
  const region = regionFor(ctx, input.region)
  const tenant = newTenant(ctx, { id: newId(ctx.now), name, slug, plan, rate_limits, region })
  const inside = contextFor(ctx, tenantView(tenant), ctx.principal)
  const invitation = input.admin_email
    ? await invitationTo(inside, { email: input.admin_email, role: 'admin' }, name, null)
    : null
  return commit(inside, {
    statements: [directory(ctx.env).insert(tenants).values(tenant), ...(invitation?.statements ?? [])],
    result: shown(tenant),
    audit: {
      action: 'tenant.create',
      resource: 'tenant',
      resource_id: tenant.id,
      after: { name, slug, plan, rate_limits, region, ...(invitation && { admin_email: input.admin_email }) },
    },
    unique: { 'tenants.slug': slugTaken(input.slug) },
  })
}

type TenantFilter = {
  limit: number
  cursor?: string | undefined
  status?: TenantShown['status'] | undefined
  q?: string | undefined
}

/** Every tenant, newest first. */
export function listTenants(ctx: RequestContext, input: TenantFilter): Promise<Page<TenantShown>> {
  return pageOf(`tenants:${input.status ?? ''}:${input.q ?? ''}`, input, async (after, limit) => {
    const rows = await directory(ctx.env)
      .select()
      .from(tenants)
      .where(
        and(
          input.status ? eq(tenants.status, input.status) : undefined,
          // A span, not LIKE: D1 takes patterns of at most 50 bytes, and this one can use the index.
          input.q ? and(gte(tenants.slug, input.q), lt(tenants.slug, `${input.q}~`)) : undefined,
          after ? lt(tenants.id, after.id) : undefined,
        ),
      )
      .orderBy(desc(tenants.id))
      .limit(limit)
    return rows.map(shown)
  })
}

/** One tenant. */
export async function getTenant(ctx: RequestContext, id: string): Promise<TenantShown> {
  const row = await directory(ctx.env).select().from(tenants).where(eq(tenants.id, id)).get()
  if (!row) throw problem.notFound('tenant', id)
  return shown(row)
}

/**
 * Changes a tenant; everywhere within ten seconds a suspended one is refused, and new limits hold. A status takes a
 * cancellation back, until the deletion begins.
 */
export function patchTenant(ctx: Context, id: string, input: PatchTenant): Promise<TenantShown> {
  const decide = (row: TenantRow): Partial<TenantRow> => {
    if (row.is_platform === 1 && input.status === 'suspended')
      throw problem.invalid({ status: 'the platform’s own tenant can’t be suspended' })
    if (row.status === 'cancelled' && input.status === undefined)
      throw problem('conflict', 'The tenant was cancelled')
    const { rate_limits, ...fields } = input
    return {
      ...defined(fields),
      ...(row.status === 'cancelled' ? { cancelled_at: null } : {}),
      ...(rate_limits === undefined ? {} : { rate_limits: withLimits(row.rate_limits, rate_limits) }),
    }
  }
  const along = (row: TenantRow) => (row.status === 'cancelled' ? [calledOff(ctx, id)] : [])
  return changeTenant(ctx, id, (row) => actionOf(row, input), decide, undefined, along)
}

function actionOf(row: TenantRow, { status }: PatchTenant): string {
  if (row.status === 'cancelled') return 'tenant.restore'
  if (status === undefined || status === row.status) return 'tenant.update'
  return status === 'suspended' ? 'tenant.suspend' : 'tenant.resume'
}

/** Cancels a tenant: it is refused everywhere within ten seconds, and its data are deleted after thirty days. */
export function cancelTenant(ctx: Context, id: string): Promise<undefined> {
  const decide = (row: TenantRow): Partial<TenantRow> => {
    if (row.is_platform === 1) throw problem('conflict', 'The platform’s own tenant can’t be cancelled')
    if (row.status === 'cancelled') throw problem('conflict', 'The tenant was cancelled already')
    return { status: 'cancelled', cancelled_at: iso(ctx.now) }
  }
  const along = () => [scheduled(ctx, id, ctx.principal.id)]
  return changeTenant<undefined>(ctx, id, 'tenant.cancel', decide, () => undefined, along)
}

/** A tenant's own numbers after a change: null takes one back, or all of them. */
function withLimits(own: OwnLimits, sent: SetRateLimits | undefined): OwnLimits {
  if (sent === null) return {}
  const next: OwnLimits = { ...own }
  for (const name of LIMIT_NAMES) {
    const value = sent?.[name]
    if (value === null) delete next[name]
    else if (value !== undefined) next[name] = value
  }
  return next
}

/** The context for what the platform does in a tenant; 404. */
export async function insideTenant(ctx: Context, id: string): Promise<Context> {
  const row = await directory(ctx.env).select().from(tenants).where(eq(tenants.id, id)).get()
  if (!row) throw problem.notFound('tenant', id)
  return contextFor(ctx, tenantView(row), ctx.principal)
}

/** Makes an API key for a tenant, without a maker in it. 409 for one that was cancelled. */
export async function createTenantKey(ctx: Context, input: CreateTenantKey) {
  const inside = await insideTenant(ctx, input.tenant_id)
  const held = scopesOf('admin')
  const scopes = input.permissions
    ? scopesByAction(input.permissions)
    : (input.scopes ?? held.filter((scope) => !isAdministrative(scope)))
  return insertKey(inside, input, [...new Set(scopes)], null, {
    holds: isKept(input.tenant_id),
    otherwise: problem('conflict', 'The tenant was cancelled'),
  })
}
