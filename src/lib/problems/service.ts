import type { Kind } from './kind'

/** What is not there, too much, or failed on this side. */
export const SERVICE = {
  not_found: { status: 404, category: 'not_found', hint: 'Check the id; it may have been deleted.' },
  route_not_found: {
    status: 404,
    category: 'not_found',
    hint: 'See /openapi.json for the routes there are.',
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
  provider_failed: {
    status: 502,
    category: 'service_error',
    retryable: true,
    hint: 'The provider named in details failed, or can’t be reached; try again later.',
  },
  provider_refused: {
    status: 502,
    category: 'service_error',
    hint: 'Look at what the provider said, in details, and at the key, base_url and options that GET /api/v1/auth/providers shows.',
  },
  workflow_step_failed: {
    status: 502,
    category: 'service_error',
    hint: 'Mend what the step asks for, or the workflow; then POST /api/v1/jobs/{id}/retry goes on from that step.',
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
