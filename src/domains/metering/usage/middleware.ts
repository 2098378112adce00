import type { Context as HonoContext } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { DEFAULT_LIMIT } from '../../../http/body'
import { isContinuation } from '../../../http/continuation'
import { routeOf } from '../../../http/notes'
import { Problem } from '../../../lib/problem'
import { tenantLimiter } from '../isolate'
import type { Limiter } from '../limits/limiter'
import type { Defer } from '../limits/ports'
import { PUBLIC, USERS } from './line'
import type { Measured } from './sums'

/**
 * Measures every request of a tenant, whatever became of it. The time is that to the answer's beginning: a stream may go
 * on for hours. What belongs to a request that is measured already is not measured again.
 */
export function usageMeter(c: HonoContext<AppEnv>): void {
  const tenantId = c.get('ctx')?.tenant.id ?? c.get('request').usedBy?.tenant_id
  if (tenantId === undefined || isContinuation(c.req.raw) || isStranger(c)) return
  const request = measured(c)
  const { defer } = c.get('request')
  const limiter = tenantLimiter(c.env, tenantId)
  const size = responseSize(c)
  if (typeof size === 'number') {
    request.response_size_bytes = size
    limiter.measure(request, defer)
  } else defer(measureLater(limiter, request, size, defer))
}

/** So long an answer that nobody has sized is read along, at most. */
const PATIENCE_MS = 1_000
/** So long an answer that sizes itself is waited for; then it counts as a request, and its bytes when they are known. */
const MOST_PATIENCE_MS = 2_000

async function measureLater(
  limiter: Limiter,
  request: Measured,
  size: Promise<number>,
  defer: Defer,
): Promise<void> {
  const known = await Promise.race([size, scheduler.wait(MOST_PATIENCE_MS).then(() => null)])
  limiter.measure({ ...request, response_size_bytes: known ?? 0 }, defer)
  if (known !== null) return
  const response_size_bytes = await size
  limiter.measureBytes({ ...request, at: Date.now(), request_size_bytes: 0, response_size_bytes }, defer)
}

/** A credential that was found not to count any more: it is not the tenant's, and counts by its address. */
const NO_CREDENTIAL = new Set<string>(['token_revoked', 'invalid_api_key', 'invalid_token', 'token_expired'])

const isStranger = ({ res, error }: HonoContext<AppEnv>): boolean =>
  res.status === 401 && error instanceof Problem && NO_CREDENTIAL.has(error.code)

function measured(c: HonoContext<AppEnv>): Measured {
  const { now, requestId } = c.get('request')
  const at = Date.now()
  return {
    at,
    caller: callerOf(c),
    method: c.req.method,
    endpoint: routeOf(c).pattern,
    status: c.res.status,
    latency_ms: Math.max(0, at - now),
    request_size_bytes: requestSize(c),
    response_size_bytes: 0,
    request_id: requestId,
  }
}

function callerOf(c: HonoContext<AppEnv>): string {
  const principal = c.get('ctx')?.principal
  if (!principal) return c.get('request').usedBy?.caller === 'user' ? USERS : PUBLIC
  return principal.kind === 'api_key' ? principal.id : USERS
}

/** The bytes of the body as it was read, or announced. One that was announced over its limit is refused unread. */
function requestSize(c: HonoContext<AppEnv>): number {
  if (c.req.method === 'GET' || c.req.method === 'HEAD') return 0
  const read = c.get('requestBytes')
  if (read !== undefined) return read
  const announced = c.req.raw.headers.get('Content-Length')
  if (announced === null) return 0
  const size = Number(announced) || 0
  const { bodyLimit = DEFAULT_LIMIT, formLimit = 0 } = routeOf(c).note ?? {}
  return size <= Math.max(bodyLimit, formLimit) ? size : 0
}

/**
 * The bytes of the answer's body, as its maker said or counted where nobody did. Those of an event stream are counted by
 * who holds it (streamed.ts): if it passed through here, a reader that leaves would be noticed later.
 */
function responseSize(c: HonoContext<AppEnv>): number | Promise<number> {
  if (c.req.method === 'HEAD') return 0
  const known = c.get('responseBytes')
  if (known !== undefined) return known
  const { res } = c
  const announced = res.headers.get('Content-Length')
  if (announced !== null) return Number(announced) || 0
  if (res.body === null) return 0
  if (res.headers.get('Content-Type')?.startsWith('text/event-stream')) return 0
  return bytesWithin(res.clone().body, PATIENCE_MS)
}

/** The bytes of a body, as far as it came in time; a client that leaves takes it along, and was a request all the same. */
async function bytesWithin(body: ReadableStream<Uint8Array> | null, patience: number): Promise<number> {
  let size = 0
  const reading = body?.pipeTo(
    new WritableStream({
      write: ({ byteLength }) => {
        size += byteLength
      },
    }),
  )
  await Promise.race([reading, scheduler.wait(patience)]).catch(() => undefined)
  return size
}
