import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import { HTTPException } from 'hono/http-exception'
import { iso } from '../lib/ids'
import { log } from '../lib/log'
import { Problem, problem } from '../lib/problem'
import type { AppEnv } from './app-env'

/** Whatever was thrown, as a Problem; what is not one is a bug and becomes a 500 that says nothing of its cause. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error
  if (error instanceof HTTPException && error.status === 400)
    return problem('malformed_json', 'The body is not valid JSON', { cause: error })
  return problem('internal_error', 'Something went wrong on our side', { cause: error })
}

/** Hono hands only an Error to `onError`; whatever else is thrown is an error all the same. */
export const anyThrow: MiddlewareHandler = async (_c, next) => {
  try {
    await next()
  } catch (thrown) {
    throw thrown instanceof Error
      ? thrown
      : new Error('something was thrown that is no Error', { cause: thrown })
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
      cause: describe(failure.cause),
    })
  const body = {
    error: {
      code: failure.code,
      message: failure.message,
      status: failure.status,
      category: failure.category,
      severity: 'error',
      retryable: failure.retryable,
      recovery_hint: failure.hint,
      details: failure.details,
      request_id: request?.requestId ?? null,
      correlation_id: request?.correlationId ?? null,
      ts: iso(request?.now ?? Date.now()),
    },
  }
  return new Response(JSON.stringify(body), {
    status: failure.status,
    headers: {
      'Content-Type': 'application/json; charset=UTF-8',
      'Cache-Control': 'no-store',
      ...failure.headers,
    },
  })
}

/** An error with its causes, for the log. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `; caused by ${describe(error.cause)}`
  return `${error.stack ?? error.message}${cause}`
}
