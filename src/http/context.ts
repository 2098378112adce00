import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import type { RequestContext } from '../data/context'
import { RequestSession } from '../data/session'
import { settingsOf } from '../env'
import { hex } from '../lib/encoding'
import { describeError, log } from '../lib/log'
import { complete } from './answer-headers'
import type { AppEnv } from './app-env'
import { type Check, inOrder } from './checks'
import { routeOf } from './notes'
import { problemResponse } from './problems'
import { parseIfMatch, respond } from './route'

const CALLER_ID = /^[A-Za-z0-9._:-]{1,128}$/
/** W3C Trace Context, version 00; ids of zeros are invalid. */
const TRACEPARENT = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/

type Life = {
  /** What a request must pass before its route, in this order. */
  checks?: readonly Check[]
  /** Are told of every request once its answer stands, whatever that is. */
  answered?: readonly ((c: HonoContext<AppEnv>) => void)[]
  /** The answer where a check, or what is no Error, was thrown; a route's errors come to the app's own handler. */
  refuse?: (error: Error, c: HonoContext<AppEnv>) => Response | Promise<Response>
}

/** Bytes that the ids of one request take. */
const RANDOM_BYTES = 36
let drawn = ''
let used = 0

/** Random digits for one request, drawn for many at once: a drawing costs the same for few and for many. */
function randomHex(): string {
  if (used === drawn.length) {
    drawn = hex(crypto.getRandomValues(new Uint8Array(100 * RANDOM_BYTES)))
    used = 0
  }
  used += 2 * RANDOM_BYTES
  return drawn.slice(used - 2 * RANDOM_BYTES, used)
}

/** Answers without settings: it says that the Worker runs, and no more. */
const LIVENESS = /^\/health\/live\/?$/

/**
 * Gives every request its ids, clock and settings, puts the ids on the answer whoever makes it, and logs one line.
 * A caller's own request or correlation id is taken over where it is of the allowed form.
 */
export const requestContext =
  ({
    checks = [],
    answered = [],
    refuse = (error, c) => problemResponse(c, error),
  }: Life = {}): MiddlewareHandler<AppEnv> =>
  async (c, next) => {
    const started = Date.now()
    const headers = c.req.raw.headers
    const random = randomHex()
    const given = (name: string) => {
      const value = headers.get(name)
      return value !== null && CALLER_ID.test(value) ? value : null
    }
    const requestId = given('X-Request-ID') ?? `req_${random.slice(0, 24)}`
    const correlationId = given('X-Correlation-ID') ?? requestId
    const parent = headers.get('traceparent')
    const trace = parent === null ? null : TRACEPARENT.exec(parent)
    const traceId = trace?.[1] ?? random.slice(24, 56)

    const reads = c.req.method === 'GET' || c.req.method === 'HEAD'
    const asksForLife = reads && LIVENESS.test(c.req.path)
    let settings = {} as RequestContext['settings']
    let misconfigured: unknown
    try {
      if (!asksForLife) settings = settingsOf(c.env)
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
      ifMatch: reads ? undefined : parseIfMatch(headers.get('If-Match') ?? undefined),
      idempotency: null,
      session: new RequestSession(c.env, settings, reads ? headers.get('X-D1-Bookmark') : null),
      defer: (work) => {
        c.executionCtx.waitUntil(
          work.catch((error) =>
            log.error('deferred_work_failed', { request_id: requestId, cause: describeError(error) }),
          ),
        )
      },
    })

    c.set('reply', (value) => respond(c, value))

    try {
      if (misconfigured !== undefined) throw misconfigured
      // Here and not in a middleware of their own: each middleware costs a request some promises.
      const stopped = asksForLife ? undefined : inOrder(checks, c)
      const answer = stopped instanceof Promise ? await stopped : stopped
      if (answer) c.res = answer
      else await next()
    } catch (thrown) {
      // Hono hands only an Error to `onError`; whatever else is thrown is an error all the same.
      const error =
        thrown instanceof Error ? thrown : new Error('what was thrown is no Error', { cause: thrown })
      c.error = error
      c.res = await refuse(error, c)
    }
    complete(c)

    for (const tell of answered) tell(c)
    log.info('request_processed', {
      request_id: requestId,
      correlation_id: correlationId,
      trace_id: traceId,
      tenant_id: c.get('ctx')?.tenant.id ?? null,
      endpoint: routeOf(c).pattern,
      method: c.req.method,
      status_code: c.res.status,
      duration_ms: Date.now() - started,
    })
  }
