import type { Hono } from 'hono'
import type { Bindings } from './env'
import type { AppEnv } from './http/app-env'

// The paths that the source documents show, answered as they show them. One table maps each to its /api/v1 handler; the
// answer loses its envelope and gains the documents' names. Errors keep the one shape they have everywhere.

type Json = Record<string, unknown>

type LegacyPath = {
  from: RegExp
  /** The path under /api/v1; `$1` is what followed. */
  to: string
  /** Query parameters the handler is given besides the caller's. */
  query?: Record<string, string>
  /** The documents' body as the handler takes it. */
  body?: (body: Json) => Json
  /** One resource as the documents show it. */
  show?: (resource: Json) => Json
  /** Fields that the answer is cut down to. */
  only?: string[]
  /** Lists take limit and offset. */
  offset?: true
}

const TABLE: LegacyPath[] = [
  // Chat Streaming API Guide
  {
    from: /^\/api\/auth\/(login|refresh)$/,
    to: '/api/v1/auth/$1',
    query: { cookies: 'only' },
    only: ['message'],
  },
  { from: /^\/api\/auth(\/.*)$/, to: '/api/v1/auth$1', show: showUser },
  {
    from: /^\/api\/agents(\/.*)?$/,
    to: '/api/v1/agents$1',
    body: (body) => body,
    show: withTeam,
    offset: true,
  },
  { from: /^\/api\/chats(\/.*)?$/, to: '/api/v1/chats$1', body: takeChat, show: showChat, offset: true },
  // Multi-Tenant Backend, version 2
  { from: /^\/api\/v2\/auth(\/.*)$/, to: '/api/v1/auth$1' },
]

const LEGACY = /^https?:\/\/[^/]+\/api\/(?:auth|agents|chats|v2\/auth)(?:[/?#]|$)/

/** The largest offset that is walked to; beyond it a cursor is the way. */
const MOST_OFFSET = 1_000

type Fetch = (request: Request, env: Bindings, execution: ExecutionContext) => Promise<Response>

/** The app's `fetch` with the legacy paths before it. */
export function withLegacyPaths(app: Hono<AppEnv>): Fetch {
  const inner: Fetch = async (request, env, execution) => app.fetch(request, env, execution)
  return async (request, env, execution) => {
    if (!LEGACY.test(request.url)) return inner(request, env, execution)
    const url = new URL(request.url)
    const path = url.pathname.replace(/(.)\/+$/, '$1')
    const entry = TABLE.find(({ from }) => from.test(path))
    if (!entry) return inner(request, env, execution)
    url.pathname = path.replace(entry.from, entry.to)
    for (const [name, value] of Object.entries(entry.query ?? {})) url.searchParams.set(name, value)
    const isList = entry.offset && request.method === 'GET' && !entry.from.exec(path)?.[1]
    if (isList) return list(entry, url, request, (asked) => inner(asked, env, execution))
    const answer = await inner(await translated(entry, url, request), env, execution)
    return bare(entry, answer)
  }
}

async function translated(entry: LegacyPath, url: URL, request: Request): Promise<Request> {
  const isJson = request.headers.get('Content-Type')?.startsWith('application/json') ?? false
  const text = entry.body && isJson ? await request.text() : ''
  const sent = parseObject(text)
  // A body that is no JSON object goes on as it is: its refusal is the handler's.
  if (!entry.body || !sent)
    return new Request(url, text === '' ? request : new Request(request, { body: text }))
  const { team_id, ...rest } = sent
  const translation = new Request(url, new Request(request, { body: JSON.stringify(entry.body(rest)) }))
  // The tenant comes from the credential; a body that names one is held to it as a header would be.
  if (typeof team_id === 'string') translation.headers.set('X-Tenant-ID', team_id)
  return translation
}

function parseObject(text: string): Json | null {
  try {
    const parsed: unknown = JSON.parse(text)
    return isObject(parsed) ? parsed : null
  } catch {
    return null
  }
}

/** The answer without its envelope. Streams, files and errors pass as they are. */
async function bare(entry: LegacyPath, answer: Response): Promise<Response> {
  const isJson = answer.headers.get('Content-Type')?.startsWith('application/json') ?? false
  if (!answer.ok || !isJson) return answer
  const body: unknown = await answer.json()
  const data = isObject(body) && 'data' in body ? body.data : body
  return print(answer, Array.isArray(data) ? data.map((one) => shown(entry, one)) : shown(entry, data))
}

function print(answer: Response, value: unknown): Response {
  const headers = new Headers(answer.headers)
  headers.delete('Content-Length')
  return new Response(JSON.stringify(value), { status: answer.status, headers })
}

function shown(entry: LegacyPath, data: unknown): unknown {
  if (!isObject(data)) return data
  const resource = entry.show ? entry.show(data) : data
  const { only } = entry
  return only
    ? Object.fromEntries(Object.entries(resource).filter(([name]) => only.includes(name)))
    : resource
}

/** Walks the cursor pages of the handler to the rows from `offset` on. */
async function list(
  entry: LegacyPath,
  url: URL,
  request: Request,
  ask: (request: Request) => Promise<Response>,
): Promise<Response> {
  const offset = Number(url.searchParams.get('offset') ?? 0)
  const limit = Number(url.searchParams.get('limit') ?? 50)
  // A number that can't be is the handler's to refuse: it knows no offset, and names it.
  if (!Number.isInteger(offset) || offset < 0 || offset > MOST_OFFSET || !(limit >= 1 && limit <= 100))
    return ask(new Request(url, request))
  url.searchParams.delete('offset')
  const rows: unknown[] = []
  for (;;) {
    url.searchParams.set('limit', String(Math.min(100, offset + limit - rows.length)))
    const answer = await ask(new Request(url, request))
    if (!answer.ok) return answer
    const page = (await answer.json()) as { data: unknown[]; meta: { next_cursor: string | null } }
    rows.push(...page.data)
    if (rows.length >= offset + limit || page.meta.next_cursor === null)
      return print(
        answer,
        rows.slice(offset, offset + limit).map((row) => shown(entry, row)),
      )
    url.searchParams.set('cursor', page.meta.next_cursor)
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function withTeam(resource: Json): Json {
  return 'tenant_id' in resource ? { team_id: resource.tenant_id, ...resource } : resource
}

/** The chat guide knows two roles, and whether a user is active. */
function showUser(resource: Json): Json {
  if (!('role' in resource)) return withTeam(resource)
  const role = resource.role === 'member' || resource.role === 'developer' ? 'user' : resource.role
  return { ...withTeam(resource), role, is_active: resource.status === 'active' }
}

/** The guide keeps a chat's tags in its metadata. */
function takeChat(body: Json): Json {
  if (!isObject(body.metadata) || !('tags' in body.metadata)) return body
  const { tags, ...metadata } = body.metadata
  return { ...body, metadata, tags }
}

function showChat(chat: Json): Json {
  const { tags, ...rest } = withTeam(chat)
  if (!Array.isArray(tags)) return rest
  const metadata = isObject(chat.metadata) ? chat.metadata : {}
  return { ...rest, tags, metadata: { ...metadata, ...(tags.length > 0 ? { tags } : {}) } }
}
