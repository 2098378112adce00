import { and, eq } from 'drizzle-orm'
import type { Caller } from '../../../data/caller'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { knowledgeOf } from '../../identity/knowledge'
import { tenantState } from '../../identity/sessions/standing'
import { partners, partnerTenants, partnerUsers } from '../partners/table'
import { tenants } from '../tenants/table'
import { ActingCaller, stampOf, type UserPrincipal } from './caller'

/** They last as long as the credential that they hang on is remembered. */
const memories = new WeakMap<Caller, Map<string, ActingCaller>>()
/** Tenants that one credential is remembered in. */
const MOST = 1_000

/**
 * Who a user's credential stands for in a tenant of others: from memory, else D1. Null where it is not theirs, or is
 * none; whether it still counts is the caller's `refusal`.
 */
export function actingIn(
  env: Bindings,
  by: Caller,
  tenantId: string,
): ActingCaller | null | Promise<ActingCaller | null> {
  const known = memories.get(by)?.get(tenantId)
  if (known?.isFresh(env)) return known
  const { principal } = by
  return principal.kind === 'user' && !principal.tenant_only ? look(env, by, principal, tenantId) : null
}

async function look(env: Bindings, by: Caller, self: UserPrincipal, tenantId: string) {
  const stamp = stampOf(env, by, tenantId)
  // Whoever names what is not theirs must not push out what is known of others.
  if (!(await read(env, by, self, tenantId))) return null
  // Asked for before D1 is: what is told meanwhile must not be missed.
  const knowledge = knowledgeOf(env, tenantId)
  const found = await read(env, by, self, tenantId)
  if (!found) return null
  knowledge.learnTenant(tenantState(found.tenant))
  const caller = new ActingCaller(by, self, knowledge, found, stamp)
  const memory = memories.get(by) ?? new Map<string, ActingCaller>()
  if (memory.size >= MOST) memory.clear()
  memories.set(by, memory.set(tenantId, caller))
  return caller
}

function read(env: Bindings, by: Caller, self: UserPrincipal, tenantId: string) {
  return self.scopes.has('platform:*') ? asPlatform(env, tenantId) : asPartner(env, by, self.id, tenantId)
}

async function asPlatform(env: Bindings, tenantId: string) {
  const tenant = await directory(env).select().from(tenants).where(eq(tenants.id, tenantId)).get()
  return tenant && { tenant, role: 'admin', partner_id: null }
}

function asPartner(env: Bindings, by: Caller, userId: string, tenantId: string) {
  return directory(env)
    .select({ tenant: tenants, role: partnerTenants.role, partner_id: partners.id })
    .from(partnerUsers)
    .innerJoin(partners, eq(partners.id, partnerUsers.partner_id))
    .innerJoin(partnerTenants, eq(partnerTenants.partner_id, partners.id))
    .innerJoin(tenants, eq(tenants.id, partnerTenants.tenant_id))
    .where(
      and(
        eq(partnerUsers.tenant_id, by.tenantId),
        eq(partnerUsers.id, userId),
        eq(partnerTenants.tenant_id, tenantId),
        eq(partners.status, 'active'),
      ),
    )
    .get()
}
