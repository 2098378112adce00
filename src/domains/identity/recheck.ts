import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Impersonator } from '../../data/context'
import { directory } from '../../data/database'
import type { Bindings } from '../../env'
import { iso } from '../../lib/ids'
import { partners, partnerTenants, partnerUsers } from '../tenancy/partners/table'
import { scopesOf } from '../tenancy/scopes'
import { tenants } from '../tenancy/tenants/table'
import { apiKeys } from './api-keys/table'
import { issuers, issuerUsers } from './issuers/table'
import { sessions } from './sessions/table'
import { users } from './users/table'

/** A credential that was verified when a connection opened. */
export type Credential = {
  key: string
  kind: 'user' | 'api_key'
  /** Of the user, or of the API key. */
  id: string
  user_id: string | null
  session_id: string | null
  /** The role it was issued for: a change of role ends it. */
  role: string
  /** Who acts in a tenant of others, as at home. */
  impersonator?: Impersonator
}

/** Parameters a D1 statement takes at most, less those around a list. */
const IN_ONE_QUERY = 90

/**
 * The scopes that credentials of long-lived connections carry by what D1 says now, by `key`; one that no longer counts
 * (session ended, key revoked, user or tenant suspended, another role) is missing. Nothing is remembered here.
 */
export async function scopesNow(
  env: Bindings,
  tenantId: string,
  credentials: readonly Credential[],
  now: number,
): Promise<Map<string, readonly string[]>> {
  const at = iso(now)
  const elsewhere = credentials.filter(({ impersonator }) => impersonator !== undefined)
  if (elsewhere.length > 0) {
    const own = credentials.filter(({ impersonator }) => impersonator === undefined)
    const [atHome, acting] = await Promise.all([
      scopesNow(env, tenantId, own, now),
      ofActing(env, tenantId, elsewhere, now),
    ])
    return new Map([...atHome, ...acting])
  }
  const found = await Promise.all([
    ...slices(credentials.filter(({ kind, session_id }) => kind === 'user' && session_id !== null)).map(
      (some) => ofSessions(env, tenantId, some, at),
    ),
    ...slices(credentials.filter(({ kind, session_id }) => kind === 'user' && session_id === null)).map(
      (some) => ofUsers(env, tenantId, some),
    ),
    ...slices(credentials.filter(({ kind }) => kind === 'api_key')).map((some) =>
      ofKeys(env, tenantId, some, at),
    ),
  ])
  return new Map(found.flat())
}

/** Who acts here must count at home still, and be here what he was. */
async function ofActing(env: Bindings, tenantId: string, asked: readonly Credential[], now: number) {
  const found = await Promise.all(
    asked.map(async ({ impersonator: self, ...credential }): Promise<Found> => {
      if (!self) return []
      const { key, role } = credential
      const [atHome, here] = await Promise.all([
        scopesNow(env, self.tenant_id, [{ ...credential, role: self.role }], now),
        roleOf(env, tenantId, self),
      ])
      return atHome.has(key) && here === role ? [[key, scopesOf(role)]] : []
    }),
  )
  return found.flat()
}

/** What somebody from another tenant is in this one now; undefined where that is nothing. */
async function roleOf(env: Bindings, tenantId: string, { id, tenant_id, partner_id }: Impersonator) {
  const isActive = and(eq(tenants.id, tenantId), eq(tenants.status, 'active'))
  if (partner_id === null) {
    const tenant = await directory(env).select({ id: tenants.id }).from(tenants).where(isActive).get()
    return tenant && 'admin'
  }
  const right = await directory(env)
    .select({ role: partnerTenants.role })
    .from(partnerUsers)
    .innerJoin(partners, and(eq(partners.id, partnerUsers.partner_id), eq(partners.status, 'active')))
    .innerJoin(
      partnerTenants,
      and(eq(partnerTenants.tenant_id, tenantId), eq(partnerTenants.partner_id, partners.id)),
    )
    .innerJoin(tenants, isActive)
    .where(and(eq(partnerUsers.tenant_id, tenant_id), eq(partnerUsers.id, id), eq(partners.id, partner_id)))
    .get()
  return right?.role
}

type Found = [key: string, scopes: readonly string[]][]

async function ofSessions(env: Bindings, tenantId: string, asked: Credential[], at: string): Promise<Found> {
  const rows = await directory(env)
    .select({
      id: sessions.id,
      user_id: sessions.user_id,
      ended_at: sessions.ended_at,
      expires_at: sessions.expires_at,
      role: users.role,
      user_status: users.status,
      tenant_status: tenants.status,
    })
    .from(sessions)
    .innerJoin(users, and(eq(users.tenant_id, sessions.tenant_id), eq(users.id, sessions.user_id)))
    .innerJoin(tenants, eq(tenants.id, sessions.tenant_id))
    .where(and(eq(sessions.tenant_id, tenantId), inArray(sessions.id, idsOf(asked, 'session_id'))))
  return matched(asked, rows, ({ session_id, id, role }, row) =>
    row.id === session_id &&
    row.user_id === id &&
    row.role === role &&
    row.ended_at === null &&
    row.expires_at > at
      ? scopesOf(row.role)
      : null,
  )
}

/** Users who came by a token of another issuer: one that they are known by must still be trusted. */
async function ofUsers(env: Bindings, tenantId: string, asked: Credential[]): Promise<Found> {
  const isTrusted = sql`exists (select 1 from ${issuerUsers}
    left join ${issuers} on ${issuers.tenant_id} = ${issuerUsers.tenant_id} and ${issuers.id} = ${issuerUsers.issuer}
    where ${issuerUsers.tenant_id} = ${users.tenant_id} and ${issuerUsers.user_id} = ${users.id}
      and (${issuers.is_active} = 1 or ${issuerUsers.issuer} like 'trusted:%'))`
  const rows = await directory(env)
    .select({ id: users.id, role: users.role, user_status: users.status, tenant_status: tenants.status })
    .from(users)
    .innerJoin(tenants, eq(tenants.id, users.tenant_id))
    .where(and(eq(users.tenant_id, tenantId), inArray(users.id, idsOf(asked, 'id')), isTrusted))
  return matched(asked, rows, ({ id, role }, row) =>
    row.id === id && row.role === role ? scopesOf(row.role) : null,
  )
}

async function ofKeys(env: Bindings, tenantId: string, asked: Credential[], at: string): Promise<Found> {
  const rows = await directory(env)
    .select({
      id: apiKeys.id,
      scopes: apiKeys.scopes,
      revoked_at: apiKeys.revoked_at,
      expires_at: apiKeys.expires_at,
      role: users.role,
      user_status: users.status,
      tenant_status: tenants.status,
    })
    .from(apiKeys)
    .leftJoin(users, and(eq(users.tenant_id, apiKeys.tenant_id), eq(users.id, apiKeys.created_by)))
    .innerJoin(tenants, eq(tenants.id, apiKeys.tenant_id))
    .where(and(eq(apiKeys.tenant_id, tenantId), inArray(apiKeys.id, idsOf(asked, 'id'))))
  return matched(asked, rows, ({ id }, row) => {
    if (row.id !== id || row.revoked_at !== null || (row.expires_at !== null && row.expires_at <= at))
      return null
    // A key that the platform made has no maker whose role could change.
    const allowed = new Set<string>(scopesOf(row.role ?? 'admin'))
    return row.scopes.filter((scope) => allowed.has(scope))
  })
}

type Row = { user_status: string | null; tenant_status: string }

function matched<R extends Row>(
  asked: Credential[],
  rows: R[],
  scopesIn: (credential: Credential, row: R) => readonly string[] | null,
): Found {
  const live = rows.filter(
    ({ user_status, tenant_status }) => tenant_status === 'active' && (user_status ?? 'active') === 'active',
  )
  return asked.flatMap((credential) => {
    const scopes = live.map((row) => scopesIn(credential, row)).find((list) => list !== null)
    return scopes ? [[credential.key, scopes]] : []
  })
}

const idsOf = (asked: Credential[], field: 'id' | 'session_id'): string[] =>
  asked.flatMap((credential) => credential[field] ?? [])

function slices<T>(list: T[]): T[][] {
  return Array.from({ length: Math.ceil(list.length / IN_ONE_QUERY) }, (_, i) =>
    list.slice(i * IN_ONE_QUERY, (i + 1) * IN_ONE_QUERY),
  )
}
