import type { Bindings } from '../env'
import { settingsOf } from '../env'
import { hex } from '../lib/encoding'
import { describeError, log } from '../lib/log'
import type { Context, Principal, RequestContext, Tenant } from './context'
import { databaseOf, tenantDatabase } from './database'

/** A request's context for a tenant that no credential named: registration, login, an incoming webhook. */
export function contextFor(
  request: RequestContext,
  tenant: Tenant,
  principal: Principal = { kind: 'anonymous', id: null, scopes: new Set() },
): Context {
  return { ...request, tenant, principal, impersonator: null, db: databaseOf(request, tenant.id) }
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
