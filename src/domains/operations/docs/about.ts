import { version } from '../../../../package.json'
import type { About } from '../../../http/openapi'

const description = `
A multi-tenant backend: identity, tenancy, chats that stream token by token, and signed webhooks.

**Answers** hold the resource in \`data\` and the request's id in \`meta\`; lists add \`meta.next_cursor\`, to be sent as
\`cursor\` for the next page. **Errors** have one shape, whoever raised them: branch on \`error.code\`, show
\`error.message\`, and name \`error.request_id\` when you report one. Unknown fields in a body are refused.

**Every answer** carries \`X-Request-ID\`, \`X-Correlation-ID\`, \`X-Trace-ID\`, \`X-Gateway-Request-ID\` and
\`X-Gateway-Time-Ms\`. A request may bring its own \`X-Request-ID\` and \`X-Correlation-ID\` (1 to 128 characters of
\`[A-Za-z0-9._:-]\`) and a W3C \`traceparent\`, which goes on to every outgoing call.

**Who is calling** is said by \`Authorization: Bearer\` with an access token or an API key, by \`X-API-Key\`, or by the
cookie that login sets. The tenant comes with the credential. \`x-required-scopes\` lists what an operation needs.

**Repeating safely**: \`X-Idempotency-Key\` on a write, \`If-Match\` on a change, \`If-None-Match\` on a read.
`.trim()

const tags: About['tags'] = {
  Operations: 'Whether the service runs, and how it describes itself.',
  Authentication: 'Who is calling: registration, login, tokens and sessions.',
  'Two-step login': 'A second factor: an authenticator app, and recovery codes.',
  Passkeys: 'Logging in with a device instead of a password.',
  'API keys': 'Credentials for programs, with scopes of their own.',
  Issuers: 'Other OIDC issuers whose tokens count in the tenant.',
  Tenants: 'The tenant: signing up, its name and its settings.',
  Users: 'The people of a tenant.',
  Teams: 'Groups of a tenant’s users, with whom chats are shared.',
  Audit: 'Who did what: the log, its seals, and the log as a file.',
  Usage: 'What a tenant used, and its limits.',
  Billing: 'The plans.',
  Agents: 'What answers in a chat.',
  Chats: 'Chats, their messages and their live streams.',
  Runs: 'Answers that an agent gives later, event by event.',
  Webhooks: 'Endpoints: the URLs of a tenant that receive events.',
  Deliveries: 'One event on its way to one endpoint, with its attempts.',
  Events: 'What happened in a tenant.',
  Interactions: 'Recorded acts: something said or done.',
  Service: 'The switch of the tenant’s interaction service.',
  Partners: 'Organisations whose users act in several tenants.',
  Platform: 'The operator’s own routes; `/api/admin` is the same under its older name.',
  Development: 'What only a service in development shows.',
  'Legacy paths': 'Documented paths of the predecessors; they answer the bare resource.',
}

/** What the OpenAPI document says of the service as a whole, but for its address. */
export const about: Omit<About, 'server'> = { title: 'Causeway', version, description, tags }
