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
  Analytics: 'What happened, by day.',
  Monitoring: 'How the tenant’s traffic, deliveries and queues look now.',
  Billing: 'The tenant’s credit, what it is bought with, the plans and the invoices.',
  Agents: 'What answers in a chat.',
  Chats: 'Chats, their messages and their live streams.',
  Runs: 'Answers that an agent gives later, event by event.',
  Webhooks: 'Endpoints: the URLs of a tenant that receive events.',
  Deliveries: 'One event on its way to one endpoint, with its attempts.',
  Events: 'What happened in a tenant.',
  'Incoming webhooks': 'What others send: sources, what came in, and what was refused.',
  Jobs: 'Work that outlives a request, how far it got and what came of it.',
  Workflows: 'Steps that are run one after the other: by hand, by an event, or by the clock.',
  Tickets: 'What users want done, how that stands, and what was said about it.',
  Alerts: 'Rules over what the tenant’s traffic looks like, and what they raised.',
  Files: 'Bytes, sent to where a presign says, and read by who has them or a URL that is signed.',
  Push: 'Browsers that are told of an answer while nobody watches.',
  Realtime: 'Channels over one WebSocket: what happens, to who listens.',
  Campaigns: 'Calls to many, by one agent, at a pace and at hours that suit them.',
  Secrets: 'Keys of outside services that endpoints use by their names.',
  Voices: 'How agents sound on calls.',
  Calls: 'Agents that call by telephone: how a call stands, what was said, and its recording.',
  Providers: 'Accounts with outside services, through which calls are placed and speech is made and heard.',
  Interactions: 'Recorded acts: something said or done.',
  Items: 'The catalogue: what recommendations are made of.',
  Recommendations: 'What somebody may want next, and what is like something.',
  'Knowledge bases': 'Files that agents are to know, and what they say to a question.',
  Tools: 'What agents may call: requests over HTTP, with arguments that they choose.',
  OpenAI: 'What OpenAI’s own clients drive unchanged: agents as models, and chat completions.',
  Svix: 'What Svix’s own clients drive unchanged: applications, endpoints, event types, messages, attempts.',
  Service: 'The switch of the tenant’s interaction service.',
  Partners: 'Organisations whose users act in several tenants.',
  Platform: 'The operator’s own routes; `/api/admin` is the same under its older name.',
  Development: 'What only a service in development shows.',
  'Legacy paths': 'Documented paths of the predecessors; they answer the bare resource.',
}

/** What the OpenAPI document says of the service as a whole, but for its address. */
export const about: Omit<About, 'server'> = { title: 'Causeway', version, description, tags }
