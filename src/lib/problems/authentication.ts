import { ofCategory } from './kind'

/** Who is calling is not known, or not any more. */
export const AUTHENTICATION = ofCategory('authentication', {
  credential_required: { status: 401, hint: 'Send Authorization: Bearer <access token>, or X-API-Key.' },
  invalid_credentials: { status: 401, hint: 'Check the email and password and try again.' },
  mfa_required: {
    status: 401,
    hint: 'Send the challenge in details with a code to POST /api/v1/auth/mfa/challenge.',
  },
  invalid_code: {
    status: 401,
    hint: 'Send the code that the authenticator shows now, each once; or a recovery code.',
  },
  invalid_passkey: { status: 401, hint: 'Ask for new options and try again, or log in another way.' },
  oauth_refused: {
    status: 401,
    hint: 'Start the login again; if it fails again, the operator finds the cause in the log.',
  },
  invalid_token: { status: 401, hint: 'Log in again to get a new token.' },
  token_expired: {
    status: 401,
    hint: 'Exchange the refresh token for a new access token at POST /api/v1/auth/refresh.',
  },
  token_revoked: { status: 401, hint: 'The session has ended. Log in again.' },
  invalid_api_key: { status: 401, hint: 'Use a key that is active, or make a new one.' },
  invalid_run_token: {
    status: 401,
    hint: 'Send the token that came with the run’s own request in X-Causeway-Run-Token.',
  },
  invalid_call_token: {
    status: 401,
    hint: 'Send the token that the call’s agent has in X-Causeway-Call-Token; this is for Ultravox, not for people.',
  },
  signature_required: {
    status: 401,
    hint: 'Send the signature in the headers of the source’s kind (docs/webhooks.md, “Incoming”).',
  },
  invalid_signature: {
    status: 401,
    hint: 'Sign the very bytes that are sent, with a secret of this source.',
  },
  signature_expired: {
    status: 401,
    hint: 'Sign with the present time; the seconds that it may be off are in details.',
  },
  ambiguous_credentials: { status: 401, hint: 'Send one credential, or two that name the same caller.' },
})
