import { and, eq } from 'drizzle-orm'
import type { RequestContext, Tenant } from '../../../data/context'
import { directory } from '../../../data/database'
import { Remembered } from '../../../lib/remembered'
import { effectiveSettings } from '../../tenancy/tenants/settings'
import { tenants } from '../../tenancy/tenants/table'
import { users } from '../users/table'
import { sessions } from './table'

/** How a session stands: whether it still counts, and what of its user and tenant may have changed since it began. */
export type Standing = {
  session_id: string
  tenant: Tenant
  is_platform: boolean
  role: string
  user_status: 'active' | 'suspended'
  ended: boolean
}

/** What was revoked stops within ten seconds everywhere (identity.md): an isolate believes itself for nine at the most. */
export const STANDING_FRESH_MS = 5_000
export const STANDING_MAX_MS = 9_000

const standings = new Remembered<Standing | null>(STANDING_FRESH_MS, STANDING_MAX_MS)

type Caller = Pick<RequestContext, 'env' | 'now'>

/** How the session stands, as this isolate knew it at most nine seconds ago; null where there is no such session. */
export function standingOf(
  caller: Caller,
  tenantId: string,
  userId: string,
  sessionId: string,
): Promise<Standing | null> {
  return standings.get(`${tenantId}:${userId}:${sessionId}`, caller.now, async () => {
    const row = await directory(caller.env)
      .select({ tenant: tenants, role: users.role, user_status: users.status, ended_at: sessions.ended_at })
      .from(sessions)
      .innerJoin(users, and(eq(users.tenant_id, sessions.tenant_id), eq(users.id, sessions.user_id)))
      .innerJoin(tenants, eq(tenants.id, sessions.tenant_id))
      .where(and(eq(sessions.tenant_id, tenantId), eq(sessions.id, sessionId), eq(sessions.user_id, userId)))
      .get()
    if (!row) return null
    return {
      session_id: sessionId,
      tenant: tenantView(row.tenant),
      is_platform: row.tenant.is_platform === 1,
      role: row.role,
      user_status: row.user_status,
      ended: row.ended_at !== null,
    }
  })
}

/** Makes this isolate look again: what it ended itself stops here at once. */
export function forgetSession(sessionId: string): void {
  standings.forgetWhere((standing) => standing?.session_id === sessionId)
}

/** Makes this isolate look again at every session of a tenant. */
export function forgetTenant(tenantId: string): void {
  standings.forgetWhere((standing) => standing?.tenant.id === tenantId)
}

/** A tenant's row as a context carries it. */
export function tenantView(row: typeof tenants.$inferSelect): Tenant {
  return {
    id: row.id,
    plan: row.plan,
    status: row.status,
    region: row.region,
    settings: effectiveSettings(row.plan, row.settings),
    rate_limits: row.rate_limits,
  }
}
