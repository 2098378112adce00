import type { MiddlewareHandler } from 'hono'
import type { RequestContext } from '../data/context'
import { settingsOf } from '../env'
import { hex } from '../lib/encoding'
import { log } from '../lib/log'
import type { AppEnv } from './app-env'
import { routeOf } from './notes'
import { describe, problemResponse } from './problems'
import { parseIfMatch } from './route'

const CALLER_ID = /^[A-Za-z0-9._:-]{1,128}$/
/** W3C Trace Context, version 00; ids of zeros are invalid. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

/** Answers without settings: it says that the Worker runs, and no more. */
const LIVENESS = /^\/health\/live\/?$/

/**
 * Gives every request its ids, clock and settings, puts the ids on the answer whoever makes it, and logs one line.
 * A caller's own request or correlation id is taken over where it is of the allowed form.
 */
export const requestContext: MiddlewareHandler<AppEnv> = async (c, next) => {
  const started = Date.now()
  const headers = c.req.raw.headers
  const random = hex(crypto.getRandomValues(new Uint8Array(36)))
  const given = (name: string) => {
    const value = headers.get(name)
    return value !== null && CALLER_ID.test(value) ? value : null
  }
  const requestId = given('X-Request-ID') ?? `req_${random.slice(0, 24)}`
  const correlationId = given('X-Correlation-ID') ?? requestId
  const trace = TRACEPARENT.exec(headers.get('traceparent') ?? '')
  const traceId = trace?.[1] ?? random.slice(24, 56)

  let settings = {} as RequestContext['settings']
  let misconfigured: unknown
  try {
    if (!LIVENESS.test(c.req.path)) settings = settingsOf(c.env)
  } catch (error) {
    misconfigured = error
    settings.LOG_LEVEL = 'error'
  }
  if (settings.LOG_LEVEL) log.setLevel(settings.LOG_LEVEL)
  c.set('request', {
    env: c.env,
    settings,
    now: started,
    requestId,
    correlationId,
    traceparent: `00-${traceId}-${random.slice(56, 72)}-${trace?.[3] ?? '01'}`,
    address: headers.get('CF-Connecting-IP'),
    userAgent: headers.get('User-Agent')?.slice(0, 512) ?? null,
    ifMatch: parseIfMatch(headers.get('If-Match') ?? undefined),
    idempotency: null,
    defer: (work) => {
      c.executionCtx.waitUntil(
        work.catch((error) =>
          log.error('deferred_work_failed', { request_id: requestId, cause: describe(error) }),
        ),
      )
    },
  })

  if (misconfigured === undefined) await next()
  else c.res = problemResponse(c, misconfigured)

  const duration = Date.now() - started
  // The answer to an upgrade has headers that can't be changed.
  if (c.res.status !== 101) {
    const out = c.res.headers
    out.set('X-Request-ID', requestId)
    out.set('X-Correlation-ID', correlationId)
    out.set('X-Trace-ID', traceId)
    out.set('X-Gateway-Request-ID', headers.get('CF-Ray') ?? requestId)
    out.set('X-Gateway-Time-Ms', String(duration))
  }
  log.info('request_processed', {
    request_id: requestId,
    correlation_id: correlationId,
    trace_id: traceId,
    tenant_id: c.get('ctx')?.tenant.id ?? null,
    endpoint: routeOf(c).pattern,
    method: c.req.method,
    status_code: c.res.status,
    duration_ms: duration,
  })
}
