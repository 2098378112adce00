import { ofCategory } from './kind'

/** Who is calling may not do that. */
export const AUTHORIZATION = ofCategory('authorization', {
  insufficient_scope: { status: 403, hint: 'Use a credential that carries the scope named in details.' },
  tenant_mismatch: { status: 403, hint: 'Leave the tenant out, or name one that the credential may act in.' },
  target_tenant_required: { status: 403, hint: 'Name the tenant to act in with X-Target-Tenant-ID.' },
  forbidden_while_acting: {
    status: 403,
    hint: 'Leave this to the tenant’s own users: who acts in a tenant of others handles none of its keys and secrets.',
  },
  partner_required: {
    status: 403,
    hint: 'Ask the operator to make you a user of your partner organisation.',
  },
  tenant_header_required: { status: 403, hint: 'Send X-Tenant-ID with your tenant’s id.' },
  tenant_suspended: { status: 403, hint: 'Ask the operator to resume the tenant.' },
  tenant_cancelled: { status: 403, hint: 'The tenant was cancelled; ask the operator.' },
  user_suspended: { status: 403, hint: 'Ask an admin of your tenant.' },
  user_unknown: {
    status: 403,
    hint: 'Ask an admin of the tenant to add you, or to let the issuer add its users; verify your address at both.',
  },
  email_not_verified: {
    status: 403,
    hint: 'Open the link in the verification mail, or ask for another at /api/v1/auth/verify-email/resend.',
  },
  oauth_denied: { status: 403, hint: 'Agree at the provider, or log in another way.' },
  oauth_email_unverified: {
    status: 403,
    hint: 'Verify the email address with the provider, then log in again.',
  },
  registration_closed: { status: 403, hint: 'Ask an admin of the tenant for an invitation.' },
  invitation_mismatch: {
    status: 403,
    hint: 'Register with the address that was invited, or ask an admin to invite this one.',
  },
  origin_refused: {
    status: 403,
    hint: 'Write from the service’s own origin or one in ALLOWED_ORIGINS, or use a token instead of the cookie.',
  },
  address_refused: {
    status: 403,
    hint: 'Call from one of the key’s allowed_addresses, or make a key for this one.',
  },
  https_required: { status: 403, hint: 'Use https; treat the credential as leaked.' },
  user_required: { status: 403, hint: 'Use a user’s access token instead of an API key.' },
  fresh_login_required: { status: 403, hint: 'Log in again, and repeat the request with the new token.' },
  chat_role_required: {
    status: 403,
    hint: 'Ask the chat’s owner to share it with you in the role named in details.',
  },
  platform_only: { status: 403, hint: 'This needs a platform administrator.' },
})
