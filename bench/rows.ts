import type { Miniflare } from 'miniflare'
import { startReceiver } from './costs.ts'
import { type Rows, rowsOf, takeAllNotes, takeNotes } from './notes.ts'
import { ORIGIN } from './runtime.ts'
import { ask, by, LIMITS, LOGIN } from './seed.ts'
import { multiply, otherTenants } from './seed-rows.ts'

// npm run bench -- --rows: what each route reads and writes in D1 for a tenant with a hundred rows of everything, and
// for one with a hundred thousand, beside a thousand other tenants. Both are asked the same; the routes come from the
// OpenAPI document, so a new one joins by existing.

export const SMALL = 100
export const LARGE = 100_000
export const OTHERS = 1_000

/** What an operation came to in each of the two tenants. */
export type RowCount = { name: string; status: [number, number]; small: Rows; large: Rows }

type Ids = Record<string, string>
type Tenant = { token: string; ids: Ids }
type Parameter = { name: string; in: string; schema?: Schema }
type Schema = { enum?: string[]; anyOf?: Schema[]; type?: string }
type Operation = {
  security?: unknown[]
  parameters?: Parameter[]
  requestBody?: { content?: Record<string, { example?: unknown }> }
  responses: Record<string, { content?: Record<string, unknown> }>
  'x-required-scopes'?: string[]
}
type Route = { method: string; path: string; op: Operation }

/** What can't be asked here, with the reason. */
const LEFT_OUT: [RegExp, string][] = [
  [/^(?:GET|POST|PATCH|DELETE|PUT) \/api\/(?:platform|admin)\//, 'is of no tenant, and no tenant can ask it'],
  [/\/ws$|\/stream$/, 'is an object’s answer, which stays open'],
  [/\/avatar$/, 'is a picture in R2'],
  [/ \/api\/v1\/partners/, 'is of no tenant, and no tenant can ask it'],
  [/ \/api\/v1\/auth\/(?:logout|logout-all|password\/change)$/, 'ends the session that asks'],
  [/ \/api\/tenant\//, 'is the same as under /api/v1'],
]

export async function measureRows(recorder: Miniflare): Promise<RowCount[]> {
  const receiver = await startReceiver()
  try {
    return await measure(recorder, receiver.url)
  } finally {
    receiver.stop()
  }
}

async function measure(recorder: Miniflare, url: string): Promise<RowCount[]> {
  const database = await recorder.getD1Database('DB')
  const [small, large] = [
    await oneOfEach(recorder, database, url, 'small'),
    await oneOfEach(recorder, database, url, 'large'),
  ]
  await multiply(database, small.ids.tenant ?? '', SMALL)
  await multiply(database, large.ids.tenant ?? '', LARGE)
  await otherTenants(database, small.ids.tenant ?? '', OTHERS)
  for (const tenant of [small, large]) await spare(database, tenant.ids)
  const counts: RowCount[] = []
  for (const route of await routes(recorder))
    for (const variant of variantsOf(route, small.ids)) {
      const [few, many] = [
        await count(recorder, small, route, variant),
        await count(recorder, large, route, variant),
      ]
      const name = `${route.method} ${route.path}${variant ? `?${variant}` : ''}`
      counts.push({ name, status: [few.status, many.status], small: few.rows, large: many.rows })
    }
  return counts
}

/** Another user and session than those that ask, to be changed and removed. */
async function spare(database: D1Database, ids: Ids): Promise<void> {
  for (const table of ['users', 'sessions']) {
    const last = database.prepare(`select id from ${table} where tenant_id = ? order by rowid desc limit 1`)
    ids[table] = (await last.bind(ids.tenant ?? '').first<string>('id')) ?? ''
  }
}

/** Those whose reads grow with the tenant's rows. */
export const growing = (counts: readonly RowCount[]): RowCount[] =>
  counts.filter(
    ({ name, small, large }) =>
      large.read > small.read + BACKGROUND && !MAY_GROW.some(([one]) => one.test(name)),
  )

/** What goes on beside a request, now and then, is counted along with it: a sweep, a seal, a report of usage. */
const BACKGROUND = 25

/** What is looked for among its likes without an index: each is a row written with every row, for a rare question. */
export const MAY_GROW: [RegExp, string, string][] = [
  [/^GET \/api\/v1\/events\?channel/, '/events?channel=…', 'looked for among 5,000 events a page'],
  [
    /^GET \/api\/v1\/chats\?(?:tag|q)=/,
    '/chats?tag=…, ?q=…',
    'words in the titles and tags of one user’s chats',
  ],
  [
    /^GET \/api\/v1\/chats\?include_archived=/,
    '/chats?include_archived=…',
    'one user’s chats, the archived ones among them',
  ],
  [
    /^GET \/api\/v1\/(?:audit|tenants\/portal\/activity)\?(?:resource|request_id)=/,
    '/audit?resource=…, ?request_id=…',
    'looked for among 5,000 entries a page',
  ],
  [
    /\/audit\/(?:export|verify)/,
    '/audit/export, /audit/verify',
    'these are asked for the whole log, and read it',
  ],
  [
    /[?]status=delivered$/,
    '/deliveries?status=delivered',
    'nearly all deliveries are; where hardly any is, they are looked for among the others',
  ],
  [
    /invitations[?]status=expired$/,
    '/users/invitations?status=expired',
    'an invitation expires without anybody writing that down',
  ],
]

/** Reads first; what removes the one of each that the others need, last. */
async function routes(recorder: Miniflare): Promise<Route[]> {
  const { paths } = JSON.parse((await ask(recorder, 'GET', '/openapi.json')).text) as {
    paths: Record<string, Record<string, Operation>>
  }
  const all = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, op]) => ({ method: method.toUpperCase(), path, op })),
  )
  const turn = ({ method }: Route) => ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].indexOf(method)
  // What hangs on another thing goes before it: the longer path.
  const depth = ({ method, path }: Route) => (method === 'DELETE' ? -path.split('/').length : 0)
  return all
    .filter(
      ({ method, path, op }) =>
        (op.security?.length ?? 0) > 0 && !LEFT_OUT.some(([one]) => one.test(`${method} ${path}`)),
    )
    .sort((a, b) => turn(a) - turn(b) || depth(a) - depth(b))
}

/** A list is asked as it is, and by each of its filters. */
function variantsOf({ method, op }: Route, ids: Ids): string[] {
  if (method !== 'GET') return ['']
  const filters = (op.parameters ?? []).filter(
    (one) => one.in === 'query' && !['limit', 'cursor', 'after', 'last_event_id', 'v'].includes(one.name),
  )
  const words = filters.flatMap(({ name, schema }): string[] => {
    const choices = schema?.enum ?? schema?.anyOf?.flatMap((one) => one.enum ?? []) ?? []
    if (choices.length > 0) return choices.map((word) => `${name}=${word}`)
    if (!(name in WORDS || name in ids)) return []
    // What nothing has is looked for longest.
    return name in RARE ? [`${name}={${name}}`, `${name}=${RARE[name]}`] : [`${name}={${name}}`]
  })
  return ['', ...words]
}

const WORDS: Ids = {
  ...{ q: 'rows', tag: 'rows', channel: 'rows', name: 'Rows', uid: 'rows', type: 'order.shipped' },
  ...{ event_type: 'order.shipped', speaker_id: 'caller', conversation_id: 'talk', action: 'agent.create' },
  ...{ resource: 'agent', request_id: 'req_none', include_inactive: 'true', include_archived: 'true' },
  ...{ created_after: '2020-01-01T00:00:00.000Z', created_before: '2020-01-02T00:00:00.000Z' },
}

/** Of the form that the filter takes, and in no row. */
const RARE: Ids = {
  ...{
    q: 'zebra',
    tag: 'zebra',
    channel: 'zebra',
    name: 'Zebra',
    type: 'zebra.seen',
    event_type: 'zebra.seen',
  },
  ...{ speaker_id: 'zebra', conversation_id: 'zebra', action: 'zebra.see', resource: 'zebra', uid: 'zebra' },
}

async function count(recorder: Miniflare, tenant: Tenant, { method, path, op }: Route, variant: string) {
  const headers = by(tenant.token)
  const word = (_: string, name: string) => encodeURIComponent(tenant.ids[name] ?? WORDS[name] ?? 'none')
  const url = path.replace(/([a-z-]+)\/\{(\w+)\}/g, (_, what: string, name: string) => {
    const id = tenant.ids[name === 'id' || name === 'uid' ? what : name] ?? tenant.ids[name]
    return `${what}/${id ?? crypto.randomUUID()}`
  })
  const query = variant.replace(/\{(\w+)\}/g, word)
  const example = op.requestBody?.content?.['application/json']?.example
  const body = example === undefined ? undefined : { ...(example as object), ...bodyFor(path, tenant.ids) }
  // The credential is looked up beforehand, so that what is counted is the route's own.
  await ask(recorder, 'GET', '/api/v1/webhooks/event-types', { headers })
  await takeNotes(recorder)
  const response = await recorder.dispatchFetch(`${ORIGIN}${url}${query ? `?${query}` : ''}`, {
    method,
    headers: { ...headers, Accept: 'application/json', ...(body && { 'Content-Type': 'application/json' }) },
    body: body ? JSON.stringify(body) : null,
    redirect: 'manual',
  })
  await response.text()
  const notes = method === 'GET' ? await takeNotes(recorder) : await takeAllNotes(recorder)
  return { status: response.status, rows: rowsOf(notes) }
}

/** What an example can't know. */
function bodyFor(path: string, ids: Ids): object {
  if (path === '/api/v1/chats') return { agent_id: ids.agents }
  if (path.endsWith('/shares')) return { team_id: ids.teams }
  if (path === '/api/v1/users' || path.endsWith('/invitations'))
    return { email: `${crypto.randomUUID()}@example.com` }
  if (path.endsWith('/issuers')) return { aud: crypto.randomUUID() }
  if (path === '/api/v1/teams') return { name: crypto.randomUUID() }
  return {}
}

/** A tenant with one of everything, made through the API like anybody's. */
async function oneOfEach(
  recorder: Miniflare,
  database: D1Database,
  url: string,
  slug: string,
): Promise<Tenant> {
  const login = { ...LOGIN, email: `${slug}@example.com` }
  const company = { name: slug, slug, full_name: 'Ada Lovelace', ...login }
  const made = await ask(recorder, 'POST', '/api/v1/tenants/onboarding/public', { body: company })
  await database
    .prepare("update tenants set rate_limits = ?, plan = 'enterprise' where slug = ?")
    .bind(JSON.stringify(LIMITS), slug)
    .run()
  const { data: tokens } = await ask(recorder, 'POST', '/api/v1/auth/login', { body: login })
  const token = String(tokens.access_token)
  const headers = by(token)
  const { tenant, user } = made.data as { tenant: { id: string }; user: { id: string } }
  const post = async (path: string, body: object) =>
    String((await ask(recorder, 'POST', `/api/v1${path}`, { headers, body })).data.id)
  const agents = await post('/agents', { name: 'Rows', kind: 'echo' })
  const chats = await post('/chats', { agent_id: agents, title: 'Rows', tags: ['rows'] })
  const teams = await post('/teams', { name: 'Rows' })
  await ask(recorder, 'PUT', `/api/v1/teams/${teams}/members/${user.id}`, { headers })
  await ask(recorder, 'PUT', `/api/v1/chats/${chats}/shares`, {
    headers,
    body: { team_id: teams, role: 'viewer' },
  })
  const webhooks = await post('/webhooks', {
    url,
    uid: 'rows',
    event_types: ['order.shipped'],
  })
  const events = await post('/events', { type: 'order.shipped', data: {}, channels: ['rows'] })
  const said = { text: 'Rows', speaker_id: 'caller', conversation_id: 'talk' }
  const interactions = await post('/interactions', said)
  const keys = await post('/auth/api-keys', { name: 'Rows' })
  const invitations = await post('/users/invitations', { email: `guest-of-${slug}@example.com` })
  const issuers = await post('/auth/issuers', {
    ...{
      iss: `https://${slug}.example.com/`,
      aud: 'rows',
      jwks_uri: `https://${slug}.example.com/jwks.json`,
    },
  })
  await takeAllNotes(recorder)
  const delivery = database.prepare('select id from deliveries where tenant_id = ?').bind(tenant.id)
  const deliveries = (await delivery.first<string>('id')) ?? ''
  const ids = {
    ...{ tenant: tenant.id, user_id: user.id, actor: user.id },
    ...{
      agents,
      chats,
      teams,
      webhooks,
      events,
      interactions,
      invitations,
      issuers,
      deliveries,
      'api-keys': keys,
    },
    ...{ 'by-uid': 'rows', agent_id: agents, endpoint_id: webhooks, event_id: events, resource_id: agents },
    provider: 'github',
  }
  return { token, ids }
}
