import type { MiddlewareHandler } from 'hono'
import type { AppEnv } from '../../http/app-env'
import { noted } from '../../http/notes'
import { problem } from '../../lib/problem'
import type { Scope } from './scopes'

/** The scopes a caller must hold for a route, all of them; 403 `insufficient_scope` names the missing one. */
export function allow(...scopes: Scope[]): MiddlewareHandler<AppEnv> {
  const middleware: MiddlewareHandler<AppEnv> = (c, next) => {
    const held = c.get('ctx').principal.scopes
    for (const scope of scopes)
      if (!held.has(scope))
        throw problem('insufficient_scope', `This needs the scope ${scope}`, {
          details: { required: scopes, missing: scope },
          headers: { 'WWW-Authenticate': `Bearer error="insufficient_scope", scope="${scopes.join(' ')}"` },
        })
    return next()
  }
  return noted(
    middleware,
    scopes.some((scope) => scope.startsWith('platform:')) ? { scopes, platform: true } : { scopes },
  )
}

/** Any authenticated caller, whatever the scopes: routes about the caller. */
export function authenticated(): MiddlewareHandler<AppEnv> {
  const middleware: MiddlewareHandler<AppEnv> = (_c, next) => next()
  return noted(middleware, { scopes: [] })
}
