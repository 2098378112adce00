import type { Ids } from './rows-tenant.ts'

// What a route is asked with: what it needs of a query, and a body.

type Parameter = { name: string; in: string; required?: boolean; schema?: Schema }
type Schema = { enum?: string[]; anyOf?: Schema[]; type?: string }
export type Operation = {
  security?: unknown[]
  parameters?: Parameter[]
  requestBody?: { content?: Record<string, { example?: unknown }> }
  responses: Record<string, { content?: Record<string, unknown> }>
  'x-required-scopes'?: string[]
}
export type Route = { method: string; path: string; op: Operation }

/** Where an endpoint that is asked for must be one. */
export const MUST_BE = /\/attempt\/msg\//

/** What a route needs of its query that is not required of every request. */
export const NEEDED: Record<string, string[]> = {
  'POST /api/v1/chats/import': ['agent_id'],
  'DELETE /api/v1/interactions': ['speaker_id'],
}

/** What filters are asked for that is no id. */
export const WORDS: Ids = {
  ...{ q: 'rows', tag: 'rows', channel: 'rows', name: 'Rows', uid: 'rows', type: 'order.shipped' },
  ...{
    kind: 'webhooks.recover',
    event_type: 'order.shipped',
    speaker_id: 'caller',
    conversation_id: 'talk',
    action: 'agent.create',
  },
  ...{
    resource: 'agent',
    request_id: 'req_none',
    include_inactive: 'true',
    include_archived: 'true',
  },
  ...{ created_after: '2020-01-01T00:00:00.000Z', created_before: '2020-01-02T00:00:00.000Z' },
}

const NOBODY = '0197b3c2-8f4e-7000-8000-00000000abcd'

/** Of the form that the filter takes, and in no row. */
export const RARE: Ids = {
  ...{
    q: 'zebra',
    tag: 'zebra',
    channel: 'zebra',
    name: 'Zebra',
    type: 'zebra.seen',
    event_type: 'zebra.seen',
  },
  ...{ speaker_id: 'zebra', conversation_id: 'zebra', action: 'zebra.see', resource: 'zebra', uid: 'zebra' },
  ...{ kind: 'zebra.see', agent_id: NOBODY, endpoint_id: NOBODY },
}

const BOUNDARY = 'rows'

/** A file as a form sends it. */
const FORM = [
  `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="rows.txt"`,
  `Content-Type: text/plain\r\n\r\nHow many rows?\r\n--${BOUNDARY}--\r\n`,
].join('\r\n')

type Body = { headers: Record<string, string>; text: string }

/** The document's example, with what an example can't know. */
export function bodyOf({ path, op }: Route, ids: Ids): Body | null {
  const [[type, { example }] = ['', {}]] = Object.entries(op.requestBody?.content ?? {})
  if (type === 'multipart/form-data') return sent(`${type}; boundary=${BOUNDARY}`, FORM)
  if (example === undefined) return null
  return sent(type, JSON.stringify({ ...(example as object), ...bodyFor(path, ids) }))
}

const sent = (type: string, text: string): Body => ({
  headers: { 'Content-Type': type, 'Content-Length': String(Buffer.byteLength(text)) },
  text,
})

function bodyFor(path: string, ids: Ids): object {
  if (path === '/api/platform/tenants') return { slug: `rows-${crypto.randomUUID()}` }
  if (path === '/api/platform/api-keys') return { tenant_id: ids.tenant }
  if (path === '/api/v1/chats') return { agent_id: ids.agents }
  if (path === '/api/v1/calls' || path === '/api/v1/campaigns') return { agent_id: ids.model }
  if (path === '/api/v1/items/import') return { file_id: ids.files, format: 'ndjson' }
  if (path === '/api/v1/kb/{id}/files/ingest') return { file_ids: [ids.files] }
  if (path === '/api/v1/tools/{id}/test') return { arguments: {} }
  if (path === '/api/v1/push/subscriptions') return { endpoint: `${PUSH_SERVICE}another` }
  if (path.startsWith('/api/v1/auth/mfa/')) return { code: ids.code }
  if (path.endsWith('/register/verify')) return { response: JSON.parse(ids.passkey ?? '{}') }
  if (path.startsWith('/api/v1/openai/')) return { model: ids.agents }
  if (path.endsWith('/send-example')) return { eventType: 'order.packed' }
  if (/\/(?:fork|feedback|active_leaf)$/.test(path)) return { message_id: ids.message_id }
  if (path.endsWith('/shares')) return { team_id: ids.teams }
  if (path === '/api/v1/users' || path.endsWith('/invitations'))
    return { email: `${crypto.randomUUID()}@example.com` }
  if (path.endsWith('/issuers')) return { aud: crypto.randomUUID() }
  if (path === '/api/v1/teams') return { name: crypto.randomUUID() }
  return {}
}

/** Nobody is there: a message is handed over to nobody, at once. */
export const PUSH_SERVICE = 'https://127.0.0.1:8443/'
