import { ofCategory } from './kind'

/** The state of things is against it. */
export const CONFLICT = ofCategory('conflict', {
  tenant_required: { status: 409, hint: 'Send "tenant" with one of the ids listed in details.' },
  conflict: { status: 409, hint: 'Read the resource again and decide anew.' },
  already_exists: { status: 409, hint: 'Choose another value, or change the one that exists.' },
  oauth_not_linked: {
    status: 409,
    hint: 'Log in as before; confirm the email address, or remove the login that is linked; then try again.',
  },
  last_login_method: {
    status: 409,
    hint: 'Set a password (POST /api/v1/auth/password/forgot) or link another login first.',
  },
  team_limit_reached: { status: 409, hint: 'Take the user out of another team first.' },
  slug_taken: { status: 409, hint: 'Choose another slug.' },
  user_limit_reached: { status: 409, hint: 'Raise max_users or the plan, or remove a user.' },
  storage_limit_reached: {
    status: 409,
    hint: 'Remove what is no longer needed, or raise the plan or rate_limits.storage_bytes.',
  },
  upload_incomplete: {
    status: 409,
    hint: 'Send the bytes to the URL of the presign, then POST …/complete; where that has expired, presign anew.',
  },
  payments_not_configured: {
    status: 409,
    hint: 'Ask the operator to set PAYMENTS (docs/billing.md), or for credit or a plan.',
  },
  payment_failed: { status: 409, hint: 'Nothing has changed. Mend the way of paying, then try again.' },
  insufficient_credit: { status: 409, hint: 'Buy credit, or ask for less.' },
  provider_not_configured: {
    status: 409,
    hint: 'Set a key of your own with PATCH /api/v1/auth/providers/{kind}, or ask the operator to configure one.',
  },
  push_not_configured: { status: 409, hint: 'Ask the operator to set VAPID_PRIVATE_KEY.' },
  last_admin: { status: 409, hint: 'Make another active user an admin first.' },
  invitation_used: {
    status: 409,
    hint: 'Log in with the account that the invitation became, or ask an admin for another invitation.',
  },
  invitation_revoked: { status: 409, hint: 'Ask an admin for another invitation.' },
  invitation_expired: { status: 409, hint: 'Ask an admin to send the invitation again.' },
  service_disabled: { status: 409, hint: 'Switch it on with PATCH /api/v1/service.' },
  agent_inactive: {
    status: 409,
    hint: 'Set the agent’s is_active to true, or go on with another agent in a fork of the chat.',
  },
  agent_on_calls_only: {
    status: 409,
    hint: 'Place a call with POST /api/v1/calls, or choose an agent of another kind.',
  },
  chat_archived: {
    status: 409,
    hint: 'Take the chat out of the archive: PATCH /api/v1/chats/{id} with {"is_archived": false}.',
  },
  sequence_gap: {
    status: 409,
    hint: 'Send the events from expected_sequence in details on; what was taken before may be sent again.',
  },
  run_ended: { status: 409, hint: 'Stop working on it: details say how it ended.' },
  run_not_by_callback: {
    status: 409,
    hint: 'Go on over the connection, or answer the next request with 202 and post its events.',
  },
  workers_ai_not_bound: {
    status: 409,
    hint: 'Choose another kind, or have the service’s operator bind Workers AI as AI (docs/operations.md).',
  },
  run_in_progress: { status: 409, hint: 'Wait for the answer to end, or stop it.' },
  delivery_not_retryable: {
    status: 409,
    hint: 'Enable the endpoint first; an event whose payload is no longer kept must be sent anew.',
  },
  idempotency_in_progress: {
    status: 409,
    retryable: true,
    hint: 'The first request with this key is still running; repeat after Retry-After seconds.',
  },
})
