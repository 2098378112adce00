// Every error an answer can carry. The code is the contract: stable, snake_case, listed only here.

export type Category =
  | 'validation'
  | 'authentication'
  | 'authorization'
  | 'not_found'
  | 'conflict'
  | 'rate_limit'
  | 'service_error'

type Kind = { status: number; category: Category; hint: string; retryable?: true }

/** code → its status, category and what the caller should do next. */
export const PROBLEMS = {
  malformed_json: { status: 400, category: 'validation', hint: 'Send a body that is valid JSON.' },
  malformed_body: { status: 400, category: 'validation', hint: 'Send a body of the announced content type.' },
  malformed_header: { status: 400, category: 'validation', hint: 'Correct the header named in details.' },
  host_refused: {
    status: 400,
    category: 'validation',
    hint: 'Call the service by a host name it is configured for.',
  },
  oauth_state_invalid: {
    status: 400,
    category: 'validation',
    hint: 'Start the login again, in the same browser; one start leads to one login, within ten minutes.',
  },
  credential_required: {
    status: 401,
    category: 'authentication',
    hint: 'Send Authorization: Bearer <access token>, or X-API-Key.',
  },
  invalid_credentials: {
    status: 401,
    category: 'authentication',
    hint: 'Check the email and password and try again.',
  },
  mfa_required: {
    status: 401,
    category: 'authentication',
    hint: 'Send the challenge in details with a code to POST /api/v1/auth/mfa/challenge.',
  },
  invalid_code: {
    status: 401,
    category: 'authentication',
    hint: 'Send the code that the authenticator shows now, each once; or a recovery code.',
  },
  invalid_passkey: {
    status: 401,
    category: 'authentication',
    hint: 'Ask for new options and try again, or log in another way.',
  },
  oauth_refused: {
    status: 401,
    category: 'authentication',
    hint: 'Start the login again; if it fails again, the operator finds the cause in the log.',
  },
  invalid_token: { status: 401, category: 'authentication', hint: 'Log in again to get a new token.' },
  token_expired: {
    status: 401,
    category: 'authentication',
    hint: 'Exchange the refresh token for a new access token at POST /api/v1/auth/refresh.',
  },
  token_revoked: { status: 401, category: 'authentication', hint: 'The session has ended. Log in again.' },
  invalid_api_key: {
    status: 401,
    category: 'authentication',
    hint: 'Use a key that is active, or make a new one.',
  },
  ambiguous_credentials: {
    status: 401,
    category: 'authentication',
    hint: 'Send one credential, or two that name the same caller.',
  },
  insufficient_scope: {
    status: 403,
    category: 'authorization',
    hint: 'Use a credential that carries the scope named in details.',
  },
  tenant_mismatch: {
    status: 403,
    category: 'authorization',
    hint: 'Leave the tenant out, or name one that the credential may act in.',
  },
  tenant_required: {
    status: 409,
    category: 'conflict',
    hint: 'Send "tenant" with one of the ids listed in details.',
  },
  target_tenant_required: {
    status: 403,
    category: 'authorization',
    hint: 'Name the tenant to act in with X-Target-Tenant-ID.',
  },
  forbidden_while_acting: {
    status: 403,
    category: 'authorization',
    hint: 'Leave this to the tenant’s own users: who acts in a tenant of others handles none of its keys and secrets.',
  },
  partner_required: {
    status: 403,
    category: 'authorization',
    hint: 'Ask the operator to make you a user of your partner organisation.',
  },
  tenant_header_required: {
    status: 403,
    category: 'authorization',
    hint: 'Send X-Tenant-ID with your tenant’s id.',
  },
  tenant_suspended: {
    status: 403,
    category: 'authorization',
    hint: 'Ask the operator to resume the tenant.',
  },
  tenant_cancelled: {
    status: 403,
    category: 'authorization',
    hint: 'The tenant was cancelled; ask the operator.',
  },
  user_suspended: { status: 403, category: 'authorization', hint: 'Ask an admin of your tenant.' },
  user_unknown: {
    status: 403,
    category: 'authorization',
    hint: 'Ask an admin of the tenant to add you, or to let the issuer add its users; verify your address at both.',
  },
  email_not_verified: {
    status: 403,
    category: 'authorization',
    hint: 'Open the link in the verification mail, or ask for another at /api/v1/auth/verify-email/resend.',
  },
  oauth_denied: {
    status: 403,
    category: 'authorization',
    hint: 'Agree at the provider, or log in another way.',
  },
  oauth_email_unverified: {
    status: 403,
    category: 'authorization',
    hint: 'Verify the email address with the provider, then log in again.',
  },
  registration_closed: {
    status: 403,
    category: 'authorization',
    hint: 'Ask an admin of the tenant for an invitation.',
  },
  invitation_mismatch: {
    status: 403,
    category: 'authorization',
    hint: 'Register with the address that was invited, or ask an admin to invite this one.',
  },
  origin_refused: {
    status: 403,
    category: 'authorization',
    hint: 'Write from the service’s own origin or one in ALLOWED_ORIGINS, or use a token instead of the cookie.',
  },
  address_refused: {
    status: 403,
    category: 'authorization',
    hint: 'Call from one of the key’s allowed_addresses, or make a key for this one.',
  },
  https_required: {
    status: 403,
    category: 'authorization',
    hint: 'Use https; treat the credential as leaked.',
  },
  user_required: {
    status: 403,
    category: 'authorization',
    hint: 'Use a user’s access token instead of an API key.',
  },
  fresh_login_required: {
    status: 403,
    category: 'authorization',
    hint: 'Log in again, and repeat the request with the new token.',
  },
  chat_role_required: {
    status: 403,
    category: 'authorization',
    hint: 'Ask the chat’s owner to share it with you in the role named in details.',
  },
  platform_only: { status: 403, category: 'authorization', hint: 'This needs a platform administrator.' },
  not_found: { status: 404, category: 'not_found', hint: 'Check the id; it may have been deleted.' },
  route_not_found: {
    status: 404,
    category: 'not_found',
    hint: 'See /openapi.json for the routes there are.',
  },
  method_not_allowed: {
    status: 405,
    category: 'validation',
    hint: 'Use one of the methods in the Allow header.',
  },
  conflict: { status: 409, category: 'conflict', hint: 'Read the resource again and decide anew.' },
  already_exists: {
    status: 409,
    category: 'conflict',
    hint: 'Choose another value, or change the one that exists.',
  },
  oauth_not_linked: {
    status: 409,
    category: 'conflict',
    hint: 'Log in as before; confirm the email address, or remove the login that is linked; then try again.',
  },
  last_login_method: {
    status: 409,
    category: 'conflict',
    hint: 'Set a password (POST /api/v1/auth/password/forgot) or link another login first.',
  },
  team_limit_reached: {
    status: 409,
    category: 'conflict',
    hint: 'Take the user out of another team first.',
  },
  slug_taken: { status: 409, category: 'conflict', hint: 'Choose another slug.' },
  user_limit_reached: {
    status: 409,
    category: 'conflict',
    hint: 'Raise max_users or the plan, or remove a user.',
  },
  last_admin: {
    status: 409,
    category: 'conflict',
    hint: 'Make another active user an admin first.',
  },
  invitation_used: {
    status: 409,
    category: 'conflict',
    hint: 'Log in with the account that the invitation became, or ask an admin for another invitation.',
  },
  invitation_revoked: { status: 409, category: 'conflict', hint: 'Ask an admin for another invitation.' },
  invitation_expired: {
    status: 409,
    category: 'conflict',
    hint: 'Ask an admin to send the invitation again.',
  },
  service_disabled: { status: 409, category: 'conflict', hint: 'Switch it on with PATCH /api/v1/service.' },
  agent_inactive: { status: 409, category: 'conflict', hint: 'Set the agent’s is_active to true.' },
  run_in_progress: { status: 409, category: 'conflict', hint: 'Wait for the answer to end, or stop it.' },
  delivery_not_retryable: { status: 409, category: 'conflict', hint: 'Enable the endpoint first.' },
  idempotency_in_progress: {
    status: 409,
    category: 'conflict',
    retryable: true,
    hint: 'The first request with this key is still running; repeat after Retry-After seconds.',
  },
  length_required: { status: 411, category: 'validation', hint: 'Send a Content-Length.' },
  precondition_failed: {
    status: 412,
    category: 'validation',
    hint: 'Read the resource again and repeat with its ETag in If-Match.',
  },
  body_too_large: {
    status: 413,
    category: 'validation',
    hint: 'Send a smaller body; the limit is in details.',
  },
  payload_too_large: {
    status: 413,
    category: 'validation',
    hint: 'Send a smaller payload; the limit is in details.',
  },
  unsupported_media_type: {
    status: 415,
    category: 'validation',
    hint: 'Send the content type named in details.',
  },
  validation_failed: {
    status: 422,
    category: 'validation',
    hint: 'Correct the fields listed in details and send the request again.',
  },
  idempotency_key_reused: {
    status: 422,
    category: 'validation',
    hint: 'This key stands for another request; use a new one.',
  },
  rate_limited: {
    status: 429,
    category: 'rate_limit',
    retryable: true,
    hint: 'Wait Retry-After seconds and send the request again.',
  },
  internal_error: { status: 500, category: 'service_error', hint: 'Report the request_id to the operator.' },
  misconfigured: { status: 500, category: 'service_error', hint: 'The operator finds the cause in the log.' },
  upstream_failed: {
    status: 502,
    category: 'service_error',
    retryable: true,
    hint: 'An outside service failed; try again later.',
  },
  service_unavailable: {
    status: 503,
    category: 'service_error',
    retryable: true,
    hint: 'Try again shortly.',
  },
  login_busy: {
    status: 503,
    category: 'service_error',
    retryable: true,
    hint: 'Try again in a few seconds.',
  },
  upstream_timeout: {
    status: 504,
    category: 'service_error',
    retryable: true,
    hint: 'An outside service took too long; try again later.',
  },
} as const satisfies Record<string, Kind>

export type ProblemCode = keyof typeof PROBLEMS

/** Wrong fields by their path (`items.0.name`), each with what it must be. */
export type FieldErrors = Record<string, string>

type Extra = {
  details?: Record<string, unknown>
  headers?: Record<string, string>
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
    this.hint = kind.hint
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
    | 'invalid_credentials'
    | 'oauth_refused'
    | 'mfa_required'
    | 'invalid_code'
    | 'invalid_passkey'
  >,
  message: string,
  details: Record<string, unknown> = {},
): Problem => {
  // RFC 6750, section 3. Without a credential too: a client finds the reason in the same place.
  const challenge = `Bearer error="invalid_token", error_description="${message}"`
  return new Problem(code, message, { details, headers: { 'WWW-Authenticate': challenge } })
}
