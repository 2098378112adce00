import { AUTHENTICATION } from './problems/authentication'
import { AUTHORIZATION } from './problems/authorization'
import { CONFLICT } from './problems/conflict'
import type { Category, Kind } from './problems/kind'
import { SERVICE } from './problems/service'
import { VALIDATION } from './problems/validation'

// Every error an answer can carry. The code is the contract: stable, snake_case, listed in problems/ only.

export type { Category } from './problems/kind'

/** code → its status, category and what the caller should do next. */
export const PROBLEMS = { ...VALIDATION, ...AUTHENTICATION, ...AUTHORIZATION, ...CONFLICT, ...SERVICE }

export type ProblemCode = keyof typeof PROBLEMS

/** Wrong fields by their path (`items.0.name`), each with what it must be. */
export type FieldErrors = Record<string, string>

type Extra = {
  details?: Record<string, unknown>
  headers?: Record<string, string>
  /** What to do next, where that is not what the code has everybody do. */
  hint?: string
  /** Goes to the log, never into the answer. */
  cause?: unknown
}

/** An error that becomes the answer: thrown anywhere, printed once by `http/problems.ts`. */
export class Problem extends Error {
  readonly status: number
  readonly category: Category
  readonly hint: string
  readonly retryable: boolean
  readonly details: Record<string, unknown>
  readonly headers: Record<string, string>

  constructor(
    readonly code: ProblemCode,
    message: string,
    extra: Extra = {},
  ) {
    super(message, { cause: extra.cause })
    this.name = 'Problem'
    const kind: Kind = PROBLEMS[code]
    this.status = kind.status
    this.category = kind.category
    this.hint = extra.hint ?? kind.hint
    this.retryable = kind.retryable ?? false
    this.details = extra.details ?? {}
    this.headers = extra.headers ?? {}
  }
}

/** `throw problem('slug_taken', 'The slug "acme" is taken')`, and the shapes that recur. */
export function problem(code: ProblemCode, message: string, extra?: Extra): Problem {
  return new Problem(code, message, extra)
}

problem.notFound = (resource: string, id: string): Problem =>
  new Problem('not_found', `There is no ${resource} with the id ${id}`, { details: { resource, id } })

problem.invalid = (fields: FieldErrors): Problem =>
  new Problem('validation_failed', 'Request validation failed', { details: { fields } })

problem.unauthorized = (
  code: Extract<
    ProblemCode,
    | 'credential_required'
    | 'invalid_token'
    | 'token_expired'
    | 'token_revoked'
    | 'invalid_api_key'
    | 'ambiguous_credentials'
    | 'invalid_run_token'
    | 'invalid_call_token'
    | 'signature_required'
    | 'invalid_signature'
    | 'signature_expired'
    | 'invalid_credentials'
    | 'oauth_refused'
    | 'mfa_required'
    | 'invalid_code'
    | 'invalid_passkey'
  >,
  message: string,
  details: Record<string, unknown> = {},
  hint?: string,
): Problem => {
  // RFC 6750, section 3. Without a credential too: a client finds the reason in the same place.
  const challenge = `Bearer error="invalid_token", error_description="${message}"`
  return new Problem(code, message, {
    ...{ details, headers: { 'WWW-Authenticate': challenge } },
    ...(hint === undefined ? {} : { hint }),
  })
}
