import type { Bindings } from '../env'
import { settingsOf } from '../env'
import { hex } from '../lib/encoding'
import { describeError, log } from '../lib/log'
import type { Context, Impersonator, Principal, RequestContext, Tenant } from './context'
import { databaseOf, tenantDatabase } from './database'

/**
 * A request's context for a tenant that no credential named: registration, login, what the platform does to a tenant. Who
 * comes from a tenant of their own is on record with it.
 */
export function contextFor(
  request: RequestContext & Partial<Pick<Context, 'tenant' | 'principal' | 'impersonator'>>,
  tenant: Tenant,
  principal: Principal = { kind: 'anonymous', id: null, scopes: new Set() },
): Context {
  const impersonator =
    principal === request.principal ? (request.impersonator ?? behind(request, tenant)) : null
  return { ...request, tenant, principal, impersonator, db: databaseOf(request, tenant.id) }
}

/** The caller as one who comes from another tenant; null where it is this one, or nobody's. */
function behind(from: Partial<Pick<Context, 'tenant' | 'principal'>>, there: Tenant): Impersonator | null {
  const { tenant, principal } = from
  if (!tenant || tenant.id === there.id) return null
  if (principal?.kind !== 'user' && principal?.kind !== 'api_key') return null
  const { kind, id, role } = principal
  return { kind, id, tenant_id: tenant.id, role, partner_id: null }
}

/** The context of work that no request asked for: a queue message, an alarm, a cron run. `worker` goes to the audit log. */
export function systemContext(
  env: Bindings,
  tenant: Tenant,
  worker: string,
  defer: (work: Promise<unknown>) => void,
): Context {
  const random = hex(crypto.getRandomValues(new Uint8Array(36)))
  return {
    env,
    settings: settingsOf(env),
    now: Date.now(),
    requestId: `req_${random.slice(0, 24)}`,
    correlationId: `req_${random.slice(0, 24)}`,
    traceparent: `00-${random.slice(24, 56)}-${random.slice(56, 72)}-01`,
    address: null,
    userAgent: null,
    ifMatch: undefined,
    idempotency: null,
    defer: (work) =>
      defer(
        work.catch((error) => log.error('deferred_work_failed', { worker, cause: describeError(error) })),
      ),
    tenant,
    principal: { kind: 'system', id: worker, scopes: new Set() },
    impersonator: null,
    db: tenantDatabase(env, tenant.id),
  }
}

/** A tenant of whom only the id matters: what runs for it reads and writes its rows and asks nothing of its plan. */
export function bareTenant(id: string): Tenant {
  return { id, plan: 'starter', status: 'active', settings: {}, rate_limits: {}, region: null }
}
