import { Buffer } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { type Answer, type Asked, answer, scripted } from './scripted'

// Ultravox's REST API as its OpenAPI document tells it (docs.ultravox.ai/api-reference), so far as agents and calls need it:
// /ultravox/{name}/api/…. PUT /control/calls/{id} changes what has become of a call, `{joined, ended, endReason, messages,
// recording}`, and answers with the call as a webhook would have it. Keys other than those that begin with uv_ are refused.

type Json = Record<string, unknown>
type Agent = { agentId: string; name: string; created: string; callTemplate: Json }
type Call = Json & {
  callId: string
  joined: string | null
  ended: string | null
  metadata: Record<string, string>
}
type State = {
  base: string
  agents: Agent[]
  calls: Call[]
  messages: Map<string, Json[]>
  recordings: Map<string, Buffer>
}

const DURATION = /^(?:0|[1-9]\d{0,11})(?:\.\d{1,9})?s$/
const TEMPLATE: Record<string, (value: unknown) => boolean> = {
  systemPrompt: isText,
  temperature: (value) => typeof value === 'number' && value >= 0 && value <= 1,
  model: isText,
  voice: isText,
  externalVoice: (value) => Object.keys(value as Json).length === 1 && Boolean((value as Json).elevenLabs),
  languageHint: (value) => isText(value) && (value as string).length <= 16,
  maxDuration: isDuration,
  joinTimeout: isDuration,
  recordingEnabled: (value) => typeof value === 'boolean',
  firstSpeakerSettings: (value) =>
    Object.keys(value as Json).length === 1 &&
    Object.keys(value as Json).every((who) => who === 'user' || who === 'agent'),
  medium: (value) => Object.keys(value as Json).length === 1 && 'telnyx' in (value as Json),
  selectedTools: (value) => Array.isArray(value) && value.every(isTool),
}
const START: typeof TEMPLATE = {
  ...Object.fromEntries(
    ['maxDuration', 'joinTimeout', 'recordingEnabled', 'firstSpeakerSettings', 'medium'].map((name) => [
      name,
      TEMPLATE[name] as () => boolean,
    ]),
  ),
  metadata: (value) =>
    Object.entries(value as Json).every(
      ([name, text]) => !name.startsWith('ultravox.') && typeof text === 'string',
    ),
  templateContext: (value) => typeof value === 'object' && value !== null,
}

function isText(value: unknown): boolean {
  return typeof value === 'string'
}
function isDuration(value: unknown): boolean {
  return typeof value === 'string' && DURATION.test(value)
}

const LOCATIONS = ['QUERY', 'PATH', 'HEADER', 'BODY'].map((place) => `PARAMETER_LOCATION_${place}`)

function isTool(value: unknown): boolean {
  const tool = (value as { temporaryTool?: Json }).temporaryTool
  const parameters = [
    ...((tool?.dynamicParameters ?? []) as Json[]),
    ...((tool?.staticParameters ?? []) as Json[]),
  ]
  const http = tool?.http as Json | undefined
  return (
    /^[a-zA-Z0-9_-]{1,64}$/.test(String(tool?.modelToolName)) &&
    parameters.every(({ name, location }) => isText(name) && LOCATIONS.includes(String(location))) &&
    /^https?:\/\//.test(String(http?.baseUrlPattern)) &&
    ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].includes(String(http?.httpMethod))
  )
}

const invalid = (field: string, words: string): Answer => answer(400, { [field]: [words] })
const notFound = answer(404, { detail: 'Not found.' })

/** The first field that is none of the protocol's, or has what it may not. */
function wrongIn(given: Json, known: typeof TEMPLATE): Answer | null {
  for (const [name, value] of Object.entries(given)) {
    const isRight = known[name]
    if (!isRight) return invalid(name, 'Unknown field.')
    if (!isRight(value)) return invalid(name, 'Invalid value.')
  }
  return null
}

export const ultravox = scripted<State>(
  (base) => ({ base, agents: [], calls: [], messages: new Map(), recordings: new Map() }),
  (state, asked) => {
    // A signed URL is asked by whoever has it, and is none of the API’s.
    const signed = asked.query.signed === '1' && asked.headers['x-api-key'] === undefined
    if (!signed && !asked.headers['x-api-key']?.startsWith('uv_'))
      return answer(asked.headers['x-api-key'] ? 403 : 401, {
        detail: 'Authentication credentials were not provided.',
      })
    const [, , kind, id, what] = asked.path.split('/')
    if (kind === 'agents') return ofAgents(state, asked, id, what)
    if (kind === 'calls') return ofCalls(state, asked, id, what)
    return notFound
  },
  (state, path, body) => {
    if (path === '/agents') return state.agents
    if (path === '/calls') return state.calls
    const call = state.calls.find(({ callId }) => path === `/calls/${callId}`)
    if (!call) return null
    const { messages, recording, ...fields } = body as Json
    if (messages) state.messages.set(call.callId, messages as Json[])
    if (recording) state.recordings.set(call.callId, Buffer.from(recording as string, 'base64'))
    return Object.assign(call, fields)
  },
)

function ofAgents(state: State, { method, query, path, body }: Asked, id?: string, what?: string): Answer {
  const agent = state.agents.find(({ agentId }) => agentId === id)
  if (id !== undefined && !agent) return notFound
  if (method === 'POST' && what === 'calls' && agent) return started(state, agent, body as Json)
  if (method === 'GET' && !agent)
    return paged(
      state,
      path,
      state.agents.filter(({ name }) => name.includes(query.search ?? '')),
      query,
    )
  if (method === 'GET') return answer(200, agent)
  if (method === 'DELETE') {
    state.agents = state.agents.filter((one) => one !== agent)
    return answer(204)
  }
  const given = (body ?? {}) as { name?: string; callTemplate?: Json }
  const wrong = wrongAgent(given)
  if (wrong) return wrong
  if (agent) return answer(200, Object.assign(agent, given))
  const { name = '', callTemplate = {} } = given
  const made = { agentId: randomUUID(), name, created: new Date().toISOString(), callTemplate }
  state.agents.push(made)
  return answer(201, made)
}

function wrongAgent({
  name,
  callTemplate = {},
  ...others
}: {
  name?: string
  callTemplate?: Json
}): Answer | null {
  const [unknown] = Object.keys(others)
  if (unknown) return invalid(unknown, 'Unknown field.')
  if (name !== undefined && !/^[a-zA-Z0-9_-]{1,64}$/.test(name))
    return invalid('name', 'Name must be at most 64 characters of letters, digits, _ and -.')
  return wrongIn(callTemplate, TEMPLATE)
}

/** Names between two pairs of braces, which must be given when a call is started. */
const variablesOf = (template: Json) =>
  [...JSON.stringify(template).matchAll(/\{\{\s*([\w.]+)\s*\}\}/g)].map(([, name = '']) => name)

const at = (value: unknown, path: string) =>
  path.split('.').reduce((from: unknown, name) => (from as Json | undefined)?.[name], value)

function started(state: State, agent: Agent, given: Json = {}): Answer {
  const wrong = wrongIn(given, START)
  if (wrong) return wrong
  const missing = variablesOf(agent.callTemplate).find(
    (name) => at(given.templateContext, name) === undefined,
  )
  if (missing) return invalid('templateContext', `'${missing.split('.')[0]}' is a required property`)
  const callId = randomUUID()
  const { medium, metadata = {}, ...own } = given as Json & { metadata?: Record<string, string> }
  const call: Call = {
    ...agent.callTemplate,
    ...own,
    ...{
      callId,
      metadata,
      medium: medium ?? null,
      agentId: agent.agentId,
      agent: { agentId: agent.agentId, name: agent.name },
    },
    ...{ created: new Date().toISOString(), joined: null, ended: null, endReason: null },
    ...{ billedDuration: null, billingStatus: 'BILLING_STATUS_PENDING', shortSummary: null, summary: null },
    joinUrl: `wss://voice.example.com/calls/${callId}/telnyx`,
  }
  state.calls.push(call)
  return answer(201, call)
}

function ofCalls(state: State, { method, query, path }: Asked, id?: string, what?: string): Answer {
  if (method === 'GET' && id === undefined) {
    const wanted = Object.entries(query).filter(([name]) => name.startsWith('metadata.'))
    const found = state.calls.filter(({ metadata }) =>
      wanted.every(([name, value]) => metadata[name.slice('metadata.'.length)] === value),
    )
    return paged(state, path, found.toReversed(), query)
  }
  const call = state.calls.find(({ callId }) => callId === id)
  if (!call || method !== 'GET') return notFound
  if (what === undefined) return answer(200, call)
  if (what === 'messages') return paged(state, path, state.messages.get(call.callId) ?? [], query)
  const recording = state.recordings.get(call.callId)
  if (what !== 'recording' || !recording) return notFound
  // A signed URL elsewhere, as Ultravox has it.
  if (query.signed === undefined)
    return { status: 302, headers: { Location: `${state.base}${path}?signed=1` } }
  return { status: 200, bytes: recording, headers: { 'Content-Type': 'audio/wav' } }
}

function paged(state: State, path: string, all: Json[], query: Record<string, string>): Answer {
  const from = Number(query.cursor ?? 0)
  const size = Math.min(Number(query.pageSize ?? 10), 100)
  const next = from + size < all.length ? `${state.base}${path}?cursor=${from + size}&pageSize=${size}` : null
  return answer(200, { results: all.slice(from, from + size), next, previous: null, total: all.length })
}
