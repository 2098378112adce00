import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../../http/app-env'
import type { Check } from '../../http/checks'
import { onlyNoted, routeOf } from '../../http/notes'
import { problem } from '../../lib/problem'
import type { Scope } from './scopes'

/** The scopes a caller must hold for a route, all of them; 403 `insufficient_scope` names the missing one. */
export function allow(...scopes: Scope[]): MiddlewareHandler<AppEnv> {
  return onlyNoted(
    scopes.some((scope) => scope.startsWith('platform:')) ? { scopes, platform: true } : { scopes },
  )
}

/** Any authenticated caller, whatever the scopes: routes about the caller. */
export function authenticated(): MiddlewareHandler<AppEnv> {
  return onlyNoted({ scopes: [] })
}

/** Holds every caller to what the route's `allow` says. */
export const authorize: Check = (c) => {
  const required = routeOf(c).note?.scopes
  if (!required || required.length === 0) return
  const held = c.get('ctx').principal.scopes
  for (const scope of required)
    if (!held.has(scope))
      throw problem('insufficient_scope', `This needs the scope ${scope}`, {
        details: { required, missing: scope },
        headers: { 'WWW-Authenticate': `Bearer error="insufficient_scope", scope="${required.join(' ')}"` },
      })
}
