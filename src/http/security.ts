import type { Context as HonoContext } from 'hono'
import { cors } from 'hono/cors'
import type { Settings } from '../env'
import { problem } from '../lib/problem'
import type { AppEnv } from './app-env'
import type { Check } from './checks'

/** Ports of the usual front-end servers, allowed in development besides the service's own. */
const DEVELOPMENT_PORTS = ['3000', '3001', '5173', '8000']

/** Origins that may call with credentials, and write with a cookie. */
export function allowedOrigin(settings: Settings, origin: string): boolean {
  if (origin === new URL(settings.PUBLIC_URL).origin || settings.ALLOWED_ORIGINS.includes(origin)) return true
  if (!settings.development) return false
  const local = /^http:\/\/(?:localhost|127\.0\.0\.1):(\d+)$/.exec(origin)?.[1]
  return (
    local !== undefined && (DEVELOPMENT_PORTS.includes(local) || local === new URL(settings.PUBLIC_URL).port)
  )
}

const EXPOSED = [
  ...['X-Request-ID', 'X-Correlation-ID', 'X-Trace-ID', 'X-Gateway-Request-ID', 'X-Gateway-Time-Ms'],
  ...['X-RateLimit-Limit', 'X-RateLimit-Remaining', 'X-RateLimit-Reset', 'RateLimit', 'RateLimit-Policy'],
  ...['Retry-After', 'ETag', 'Location', 'Idempotency-Replayed', 'WWW-Authenticate', 'Allow'],
  ...['X-D1-Bookmark', 'Content-Range', 'Content-Disposition', 'X-Should-Retry'],
]

const stainless = (name: string) => `X-Stainless-${name}`

const ACCEPTED = [
  ...[
    'Authorization',
    'Content-Type',
    'Accept',
    'X-API-Key',
    'X-Tenant-ID',
    'X-Client-ID',
    'X-Idempotency-Key',
    'Idempotency-Key',
  ],
  ...['X-Correlation-ID', 'X-Request-ID', 'traceparent', 'X-Target-Tenant-ID', 'X-Active-Tenant-Id'],
  ...['If-Match', 'If-None-Match', 'If-Range', 'Range', 'Last-Event-ID', 'Prefer', 'X-D1-Bookmark'],
  // What OpenAI’s client sends of itself, and how it names a chat.
  ...['User-Agent', 'X-Causeway-Chat-Id', 'OpenAI-Organization', 'OpenAI-Project'],
  ...['Arch', 'Async', 'Helper-Method', 'Lang', 'OS', 'Package-Version', 'Retry-Count', 'Runtime'].map(
    stainless,
  ),
  ...['Runtime-Version', 'Timeout'].map(stainless),
]

const answerCors = cors({
  origin: (origin, c) => (allowedOrigin(c.get('request').settings, origin) ? origin : null),
  credentials: true,
  allowMethods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
  allowHeaders: ACCEPTED,
  exposeHeaders: EXPOSED,
  maxAge: 3600,
})

/** CORS with credentials for the allowed origins; a request without an Origin has nothing to be told. */
export const crossOrigin: Check = (c) => {
  if (c.req.raw.headers.get('Origin') !== null) return preflightOf(c)
}

/** The answer to a preflight; the headers of any other are put where Hono adds them to whatever comes. */
async function preflightOf(c: HonoContext<AppEnv>): Promise<Response | undefined> {
  return (await answerCors(c, async () => {})) ?? undefined
}

/** In production plain http goes no further: a redirect, or a refusal where a credential was sent in the clear. */
export const requireHttps: Check = (c) => {
  if (c.get('request').settings.ENVIRONMENT !== 'production' || c.req.url.startsWith('https:')) return
  const sent = ['Authorization', 'X-API-Key', 'Cookie'].some((name) => c.req.raw.headers.has(name))
  if (sent) throw problem('https_required', 'A credential was sent over plain http')
  return c.redirect(c.req.url.replace(/^http:/, 'https:'), 308)
}

/** The origin that passed last: nearly every request names the same one, and to parse a URL takes a while. */
let trusted: { settings?: Settings; start: string } = { start: '' }

/** Refuses a Host that the service is not configured for (DNS rebinding, host header injection). */
export const trustedHost: Check = (c) => {
  const { settings } = c.get('request')
  const { ALLOWED_HOSTS, PUBLIC_URL, ENVIRONMENT } = settings
  if (ALLOWED_HOSTS.length === 0 && ENVIRONMENT !== 'production') return
  if (settings === trusted.settings && c.req.url.startsWith(trusted.start)) return
  const start = /^https?:\/\/[^/?#]*\//.exec(c.req.url)?.[0]
  const { host, hostname } = new URL(c.req.url)
  const allowed = ALLOWED_HOSTS.length > 0 ? ALLOWED_HOSTS : [new URL(PUBLIC_URL).host]
  if (!allowed.includes(host) && !allowed.includes(hostname))
    throw problem('host_refused', `The host ${host} is not one of this service's`)
  if (start) trusted = { settings, start }
}
