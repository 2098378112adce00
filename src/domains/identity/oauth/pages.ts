import type { Context as HonoContext } from 'hono'
import type { StatusCode } from 'hono/utils/http-status'
import type { RequestContext } from '../../../data/context'
import type { Settings } from '../../../env'
import { asProblem } from '../../../http/problems'
import { allowedOrigin } from '../../../http/security'
import { describeError, log } from '../../../lib/log'
import { problem } from '../../../lib/problem'

/** Whether the answer goes to a person's browser, which can do more with a page than with JSON. */
export const wantsPage = (c: HonoContext): boolean => (c.req.header('Accept') ?? '').includes('text/html')

/**
 * The page that a login leads to: a path of this service, or a URL of an allowed origin; 422 for every other. What is
 * compared is what is sent: the URL as the parser understood it, not the text.
 */
export function pageOf(settings: Settings, given: string | undefined): string {
  const own = `${settings.PUBLIC_URL}/`
  if (given === undefined) return own
  const url = URL.canParse(given, own) ? new URL(given, own) : null
  const fine =
    url !== null &&
    /^https?:$/.test(url.protocol) &&
    url.username === '' &&
    url.password === '' &&
    allowedOrigin(settings, url.origin)
  if (!fine) throw problem.invalid({ redirect_to: 'must be a path here, or a URL of an allowed origin' })
  return url.href
}

/** The answer with the cookies that were set on the way: a GET's has none by itself. */
export function withCookies(c: HonoContext, answer: Response): Response {
  return c.newResponse(answer.body, { status: answer.status as StatusCode, headers: answer.headers })
}

/** Sends the browser on, with the cookies that were set on the way. */
export function redirectTo(c: HonoContext, url: string): Response {
  return c.body(null, 302, { Location: url, 'Cache-Control': 'no-store' })
}

/**
 * A failed login as the page learns of it: the code and the request's id in the query; what the page needs to go on (a
 * challenge, the tenants to choose from) behind the `#`, which no server and no log gets to see.
 */
export function redirectWithError(c: HonoContext, page: string, error: unknown): Response {
  const failure = asProblem(error)
  const { requestId }: RequestContext = c.get('request')
  const fields = { request_id: requestId, code: failure.code }
  // The answer's status says nothing of it.
  if (failure.status < 500) log.warn('login_failed', fields)
  else log.error('request_failed', { ...fields, cause: describeError(failure.cause ?? error) })
  const url = new URL(page)
  url.searchParams.set('error', failure.code)
  url.searchParams.set('request_id', requestId)
  if (Object.keys(failure.details).length > 0)
    url.hash = `details=${encodeURIComponent(JSON.stringify(failure.details))}`
  return redirectTo(c, url.href)
}
