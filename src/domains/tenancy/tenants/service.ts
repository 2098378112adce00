import { and, asc, eq, gt, sql } from 'drizzle-orm'
import { type Change, commit } from '../../../data/commit'
import type { Context, RequestContext, Tenant } from '../../../data/context'
import { directory } from '../../../data/database'
import { contextFor } from '../../../data/system'
import type { Bindings } from '../../../env'
import { differs } from '../../../lib/differs'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { tenantChange } from '../../identity/knowledge'
import { tenantState, tenantView } from '../../identity/sessions/standing'
import { hashPassword } from '../../identity/users/password'
import { newUser, userCreated } from '../../identity/users/register'
import { type UserRow, users } from '../../identity/users/table'
import { registrationMail } from '../../identity/users/verification'
import { type Limits, limitsOf, termsOf } from '../plans'
import { newTenant } from './new-tenant'
import { refuseOtherTenant } from './pinned'
import { regionFor } from './region'
import type { Onboard, UpdateTenant } from './schema'
import { effectiveSettings, type TenantSettings } from './settings'
import { type TenantRow, tenants } from './table'

/** A tenant as it is shown: its settings with the defaults filled in, its limits with the plan's. */
export type TenantShown = Omit<TenantRow, 'settings' | 'rate_limits'> & {
  settings: TenantSettings
  rate_limits: Limits
}

export const shown = (row: TenantRow): TenantShown => ({
  ...row,
  settings: effectiveSettings(row.plan, row.settings),
  rate_limits: limitsOf(row),
})

/** Signs a company up: the tenant and its first admin in one batch. 409 `slug_taken`. */
export async function onboard(
  request: RequestContext,
  input: Onboard,
): Promise<{ id: string; tenant: TenantShown; user: UserRow }> {
  refuseOtherTenant(request, null)
  const { name, slug } = input
  const region = regionFor(request, input.region)
  const tenant = newTenant(request, { id: newId(request.now), name, slug, region })
  const user = newUser(request, {
    id: newId(request.now),
    tenant_id: tenant.id,
    email: input.email,
    full_name: input.full_name ?? null,
    role: 'admin',
    password_hash: await hashPassword(input.password),
  })
  const ctx = contextFor(request, tenantView(tenant))
  const mail = await registrationMail(ctx, user)
  return commit(ctx, {
    statements: [
      directory(request.env).insert(tenants).values(tenant),
      ctx.db.insert(users).values(user),
      ...mail,
    ],
    result: { id: tenant.id, tenant: shown(tenant), user },
    audit: {
      action: 'tenant.create',
      resource: 'tenant',
      resource_id: tenant.id,
      after: { name: tenant.name, slug: tenant.slug, admin: user.email },
    },
    events: [userCreated(user)],
    unique: { 'tenants.slug': slugTaken(input.slug) },
  })
}

export const slugTaken = (slug: string) => problem('slug_taken', `The slug ${slug} is taken`)

/** The caller's tenant. */
export async function currentTenant(ctx: Context): Promise<TenantShown> {
  return shown(await readTenant(ctx, ctx.tenant.id))
}

/** Changes the name and settings of the caller's tenant; `view` makes the answer of the tenant as it is then. */
export function updateCurrentTenant<T = TenantShown>(
  ctx: Context,
  input: UpdateTenant,
  view: (tenant: TenantShown) => T = (tenant) => tenant as T,
): Promise<T> {
  const decide = (row: TenantRow) => {
    refuseAbovePlan(row, input.settings?.max_users)
    return {
      ...(input.name === undefined ? {} : { name: input.name }),
      ...(input.settings === undefined ? {} : { settings: merge(row.settings, input.settings) }),
    }
  }
  return changeTenant(ctx, ctx.tenant.id, 'tenant.update', decide, view)
}

function refuseAbovePlan({ plan }: TenantRow, maxUsers = 0): void {
  const { users } = termsOf(plan)
  if (maxUsers > users)
    throw problem.invalid({ 'settings.max_users': `must be at most ${users}, which the plan ${plan} has` })
}

const merge = (set: Partial<TenantSettings>, sent: object): Partial<TenantSettings> => ({
  ...set,
  ...Object.fromEntries(Object.entries(sent).filter(([, value]) => value !== undefined)),
})

async function readTenant(request: RequestContext, id: string): Promise<TenantRow> {
  const row = await directory(request.env).select().from(tenants).where(eq(tenants.id, id)).get()
  if (!row) throw problem.notFound('tenant', id)
  return row
}

const ATTEMPTS = 5

/**
 * Changes a tenant's row in the directory, audited in that tenant; decided anew when others write meanwhile. What goes
 * `along` is in the same batch. Where the row is so already, nothing is written.
 */
export async function changeTenant<T = TenantShown>(
  ctx: Context,
  id: string,
  action: string | ((row: TenantRow) => string),
  decide: (row: TenantRow) => Partial<TenantRow>,
  view: (tenant: TenantShown) => T = (tenant) => tenant as T,
  along: (row: TenantRow) => Change<T>['statements'] = () => [],
): Promise<T> {
  const stale = problem('precondition_failed', 'The tenant has changed since it was read')
  for (let attempt = 1; ; attempt++) {
    const row = await readTenant(ctx, id)
    if (ctx.ifMatch !== undefined && ctx.ifMatch !== row.version) throw stale
    const set = decide(row)
    const inside = id === ctx.tenant.id ? ctx : contextFor(ctx, tenantView(row), ctx.principal)
    if (!differs(row, set)) return commit(inside, { statements: [], result: view(shown(row)) })
    const next = { ...row, ...set, updated_at: iso(ctx.now), version: row.version + 1 }
    const update = directory(ctx.env)
      .update(tenants)
      .set({ ...set, updated_at: next.updated_at, version: sql`version + 1` })
      .where(and(eq(tenants.id, id), eq(tenants.version, row.version)))
    const before = Object.fromEntries(Object.keys(set).map((key) => [key, row[key as keyof TenantRow]]))
    try {
      return await commit(inside, {
        statements: [{ statement: update, otherwise: stale }, ...along(row)],
        result: view(shown(next)),
        audit: {
          ...{ action: typeof action === 'string' ? action : action(row), resource: 'tenant' },
          ...{ resource_id: id, before, after: set },
        },
        tell: [tenantChange(tenantState(next))],
      })
    } catch (error) {
      if (error !== stale || ctx.ifMatch !== undefined || attempt === ATTEMPTS) throw error
    }
  }
}

/** Tenants read at a time by what visits all of them. */
const SLICE = 200
/** Tenants visited at once: most of a visit is waiting for D1. */
const AT_ONCE = 8

/** Visits every tenant there is, some at a time. */
export async function eachTenant(env: Bindings, visit: (tenant: Tenant) => Promise<void>): Promise<void> {
  let after = ''
  for (;;) {
    const some = await directory(env)
      .select()
      .from(tenants)
      .where(gt(tenants.id, after))
      .orderBy(asc(tenants.id))
      .limit(SLICE)
    for (let at = 0; at < some.length; at += AT_ONCE)
      await Promise.all(some.slice(at, at + AT_ONCE).map((row) => visit(tenantView(row))))
    const last = some.at(-1)
    if (!last || some.length < SLICE) return
    after = last.id
  }
}
