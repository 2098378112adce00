import { and, desc, eq, gte, lt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { type Page, pageOf } from '../../../data/page'
import { contextFor } from '../../../data/system'
import { randomBytes, sha256 } from '../../../lib/crypto'
import { defined } from '../../../lib/defined'
import { base64url } from '../../../lib/encoding'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { insertKey } from '../../identity/api-keys/service'
import { invitations } from '../../identity/invitations/table'
import { tenantView } from '../../identity/sessions/standing'
import { mailStatement } from '../../mail/compose'
import { LIMIT_NAMES, type OwnLimits } from '../plans'
import { isAdministrative, scopesByAction, scopesOf } from '../scopes'
import { newTenant } from '../tenants/new-tenant'
import type { SetRateLimits } from '../tenants/schema'
import { changeTenant, shown, slugTaken, type TenantShown } from '../tenants/service'
import { tenants } from '../tenants/table'
import type { CreateTenant, CreateTenantKey, PatchTenant } from './schema'

/** An invitation is open for a week. */
const INVITATION_MS = 7 * 24 * 3600_000

/** Makes a tenant; an invitation to be its admin goes to `admin_email`. */
export async function createTenant(ctx: Context, input: CreateTenant): Promise<TenantShown> {
  const { name, slug, plan } = input
  const rate_limits = withLimits({}, input.rate_limits)
  const tenant = newTenant(ctx, { id: newId(ctx.now), name, slug, plan, rate_limits })
  const inside = contextFor(ctx, tenantView(tenant), ctx.principal)
  const invitation = input.admin_email ? await inviteAdmin(inside, input.admin_email) : []
  return commit(inside, {
    statements: [directory(ctx.env).insert(tenants).values(tenant), ...invitation],
    result: shown(tenant),
    audit: {
      action: 'tenant.create',
      resource: 'tenant',
      resource_id: tenant.id,
      after: { name, slug, plan, rate_limits },
    },
    unique: { 'tenants.slug': slugTaken(input.slug) },
  })
}

async function inviteAdmin(ctx: Context, email: string) {
  const token = base64url(randomBytes(32))
  const row = {
    tenant_id: ctx.tenant.id,
    id: newId(ctx.now),
    email,
    role: 'admin' as const,
    hash: await sha256(token),
    created_at: iso(ctx.now),
    expires_at: iso(ctx.now + INVITATION_MS),
  }
  return [ctx.db.insert(invitations).values(row), mailStatement(ctx, email, 'invitation', token)]
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

/** Changes a tenant; everywhere within ten seconds a suspended one is refused, and new limits hold. */
export function patchTenant(ctx: Context, id: string, input: PatchTenant): Promise<TenantShown> {
  if (id === ctx.tenant.id && input.status === 'suspended')
    throw problem.invalid({ status: 'the platform’s own tenant can’t be suspended' })
  const action = input.status === 'suspended' ? 'tenant.suspend' : 'tenant.update'
  return changeTenant(ctx, id, action, (row) => {
    if (row.status === 'cancelled') throw problem('conflict', 'The tenant was cancelled')
    const { rate_limits, ...fields } = input
    return {
      ...defined(fields),
      ...(rate_limits === undefined ? {} : { rate_limits: withLimits(row.rate_limits, rate_limits) }),
    }
  })
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

/** Makes an API key for a tenant, without a maker in it. */
export async function createTenantKey(ctx: Context, input: CreateTenantKey) {
  const row = await directory(ctx.env).select().from(tenants).where(eq(tenants.id, input.tenant_id)).get()
  if (!row) throw problem.notFound('tenant', input.tenant_id)
  const held = scopesOf('admin')
  const scopes = input.permissions
    ? scopesByAction(input.permissions)
    : (input.scopes ?? held.filter((scope) => !isAdministrative(scope)))
  return insertKey(contextFor(ctx, tenantView(row), ctx.principal), input, [...new Set(scopes)], null)
}
