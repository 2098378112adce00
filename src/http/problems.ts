import type { Context as HonoContext } from 'hono'
import { iso } from '../lib/ids'
import { describeError, log } from '../lib/log'
import { Problem, problem } from '../lib/problem'
import { answerWith } from './answer-headers'
import type { AppEnv } from './app-env'

/** Whatever was thrown, as a Problem; what is not one is a bug and becomes a 500 that says nothing of its cause. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error
  if (BUSY.test(describeError(error)))
    return problem('service_unavailable', 'The database is busy', {
      headers: { 'Retry-After': '1' },
      cause: error,
    })
  return problem('internal_error', 'Something went wrong on our side', { cause: error })
}

/** D1's words for "not now": a repeat may pass (developers.cloudflare.com/d1/observability/debug-d1). */
const BUSY = /SQLITE_BUSY|D1 DB is overloaded|D1_ERROR: Network connection lost|caused object to be reset/

/** What an error says besides of which request it was. */
export function shownProblem(failure: Problem) {
  return {
    code: failure.code,
    message: failure.message,
    status: failure.status,
    category: failure.category,
    severity: 'error',
    retryable: failure.retryable,
    recovery_hint: failure.hint,
    details: failure.details,
  }
}

/** The one shape of every error. */
export function problemResponse(c: HonoContext<AppEnv>, error: unknown): Response {
  const failure = asProblem(error)
  const request = c.get('request')
  if (failure.status >= 500 && failure.cause !== undefined)
    log.error('request_failed', {
      request_id: request?.requestId,
      code: failure.code,
      cause: describeError(failure.cause),
    })
  const asked = {
    request_id: request?.requestId ?? null,
    correlation_id: request?.correlationId ?? null,
    ts: iso(request?.now ?? Date.now()),
  }
  return answerWith(
    c,
    failure.status,
    JSON.stringify({ error: { ...shownProblem(failure), ...asked } }),
    failure.headers,
  )
}
