import type { Context as HonoContext } from 'hono'
import { getCookie } from 'hono/cookie'
import type { Principal, Tenant } from '../../data/context'
import { tenantDatabase } from '../../data/database'
import { settingsOf } from '../../env'
import type { AppEnv } from '../../http/app-env'
import type { Check } from '../../http/checks'
import { routeOf } from '../../http/notes'
import { allowedOrigin } from '../../http/security'
import { problem } from '../../lib/problem'
import { verifyApiKey } from './api-keys/verify'
import { standingOf } from './sessions/standing'
import { verifyAccessToken } from './tokens/access-token'

type Caller = { principal: Principal; tenant: Tenant }

/**
 * Settles who is calling, for every route that is not `open()`: a token or key from a header, else the cookie. The
 * tenant comes with the credential. Warm, it reads nothing.
 */
export const authenticate: Check = async (c) => {
  const { note } = routeOf(c)
  if (!note || note.open) return
  const caller = await callerOf(c)
  if (caller.tenant.status === 'suspended') throw problem('tenant_suspended', 'The tenant is suspended')
  if (caller.tenant.status === 'cancelled') throw problem('tenant_cancelled', 'The tenant was cancelled')
  c.set('ctx', {
    ...c.get('request'),
    principal: caller.principal,
    tenant: caller.tenant,
    db: tenantDatabase(c.env, caller.tenant.id),
  })
}

async function callerOf(c: HonoContext<AppEnv>): Promise<Caller> {
  const bearer = bearerOf(c.req.raw.headers.get('Authorization'))
  const header = c.req.raw.headers.get('X-API-Key')?.trim() || null
  if (bearer !== null && header !== null)
    return theSame(await byCredential(c, bearer), await byCredential(c, header))
  const given = bearer ?? header
  if (given !== null) return byCredential(c, given)
  const cookie = c.req.raw.headers.has('Cookie') ? getCookie(c, 'access_token') : undefined
  if (!cookie) throw missing()
  const caller = await byToken(c, cookie)
  refuseForeignOrigin(c)
  return caller
}

function theSame(caller: Caller, other: Caller): Caller {
  if (caller.principal.kind === other.principal.kind && caller.principal.id === other.principal.id)
    return caller
  throw problem.unauthorized('ambiguous_credentials', 'Authorization and X-API-Key name different callers')
}

const missing = () => problem.unauthorized('credential_required', 'This needs a credential')

function bearerOf(header: string | null): string | null {
  if (header === null) return null
  const token = /^Bearer +([^\s]+)\s*$/i.exec(header)?.[1]
  if (!token) throw problem.unauthorized('invalid_token', 'Authorization must be: Bearer <token>')
  return token
}

function byCredential(c: HonoContext<AppEnv>, credential: string): Promise<Caller> {
  return credential.startsWith('sk_') ? byKey(c, credential) : byToken(c, credential)
}

async function byToken(c: HonoContext<AppEnv>, token: string): Promise<Caller> {
  const request = c.get('request')
  const claims = await verifyAccessToken(request, token)
  const standing = await standingOf(request, claims.tenant_id, claims.sub, claims.sid)
  // A change of role revokes the tokens that were issued before it.
  if (!standing || standing.ended || standing.role !== claims.role)
    throw problem.unauthorized('token_revoked', 'The session has ended')
  if (standing.user_status === 'suspended') throw problem('user_suspended', 'The user is suspended')
  // The role means nothing outside the platform's own tenant, however a row came to name it.
  if (claims.role === 'platform_admin' && !standing.is_platform)
    throw problem('platform_only', 'The role is the platform’s, the tenant is not')
  return {
    principal: {
      kind: 'user',
      id: claims.sub,
      email: claims.email,
      role: claims.role,
      scopes: scopeSet(claims.scopes),
      session_id: claims.sid,
    },
    tenant: standing.tenant,
  }
}

async function byKey(c: HonoContext<AppEnv>, value: string): Promise<Caller> {
  const key = await verifyApiKey(c.get('request'), value)
  if (key.user_status === 'suspended') throw problem('user_suspended', 'The key’s maker is suspended')
  const { id, name, user_id, role, scopes, limits, tenant } = key
  return { principal: { kind: 'api_key', id, name, user_id, role, scopes, limits }, tenant }
}

const sets = new WeakMap<readonly string[], ReadonlySet<string>>()

/** Claims are remembered with their token, so their set is made once. */
function scopeSet(scopes: readonly string[]): ReadonlySet<string> {
  let set = sets.get(scopes)
  if (!set) {
    set = new Set(scopes)
    sets.set(scopes, set)
  }
  return set
}

/**
 * A cookie goes along with whatever a page makes the browser send, so a write (or an upgrade to a socket) by cookie
 * must come from an allowed origin. With neither header the caller is no browser.
 */
export function refuseForeignOrigin(c: HonoContext): void {
  const upgrade = c.req.raw.headers.get('Upgrade') !== null
  if (!upgrade && (c.req.method === 'GET' || c.req.method === 'HEAD')) return
  const origin = c.req.raw.headers.get('Origin')
  const site = c.req.raw.headers.get('Sec-Fetch-Site')
  const fine =
    origin !== null
      ? allowedOrigin(settingsOf(c.env), origin) || origin === new URL(c.req.url).origin
      : site === null || site === 'same-origin' || site === 'none'
  if (!fine) throw problem('origin_refused', 'A write by cookie must come from an allowed origin')
}
