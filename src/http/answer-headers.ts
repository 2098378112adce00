import type { Context as HonoContext } from 'hono'
import type { StatusCode } from 'hono/utils/http-status'
import type { AppEnv } from './app-env'

// The headers that answers have in common are copied whole, by the runtime: to set each by itself costs more than all
// else that a request without storage does.

/** What Hono's `secureHeaders` would set, but for what only old browsers knew. */
export const SECURITY: [string, string][] = [
  ['cross-origin-opener-policy', 'same-origin'],
  // A picture of ours may be shown by a page on another port or subdomain of the same site.
  ['cross-origin-resource-policy', 'same-site'],
  ['referrer-policy', 'no-referrer'],
  ['x-content-type-options', 'nosniff'],
  ['x-frame-options', 'SAMEORIGIN'],
  ['x-permitted-cross-domain-policies', 'none'],
]
/** RFC 6797; two years, as browsers' preload lists ask for. */
const STRICT: [string, string][] = [
  ...SECURITY,
  ['strict-transport-security', 'max-age=63072000; includeSubDomains'],
]

const securityFor = (c: HonoContext<AppEnv>) =>
  c.get('request').settings.ENVIRONMENT === 'production' ? STRICT : SECURITY

/** How the limits of a request stand, as its answer says it (draft-ietf-httpapi-ratelimit-headers). */
export type LimitFields = {
  limit: number
  remaining: number
  /** Seconds until more is left. */
  reset: number
  /** The fields `RateLimit-Policy` and `RateLimit`. */
  policy: string
  state: string
}

type Kind = { json: boolean; cache: 'no-store' | 'private, no-cache' }

/** Tenants with numbers of their own are few. */
const MOST_SHARED = 1_000
const shared = new Map<string, Headers>()

function sharedHeaders(c: HonoContext<AppEnv>, { json, cache }: Kind): Headers {
  const security = securityFor(c)
  const limits = c.get('limitFields')
  const key = `${security.length} ${json} ${cache} ${limits?.policy}`
  let headers = shared.get(key)
  if (!headers) {
    headers = new Headers(security)
    headers.set('Cache-Control', cache)
    headers.set('X-Gateway-Time-Ms', '0')
    if (json) headers.set('Content-Type', 'application/json; charset=UTF-8')
    if (limits) setPolicy(headers, limits)
    if (shared.size >= MOST_SHARED) shared.clear()
    shared.set(key, headers)
  }
  return headers
}

function setPolicy(headers: Headers, { limit, policy }: LimitFields): void {
  headers.set('X-RateLimit-Limit', String(limit))
  headers.set('RateLimit-Policy', policy)
}

/** An answer of the API: JSON, or nothing where `body` is null, with the headers of every answer and `more`. */
export function answerWith(
  c: HonoContext<AppEnv>,
  status: number,
  body: string | null,
  more: Readonly<Record<string, string>>,
  cache: Kind['cache'] = 'no-store',
): Response {
  const headers = sharedHeaders(c, { json: body !== null, cache })
  c.set('responseBytes', body === null ? 0 : Buffer.byteLength(body))
  const reads = c.req.method === 'GET' || c.req.method === 'HEAD'
  // Through Hono, so that cookies set on the way are on the answer; who only reads sets none.
  const answer = reads
    ? new Response(body, { status, headers })
    : c.newResponse(body, { status: status as StatusCode, headers })
  for (const name in more) answer.headers.set(name, more[name] ?? '')
  identify(c, answer.headers)
  c.set('answer', answer)
  return answer
}

/** Puts the headers of every answer on one that was made without them: a stream, a file, a document. */
export function complete(c: HonoContext<AppEnv>): void {
  if (c.res === c.get('answer')) return
  const { status, headers } = c.res
  // The answer to an upgrade has headers that can't be changed.
  if (status === 101 || headers.has('X-Request-ID')) return
  for (const [name, value] of securityFor(c)) headers.set(name, value)
  headers.set('X-Gateway-Time-Ms', '0')
  const limits = c.get('limitFields')
  if (limits) setPolicy(headers, limits)
  identify(c, headers)
}

/** What differs from answer to answer: the ids, the time that was waited, how the limits stand. */
function identify(c: HonoContext<AppEnv>, headers: Headers): void {
  const { requestId, correlationId, traceparent, now, session } = c.get('request')
  headers.set('X-Request-ID', requestId)
  headers.set('X-Correlation-ID', correlationId)
  headers.set('X-Trace-ID', traceparent.slice(3, 35))
  headers.set('X-Gateway-Request-ID', c.req.raw.headers.get('CF-Ray') ?? requestId)
  const ms = Date.now() - now
  if (ms !== 0) headers.set('X-Gateway-Time-Ms', String(ms))
  const bookmark = session?.bookmark
  if (bookmark) headers.set('X-D1-Bookmark', bookmark)
  const limits = c.get('limitFields')
  if (!limits) return
  headers.set('X-RateLimit-Remaining', String(limits.remaining))
  headers.set('X-RateLimit-Reset', String(limits.reset))
  headers.set('RateLimit', limits.state)
}
