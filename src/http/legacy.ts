import type { Bindings } from '../env'
import { isUuid } from '../lib/ids'
import { problem } from '../lib/problem'
import { collect, DEFAULT_LIMIT, refuseUnusable, textOf } from './body'
import { continuing } from './continuation'
import { shownProblem } from './problems'

type Json = Record<string, unknown>

/** How one documented legacy path is served by its /api/v1 handler. */
export type LegacyPath = {
  /** The documented path, and where it is under /api/v1; `$1` is what the first group held. */
  from: RegExp
  to: string
  /** Only this method, and the handler's own where it is another. */
  method?: string
  as?: string
  /** Query parameters that the handler is given besides the caller's. */
  query?: Record<string, string>
  /** The first group is a tenant's id, checked against the credential as X-Tenant-ID is. */
  tenant?: true
  /** The documents' body (or form) as the handler takes it. */
  body?: (body: Json) => Json
  /** One resource as the documents show it. */
  show?: (resource: Json) => Json
  /** Fields by the handler's name that the documents call otherwise, for its refusals. */
  fields?: Record<string, string>
  /** The documents' status where it is not the handler's. */
  status?: number
  /** Without a group it is a list, which takes limit and offset; its handler is given these query parameters. */
  list?: Record<string, string>
}

type Fetch = (request: Request, env: Bindings, execution: ExecutionContext) => Response | Promise<Response>

/** The largest offset that is walked to; beyond it a cursor is the way. */
const MOST_OFFSET = 1_000

/** `fetch` with the legacy paths of `table` before it: asked as documented, answered bare. */
export function withLegacyPaths(table: readonly LegacyPath[], fetch: Fetch): Fetch {
  const translate: Fetch = async (request, env, execution) => {
    const url = new URL(request.url)
    const path = url.pathname.replace(/(.)\/+$/, '$1')
    const entries = table.filter(({ from }) => from.test(path))
    const entry = entries.find(({ method }) => !method || method === request.method)
    if (!entry) return otherMethod(entries, request, await fetch(request, env, execution))
    const [, group] = entry.from.exec(path) ?? []
    url.pathname = path.replace(entry.from, entry.to)
    for (const [name, value] of Object.entries(entry.query ?? {})) url.searchParams.set(name, value)
    const ask = async (asked: Request) => fetch(asked, env, execution)
    if (entry.list && request.method === 'GET' && !group) return list(entry, entry.list, url, request, ask)
    return bare(entry, await ask(await translated(entry, url, request, group)))
  }
  return (request, env, execution) =>
    // Every other request pays for this one look.
    CURRENT.test(request.url) ? fetch(request, env, execution) : translate(request, env, execution)
}

const CURRENT = /^https?:\/\/[^/]+\/api\/v1\//

async function translated(entry: LegacyPath, url: URL, request: Request, group?: string): Promise<Request> {
  const sent = entry.body ? await objectIn(request) : null
  const { team_id, ...rest } = sent ?? {}
  const headers = new Headers(request.headers)
  if (entry.tenant && group) nameTenant(headers, isUuid(group.toLowerCase()) ? group : NOBODY)
  if (team_id != null) nameTenant(headers, String(team_id))
  const method = entry.as ?? request.method
  if (!sent || !entry.body) return new Request(url, new Request(request, { method, headers }))
  headers.set('Content-Type', 'application/json')
  headers.delete('Content-Length')
  return new Request(url, { method, headers, body: JSON.stringify(entry.body(rest)), signal: request.signal })
}

/** The nil UUID: no tenant has it. */
const NOBODY = '00000000-0000-0000-0000-000000000000'

/** The tenant comes from the credential; a path or body that names one is held to it as the header would be. */
function nameTenant(headers: Headers, named: string): void {
  const id = named.toLowerCase()
  const header = headers.get('X-Tenant-ID')?.trim().toLowerCase() ?? id
  if (!isUuid(id)) headers.set('X-Tenant-ID', 'malformed')
  else if (header === id) headers.set('X-Tenant-ID', id)
  else if (isUuid(header)) headers.set('X-Tenant-ID', NOBODY)
}

/** A documented path under another method than its own: 405 in place of the 404 that the app has for it. */
async function otherMethod(entries: LegacyPath[], request: Request, answer: Response): Promise<Response> {
  const allowed = entries.flatMap(({ method }) => method ?? [])
  if (allowed.length === 0 || answer.status !== 404) return answer
  const headers = new Headers(answer.headers)
  headers.set('Allow', [...allowed, 'OPTIONS'].join(', '))
  if (request.method === 'OPTIONS') {
    headers.delete('Content-Type')
    return new Response(null, { status: 204, headers })
  }
  const message = `${request.method} is not for ${new URL(request.url).pathname}`
  const refusal = problem('method_not_allowed', message, { details: { allowed } })
  if (answer.body === null) return new Response(null, { status: refusal.status, headers })
  const { error } = (await answer.json()) as { error: Json }
  const shown = { error: { ...error, ...shownProblem(refusal) } }
  return print(new Response(null, { headers }), shown, refusal.status)
}

/** The body's JSON object or form fields; null for anything else, whose refusal is the handler's. */
async function objectIn(request: Request): Promise<Json | null> {
  if (request.method === 'GET' || request.method === 'HEAD') return null
  if (request.body === null) return {}
  const type = request.headers.get('Content-Type') ?? ''
  const isJson = type === '' || /^application\/json/i.test(type)
  if (!isJson && !/^(?:multipart\/form-data|application\/x-www-form-urlencoded)/i.test(type)) return null
  try {
    const bytes = await collect(request.clone().body, DEFAULT_LIMIT, () => new Error('over its limit'))
    // A request without a body may have an empty one by the time it arrives here.
    if (bytes.byteLength === 0) return {}
    return isJson ? jsonIn(type, textOf(bytes)) : await formIn(bytes, type)
  } catch {
    // Too large, or not what it claims to be: the handler says so.
    return null
  }
}

function jsonIn(type: string, text: string): Json | null {
  refuseUnusable(text)
  const parsed: unknown = type === '' ? null : JSON.parse(text)
  return isObject(parsed) ? parsed : null
}

async function formIn(bytes: Uint8Array<ArrayBuffer>, type: string): Promise<Json | null> {
  const form = [...(await new Response(bytes, { headers: { 'Content-Type': type } }).formData())]
  return form.every(([, value]) => typeof value === 'string') ? Object.fromEntries(form) : null
}

/** The answer without its envelope. Streams, files and the answer to HEAD pass as they are. */
async function bare(entry: LegacyPath, answer: Response): Promise<Response> {
  const isJson = answer.headers.get('Content-Type')?.startsWith('application/json') ?? false
  if (!isJson || answer.body === null) return answer
  const body: unknown = await answer.json()
  if (!answer.ok) return print(answer, renamed(body, entry.fields ?? {}))
  const data = isObject(body) && 'data' in body ? body.data : body
  return print(
    answer,
    Array.isArray(data) ? data.map((one) => shown(entry, one)) : shown(entry, data),
    entry.status,
  )
}

/** A refusal that names its fields as the documents do. */
function renamed(body: unknown, names: Record<string, string>): unknown {
  return withFields(body, (fields) =>
    Object.fromEntries(Object.entries(fields).map(([name, why]) => [names[name] ?? name, why])),
  )
}

function withFields(body: unknown, change: (fields: Json) => Json): unknown {
  if (!isObject(body) || !isObject(body.error) || !isObject(body.error.details)) return body
  const { fields } = body.error.details
  if (!isObject(fields)) return body
  return { error: { ...body.error, details: { ...body.error.details, fields: change(fields) } } }
}

function print(answer: Response, value: unknown, status = answer.status): Response {
  const headers = new Headers(answer.headers)
  headers.delete('Content-Length')
  return new Response(JSON.stringify(value), { status, headers })
}

function shown(entry: LegacyPath, data: unknown): unknown {
  return isObject(data) && entry.show ? entry.show(data) : data
}

/** Walks the cursor pages of the handler to the rows from `offset` on. */
async function list(
  entry: LegacyPath,
  query: Record<string, string>,
  url: URL,
  request: Request,
  ask: (request: Request) => Promise<Response>,
): Promise<Response> {
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value)
  const offset = Number(url.searchParams.get('offset') ?? 0)
  const limit = Number(url.searchParams.get('limit') ?? 50)
  // A number that can't be is the handler's to refuse: it knows no offset, and names it.
  if (!Number.isInteger(offset) || offset < 0 || offset > MOST_OFFSET) {
    const refused = await ask(new Request(url, request))
    const must = { offset: `must be a whole number from 0 to ${MOST_OFFSET}` }
    return print(
      refused,
      withFields(await refused.json(), (fields) => ({ ...fields, ...must })),
    )
  }
  url.searchParams.delete('offset')
  if (!(limit >= 1 && limit <= 100)) return ask(new Request(url, request))
  const rows: unknown[] = []
  let first = true
  for (;;) {
    url.searchParams.set('limit', String(Math.min(100, offset + limit - rows.length)))
    const asked = new Request(url, request)
    const answer = await ask(first ? asked : continuing(asked))
    first = false
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

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
