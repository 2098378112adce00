import type { Context as HonoContext } from 'hono'
import { iso } from '../lib/ids'
import { describeError, log } from '../lib/log'
import { Problem, problem } from '../lib/problem'
import { answerWith } from './answer-headers'
import type { AppEnv } from './app-env'
import type { Place } from './dialect'
import { type Note, routeOf } from './notes'

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

/** The one shape of every error, but of those on routes that speak another product's protocol. */
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
  const { note } = routeOf(c)
  const body = note?.dialect
    ? note.dialect.refusal(failure, (field) => placeOf(note, field))
    : { error: { ...shownProblem(failure), ...asked } }
  const headers = { ...failure.headers, ...note?.dialect?.headers?.(failure) }
  return answerWith(c, failure.status, JSON.stringify(body), headers)
}

/** Where a route takes a field, by what it says of its path and query; all else is in the body. */
function placeOf(note: Note, field: string): Place {
  if (note.params && field in note.params.shape) return 'path'
  return note.query && field in note.query.shape ? 'query' : 'body'
}
