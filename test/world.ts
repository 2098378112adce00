import { env, exports } from 'cloudflare:workers'
import type { Context, RequestContext } from '../src/data/context'
import { directory } from '../src/data/database'
import { contextFor } from '../src/data/system'
import { insertKey } from '../src/domains/identity/api-keys/service'
import { tokensFor } from '../src/domains/identity/sessions/open'
import { tenantView } from '../src/domains/identity/sessions/standing'
import { sessions } from '../src/domains/identity/sessions/table'
import { newUser } from '../src/domains/identity/users/register'
import { type UserRow, users } from '../src/domains/identity/users/table'
import type { OwnLimits, PlanName } from '../src/domains/tenancy/plans'
import { type Role, scopesOf } from '../src/domains/tenancy/scopes'
import { newTenant } from '../src/domains/tenancy/tenants/new-tenant'
import type { TenantSettings } from '../src/domains/tenancy/tenants/settings'
import { type TenantRow, tenants } from '../src/domains/tenancy/tenants/table'
import { type Bindings, settingsOf } from '../src/env'
import { iso, newId } from '../src/lib/ids'

// Seeds straight into D1, without the cost of hashing a password; everything else goes through HTTP.

const bindings = env as unknown as Bindings

/** A user with a live session. */
export type Person = { user: UserRow; session_id: string; token: string }

/** A tenant with one user of each role. */
export type World = {
  tenant: TenantRow
  admin: Person
  developer: Person
  member: Person
  viewer: Person
  /** An API key with every scope of an admin. */
  apiKey: string
  ctx: Context
}

/** A request context as the middleware makes it, at the present moment. */
export function requestContext(overrides: Partial<RequestContext> = {}): RequestContext {
  return {
    env: bindings,
    settings: settingsOf(bindings),
    now: Date.now(),
    requestId: `req_${crypto.randomUUID()}`,
    correlationId: 'test',
    traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    address: '203.0.113.7',
    userAgent: 'test',
    ifMatch: undefined,
    idempotency: null,
    defer: (work) => void work.catch(() => undefined),
    ...overrides,
  }
}

/** Makes a tenant with users of every role, their tokens and an API key. */
export async function makeWorld(
  options: {
    settings?: Partial<TenantSettings>
    plan?: PlanName
    rate_limits?: OwnLimits
    platform?: boolean
  } = {},
): Promise<World> {
  const request = requestContext()
  const id = newId(request.now)
  const tenant = newTenant(request, {
    id,
    name: `Tenant ${id.slice(-4)}`,
    slug: `t-${id}`,
    settings: options.settings ?? {},
    plan: options.plan ?? 'starter',
    rate_limits: options.rate_limits ?? {},
    is_platform: options.platform ? 1 : 0,
  })
  await directory(bindings).insert(tenants).values(tenant)
  const admin = await makePerson(tenant, 'admin')
  const ctx = contextFor(request, tenantView(tenant), {
    kind: 'user',
    id: admin.user.id,
    email: admin.user.email,
    role: 'admin',
    scopes: new Set(scopesOf('admin')),
    session_id: admin.session_id,
  })
  const key = await insertKey(ctx, { name: 'test' }, [...scopesOf('admin')], admin.user.id)
  return {
    tenant,
    admin,
    developer: await makePerson(tenant, 'developer'),
    member: await makePerson(tenant, 'member'),
    viewer: await makePerson(tenant, 'viewer'),
    apiKey: key.key,
    ctx,
  }
}

/** Adds a user with a session to a tenant. */
export async function makePerson(tenant: TenantRow, role: Role): Promise<Person> {
  const request = requestContext()
  const id = newId(request.now)
  const user = newUser(request, {
    id,
    tenant_id: tenant.id,
    email: `${role}-${id}@example.com`,
    role,
    password_hash: null,
  })
  const session_id = newId(request.now)
  const now = iso(request.now)
  const session = { tenant_id: tenant.id, id: session_id, user_id: id, created_at: now, last_seen_at: now }
  await directory(bindings).insert(users).values(user)
  await directory(bindings)
    .insert(sessions)
    .values({ ...session, expires_at: iso(request.now + 3600_000) })
  const { access_token } = await tokensFor(request, user, session_id, 'none', '')
  return { user, session_id, token: access_token }
}

/** Gives people new access tokens, as a refresh does: those of before end with a change of role or membership. */
export async function renew(...people: Person[]): Promise<void> {
  for (const person of people)
    person.token = (
      await tokensFor(requestContext(), person.user, person.session_id, 'none', '')
    ).access_token
}

/** A platform administrator with a token. */
export async function makePlatformAdmin(): Promise<Person> {
  const request = requestContext()
  const id = newId(request.now)
  const tenant = newTenant(request, { id, name: 'Platform', slug: `platform-${id}`, is_platform: 1 })
  await directory(bindings).insert(tenants).values(tenant)
  return makePerson(tenant, 'platform_admin')
}

type Init = { token?: string; key?: string; body?: unknown; headers?: Record<string, string>; raw?: BodyInit }

let addresses = 0

/** An address of its own for whoever asks, since limits by address would refuse the tests of one address. */
export function newAddress(): string {
  addresses += 1
  return `10.${(addresses >> 16) & 255}.${(addresses >> 8) & 255}.${addresses & 255}`
}

/** The Worker's answer to a request, as a client would get it; each comes from another address unless it says which. */
export function call(method: string, path: string, init: Init = {}): Promise<Response> {
  const headers = new Headers(init.headers)
  if (!headers.has('CF-Connecting-IP')) headers.set('CF-Connecting-IP', newAddress())
  if (init.token) headers.set('Authorization', `Bearer ${init.token}`)
  if (init.key) headers.set('X-API-Key', init.key)
  if (init.body !== undefined && !headers.has('Content-Type')) headers.set('Content-Type', 'application/json')
  const body = init.raw ?? (init.body === undefined ? null : JSON.stringify(init.body))
  return exports.default.fetch(
    new Request(`http://localhost:8787${path}`, { method, headers, body, redirect: 'manual' }),
  )
}

/** The same, its JSON read. */
export async function callJson<T = Record<string, unknown>>(
  method: string,
  path: string,
  init: Init = {},
): Promise<{ status: number; headers: Headers; data: T; error: ErrorBody; meta: Record<string, unknown> }> {
  const response = await call(method, path, init)
  const text = await response.text()
  const json = text === '' ? {} : JSON.parse(text)
  return {
    status: response.status,
    headers: response.headers,
    data: json.data,
    error: json.error,
    meta: json.meta,
  }
}

export type ErrorBody = {
  code: string
  message: string
  details: { fields?: Record<string, string> } & Record<string, unknown>
}
