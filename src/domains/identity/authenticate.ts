import type { Context as HonoContext } from 'hono'
import { getCookie } from 'hono/cookie'
import { databaseOf } from '../../data/database'
import { settingsOf } from '../../env'
import type { AppEnv } from '../../http/app-env'
import type { Check } from '../../http/checks'
import { routeOf } from '../../http/notes'
import { allowedOrigin } from '../../http/security'
import { problem } from '../../lib/problem'
import type { KnownCaller } from './callers'
import { bearerOf, callerByCredential } from './credentials'
import { callerByToken } from './sessions/standing'
import { takeTicketed } from './tickets'

/**
 * Settles who is calling, for every route that is not `open()`: a token or key from a header, else the cookie. The
 * tenant comes with the credential. Warm, it reads nothing and waits for nothing. What was ended for ever is refused
 * here; what may have been lifted since (a suspension) is left to those who can ask (metering/changes/middleware.ts).
 */
export const authenticate: Check = (c) => {
  const { note } = routeOf(c)
  if (!note || note.open) return
  const caller = callerOf(c)
  return caller instanceof Promise ? caller.then((found) => enter(c, found)) : enter(c, caller)
}

function enter(c: HonoContext<AppEnv>, caller: KnownCaller): undefined {
  const { refusal } = caller
  if (refusal?.final) throw refusal.problem()
  const { principal, tenant } = caller
  const request = c.get('request')
  c.set('caller', caller)
  c.set('ctx', { ...request, principal, impersonator: null, tenant, db: databaseOf(request, tenant.id) })
}

function callerOf(c: HonoContext<AppEnv>): KnownCaller | Promise<KnownCaller> {
  const headers = c.req.raw.headers
  const bearer = bearerOf(headers.get('Authorization'))
  const header = headers.get('X-API-Key')?.trim() || null
  if (bearer !== null && header !== null) return theSame(c, bearer, header)
  const given = bearer ?? header
  if (given !== null) return byCredential(c, given)
  const ticket = routeOf(c).note?.ticket ? c.req.query('ticket') : undefined
  if (ticket !== undefined) return byTicket(c, ticket)
  const cookie = headers.has('Cookie') ? getCookie(c, 'access_token') : undefined
  if (!cookie) throw missing()
  return byCookie(c, cookie)
}

async function byTicket(c: HonoContext<AppEnv>, ticket: string): Promise<KnownCaller> {
  const { credential, named } = await takeTicketed(c.get('request'), ticket)
  return callerByCredential(c.get('request'), credential, named)
}

async function theSame(c: HonoContext<AppEnv>, bearer: string, header: string): Promise<KnownCaller> {
  const caller = await byCredential(c, bearer)
  if (caller.refusal?.final) throw caller.refusal.problem()
  const other = await byCredential(c, header)
  const same =
    caller.principal.kind === other.principal.kind &&
    caller.principal.id === other.principal.id &&
    caller.tenantId === other.tenantId
  // Both must count.
  if (same) return other.refusal ? other : caller
  throw problem.unauthorized('ambiguous_credentials', 'Authorization and X-API-Key name different callers')
}

async function byCookie(c: HonoContext<AppEnv>, token: string): Promise<KnownCaller> {
  const caller = await callerByToken(c.get('request'), token)
  // Not only where it counts already: what is refused now may be lifted a moment later.
  if (!caller.refusal?.final) refuseForeignOrigin(c)
  return caller
}

const missing = () => problem.unauthorized('credential_required', 'This needs a credential')

const byCredential = (c: HonoContext<AppEnv>, credential: string) =>
  callerByCredential(c.get('request'), credential, tenantNamed(c))

/** The tenant that a header names: a token of a tenant's own issuer counts where it is named, and nowhere else. */
function tenantNamed(c: HonoContext<AppEnv>): string | null {
  const headers = c.req.raw.headers
  return (headers.get('X-Tenant-ID') ?? headers.get('X-Client-ID'))?.trim().toLowerCase() ?? null
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
