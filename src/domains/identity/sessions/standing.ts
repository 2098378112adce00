import { and, eq } from 'drizzle-orm'
import type { RequestContext, Tenant } from '../../../data/context'
import { directory } from '../../../data/database'
import { effectiveSettings } from '../../tenancy/tenants/settings'
import { tenants } from '../../tenancy/tenants/table'
import { recall, remember, TokenCaller } from '../callers'
import { knowledgeOf, type TenantState } from '../knowledge'
import { type AccessClaims, verifyAccessToken } from '../tokens/access-token'
import { users } from '../users/table'
import { sessions } from './table'

type Caller = Pick<RequestContext, 'env' | 'settings' | 'now'>

/**
 * Who an access token stands for: from memory, else verified and its session read from D1. 401 for a token that is none
 * of ours or has expired; whether it still counts is the caller's `refusal`.
 */
export function callerByToken(
  caller: Caller,
  token: string,
  known = recall(caller.env, token),
): TokenCaller | Promise<TokenCaller> {
  if (!(known instanceof TokenCaller)) return firstSight(caller, token)
  const expired = known.expired(caller.now)
  if (expired) throw expired
  return known
}

async function firstSight(caller: Caller, token: string): Promise<TokenCaller> {
  const claims = await verifyAccessToken(caller, token)
  const knowledge = knowledgeOf(caller.env, claims.tenant_id)
  const row = await read(caller, claims)
  if (row) knowledge.learnTenant(tenantState(row.tenant))
  const found = new TokenCaller(
    knowledge,
    claims,
    row ? { ended: row.ended_at !== null, user: row.user } : null,
  )
  remember(caller.env, token, found)
  return found
}

function read(caller: Caller, { tenant_id, sid, sub }: AccessClaims) {
  return directory(caller.env)
    .select({
      tenant: tenants,
      user: { role: users.role, status: users.status, version: users.version },
      ended_at: sessions.ended_at,
    })
    .from(sessions)
    .innerJoin(users, and(eq(users.tenant_id, sessions.tenant_id), eq(users.id, sessions.user_id)))
    .innerJoin(tenants, eq(tenants.id, sessions.tenant_id))
    .where(and(eq(sessions.tenant_id, tenant_id), eq(sessions.id, sid), eq(sessions.user_id, sub)))
    .get()
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

/** A tenant's row as isolates know it. */
export function tenantState(row: typeof tenants.$inferSelect): TenantState {
  return { tenant: tenantView(row), is_platform: row.is_platform === 1, version: row.version }
}
