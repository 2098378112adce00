import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Miniflare } from 'miniflare'
import { type Rows, rowsOf, takeAllNotes, takeNotes } from './notes.ts'
import { type Asked, ask, by, LOGIN, type Seeded, saying } from './seed.ts'

/** What a request costs in D1: the rows of its own statements, and those of what it sets going. */
export type Cost = { what: string; request: Rows; after: Rows }

/** The most rows that what was said, its event, its idempotency key and one delivery may write; two more begin a conversation, or say who spoke. */
export const MOST_ROWS_WRITTEN = 20

/** Every kind of request once, as D1 itself counts it. */
export async function measureCosts(recorder: Miniflare, seeded: Seeded): Promise<Cost[]> {
  const receiver = await startReceiver()
  const costs: Cost[] = []
  const headers = by(seeded.token)
  const cost = async (what: string, request: () => Promise<Asked>): Promise<Asked> => {
    await takeNotes(recorder)
    const answer = await request()
    const notes = await takeAllNotes(recorder)
    const [own, others] = [true, false].map((wanted) =>
      rowsOf(notes.filter((note) => (note.by === 'request') === wanted)),
    )
    if (own && others) costs.push({ what, request: own, after: others })
    return answer
  }
  /** The credential is looked up beforehand, so that what is counted is the route's own. */
  const warm = (
    what: string,
    method: string,
    path: string,
    init: { body?: unknown; headers?: object } = {},
  ) =>
    cost(what, async () => {
      await ask(recorder, 'GET', '/api/v1/webhooks/event-types?built_in=true', { headers })
      await ask(recorder, 'GET', '/notes')
      return ask(recorder, method, path, { ...init, headers: { ...headers, ...init.headers } })
    })
  try {
    await credentials(cost, warm, recorder, seeded)
    await reads(warm, seeded)
    await writes(warm, receiver.url)
    await chats(warm)
  } finally {
    receiver.stop()
  }
  return costs
}

type CostOf = (what: string, request: () => Promise<Asked>) => Promise<Asked>
type Warm = (
  what: string,
  method: string,
  path: string,
  init?: { body?: unknown; headers?: object },
) => Promise<Asked>

const types = '/api/v1/webhooks/event-types?built_in=true'

async function credentials(cost: CostOf, warm: Warm, recorder: Miniflare, seeded: Seeded): Promise<void> {
  const body = { name: 'Second', slug: 'second', ...LOGIN, email: 'grace@example.com' }
  await cost('POST /tenants/onboarding/public', () =>
    ask(recorder, 'POST', '/api/v1/tenants/onboarding/public', { body }),
  )
  const login = { email: body.email, password: body.password }
  const { data } = await cost('POST /auth/login', () =>
    ask(recorder, 'POST', '/api/v1/auth/login', { body: login }),
  )
  await cost('a token that this isolate has not seen yet', () =>
    ask(recorder, 'GET', types, { headers: by(String(data.access_token)) }),
  )
  await cost('POST /auth/refresh', () =>
    ask(recorder, 'POST', '/api/v1/auth/refresh', { body: { refresh_token: data.refresh_token } }),
  )
  const key = { headers: { 'X-API-Key': seeded.key } }
  await cost('an API key that this isolate has not seen yet', () => ask(recorder, 'GET', types, key))
  await cost('the same key again', () => ask(recorder, 'GET', types, key))
  await warm('GET /auth/me', 'GET', '/api/v1/auth/me')
  await warm('POST /auth/api-keys', 'POST', '/api/v1/auth/api-keys', { body: { name: 'another' } })
}

async function reads(warm: Warm, seeded: Seeded): Promise<void> {
  await warm('GET /webhooks/event-types', 'GET', types)
  await warm('GET /interactions, 20 of them', 'GET', '/api/v1/interactions?limit=20')
  await warm('GET /interactions/{id}', 'GET', `/api/v1/interactions/${seeded.interactionId}`)
}

async function writes(warm: Warm, receiverUrl: string): Promise<void> {
  const post = (what: string, turn: number, more: object = {}, headers: object = {}) =>
    warm(what, 'POST', '/api/v1/interactions', { body: { ...saying(turn), ...more }, headers })
  await post('POST /interactions, no endpoint', 1)
  await post('POST /interactions of a speaker, no endpoint', 2, { speaker_id: 'caller-17' })
  await post('POST /interactions of the same speaker', 2, { speaker_id: 'caller-17' })
  const done = { type: 'purchase', user_id: 'user-42', item_id: 'sku-1', value: 19.9 }
  await warm('POST /interactions, something done', 'POST', '/api/v1/interactions', { body: done })
  await warm('POST /webhooks', 'POST', '/api/v1/webhooks', {
    body: { url: receiverUrl, event_types: ['interaction.created'] },
  })
  await post('POST /interactions, delivered to one endpoint', 3)
  const key = { 'X-Idempotency-Key': 'bench-1' }
  const known = { conversation_id: 'call-4711' }
  await post('POST /interactions, the first of a conversation, delivered', 3, known)
  const { data } = await post(WHOLE, 4, known, key)
  await post('the same request again', 4, known, key)
  const other = { 'X-Idempotency-Key': 'bench-2' }
  await post(
    'POST /interactions of the same speaker, idempotency key, delivered',
    4,
    { speaker_id: 'caller-17' },
    other,
  )
  await warm('DELETE /interactions/{id}', 'DELETE', `/api/v1/interactions/${data.id}`)
  await warm('GET /deliveries', 'GET', '/api/v1/deliveries')
}

async function chats(warm: Warm): Promise<void> {
  const agent = await warm('POST /agents', 'POST', '/api/v1/agents', { body: { name: 'Echo', kind: 'echo' } })
  const chat = await warm('POST /chats', 'POST', '/api/v1/chats', { body: { agent_id: agent.data.id } })
  const path = `/api/v1/chats/${chat.data.id}`
  const say = { body: { content: 'Say it back' }, headers: { Accept: 'application/json' } }
  await warm('POST /chats/{id}/messages, the first', 'POST', `${path}/messages`, say)
  await warm('POST /chats/{id}/messages, the next', 'POST', `${path}/messages`, say)
  await warm('GET /chats', 'GET', '/api/v1/chats')
  await warm('GET /chats/{id}', 'GET', path)
}

/** The line that the bound of MOST_ROWS_WRITTEN is about. */
export const WHOLE = 'POST /interactions of a known conversation, idempotency key, delivered'

/** Takes every delivery. */
export async function startReceiver(): Promise<{ url: string; stop: () => void }> {
  const server = http.createServer((request, response) => {
    request.resume()
    response.end('ok')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
  const stop = () => {
    server.closeAllConnections()
    server.close()
  }
  return { url, stop }
}
