import type { Context as HonoContext } from 'hono'
import { countRequest } from '../data/metrics'
import type { AppEnv } from './app-env'
import { routeOf } from './notes'

/** Counts every request by its route’s pattern, whoever answered it. */
export function requestMetrics(c: HonoContext<AppEnv>): void {
  const { env, now, defer } = c.get('request')
  const { status } = c.res
  countRequest(
    env,
    { endpoint: routeOf(c).pattern, method: c.req.method, status, ms: Math.max(0, Date.now() - now) },
    defer,
  )
}
