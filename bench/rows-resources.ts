import type { Miniflare } from 'miniflare'
import { restOf } from './rows-states.ts'
import type { Ids } from './rows-tenant.ts'
import { ORIGIN } from './runtime.ts'
import { ask } from './seed.ts'

// What a tenant has besides chats and webhooks: files, a knowledge base, calls, campaigns, workflows, tickets, invoices,
// and an application as Svix has it; made through the API like anybody's.

type Post = (path: string, body?: object) => Promise<Record<string, unknown>>

type Get = (path: string) => Promise<unknown>

/** The id of the first thing in a list that is meant. */
async function firstOf(
  get: Get,
  path: string,
  isMeant: (one: Record<string, unknown>) => boolean = () => true,
): Promise<string> {
  const list = (await get(path)) as Record<string, unknown>[]
  return String(list.find(isMeant)?.id)
}

export async function resourcesOf(
  recorder: Miniflare,
  headers: Record<string, string>,
  { chats = '' }: Ids,
  url: string,
): Promise<Ids> {
  const post: Post = async (path, body) =>
    (await ask(recorder, 'POST', `/api/v1${path}`, { headers, body })).data
  const idOf = async (path: string, body: object) => String((await post(path, body)).id)

  await idOf('/webhooks/event-types', { name: 'order.packed', description: 'An order was packed.' })
  await ask(recorder, 'PATCH', '/api/v1/speakers/caller', { headers, body: { name: 'Ada' } })
  const items = await idOf('/items', { external_id: 'sku-1042', title: 'Shoe', tags: ['rows'] })
  const files = await fileOf(recorder, post, '/files/presign')
  const kb = await idOf('/kb', { name: 'Rows' })
  const document = await fileOf(recorder, post, `/kb/${kb}/files/presign`)
  await post(`/kb/${kb}/files/ingest`, { file_ids: [document] })
  const tools = await idOf('/tools', {
    ...{ name: 'rows', description: 'Says nothing.', method: 'GET', url: `${url}/tool` },
    parameters: { type: 'object', properties: {}, additionalProperties: false },
  })
  const voice = { name: 'Rows', kind: 'external', provider: 'simulated', provider_voice_id: 'ava' }
  const voices = await idOf('/voices', voice)
  const caller = await idOf('/agents', { name: 'Caller', kind: 'echo', config: { voice_id: voices } })
  const calls = await idOf('/calls', { agent_id: caller, to: '+14155550123' })
  const campaigns = await idOf('/campaigns', { name: 'Rows', agent_id: caller, from: '+14155550100' })
  await post(`/campaigns/${campaigns}/contacts`, { contacts: [{ phone: '+14155550101', name: 'Ada' }] })
  const step = { name: 'tell', type: 'webhook', event_type: 'order.packed', data: {} }
  const workflows = await idOf('/workflows', { name: 'Rows', triggers: [], steps: [step] })
  const run = await idOf(`/workflows/${workflows}/start`, { input: {} })
  const tickets = await idOf('/tickets', { subject: 'Rows', body: 'How many?' })
  await post(`/tickets/${tickets}/comments`, { body: 'So many.' })
  const rule = { metric: 'error_rate', comparison: 'gt', threshold: 0.05, window_minutes: 5 }
  const rules = await idOf('/alerts/rules', { name: 'Rows', ...rule })
  await post(`/chats/${chats}/messages`, { content: 'Rows' })
  const get = async (path: string) => (await ask(recorder, 'GET', `/api/v1${path}`, { headers })).data
  const [document_id, message_id] = [
    await firstOf(get, `/kb/${kb}/documents`),
    await firstOf(get, `/chats/${chats}/messages`, ({ role }) => role === 'assistant'),
  ]
  const app = await svixOf(post, url)
  const put: Post = async (path) => (await ask(recorder, 'PUT', `/api/v1${path}`, { headers })).data
  const rest = await restOf(post, put, { chats, files })
  return {
    ...{ items, files, file_id: files, kb, document_id, message_id, tools, voices, calls, campaigns },
    ...{ workflows, run_id: run, tickets, rules, conversations: 'talk', speakers: 'caller' },
    ...{ 'event-types': 'order.packed', event_type_name: 'order.packed', model: caller, ...app, ...rest },
    recording: document,
  }
}

/** A text that was sent where the service said it should be. */
async function fileOf(recorder: Miniflare, post: Post, path: string): Promise<string> {
  const content = 'How many rows does a route read?'
  const said = { filename: 'rows.txt', content_type: 'text/plain', size: content.length }
  const upload = await post(path, said)
  const { pathname, search } = new URL(String(upload.url))
  const sent = await recorder.dispatchFetch(ORIGIN + pathname + search, {
    method: 'PUT',
    headers: { ...(upload.headers as Record<string, string>), 'Content-Length': String(content.length) },
    body: content,
  })
  if (!sent.ok) throw new Error(`PUT ${pathname} answers ${sent.status}: ${await sent.text()}`)
  await post(`/files/${upload.file_id}/complete`, {})
  return String(upload.file_id)
}

/** An application with an endpoint and a message that was delivered, by what the routes of Svix call them. */
async function svixOf(post: Post, url: string): Promise<Ids> {
  const app_id = String((await post('/app', { name: 'Rows', uid: 'rows-app' })).id)
  const endpoint = await post(`/app/${app_id}/endpoint`, { url, filterTypes: ['order.packed'] })
  const message = await post(`/app/${app_id}/msg`, { eventType: 'order.packed', payload: { n: 1 } })
  return { app_id, 'app/endpoint_id': String(endpoint.id), msg_id: String(message.id) }
}
