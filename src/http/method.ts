import type { Hono } from 'hono'
import { problem } from '../lib/problem'
import type { AppEnv } from './app-env'
import { isNoted } from './notes'

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']

/** What no route answered: 405 with Allow where the path is known under another method, else 404. */
export function answerUnknown(app: Hono<AppEnv>): void {
  app.notFound((c) => {
    const allowed = METHODS.filter((method) =>
      app.router.match(method, c.req.path)[0].some(([[, route]]) => isNoted(route)),
    )
    if (allowed.length === 0) throw problem('route_not_found', `There is no ${c.req.path}`)
    if (allowed.includes('GET')) allowed.push('HEAD')
    const allow = [...allowed, 'OPTIONS'].join(', ')
    if (c.req.method === 'OPTIONS') return new Response(null, { status: 204, headers: { Allow: allow } })
    throw problem('method_not_allowed', `${c.req.method} is not for ${c.req.path}`, {
      headers: { Allow: allow },
      details: { allowed },
    })
  })
}
