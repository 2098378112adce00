import type { Miniflare } from 'miniflare'
import { startReceiver } from './costs.ts'
import { type Rows, rowsOf, takeAllNotes, takeNotes } from './notes.ts'
import { bodyOf, MUST_BE, NEEDED, type Operation, RARE, type Route, WORDS } from './rows-asked.ts'
import { aloneOf, makeAlike, pairsOf } from './rows-pairs.ts'
import { ofPlatform, partnerOf, platformToken } from './rows-platform.ts'
import { deletedOnce, distinguish, idsFor, REFUSED } from './rows-states.ts'
import { type Ids, oneOfEach, type Tenant } from './rows-tenant.ts'
import { ORIGIN } from './runtime.ts'
import { ask, by } from './seed.ts'
import { multiply, otherTenants } from './seed-rows.ts'

// npm run bench -- --rows: what each route reads and writes in D1 for a tenant with a hundred rows of everything, and
// for one with a hundred thousand, beside a thousand other tenants. Both are asked the same; the routes come from the
// OpenAPI document, so a new one joins by existing.

export const SMALL = 100
export const LARGE = 100_000
export const OTHERS = 1_000

/** What an operation came to in each of the two tenants. */
export type RowCount = { name: string; status: [number, number]; small: Rows; large: Rows }

/** What can't be asked here, with the reason. */
const LEFT_OUT: [RegExp, string][] = [
  [/ \/api\/admin\//, 'is the same as under /api/platform'],
  [/ \/api\/platform\/keys\/reseal$/, 'is asked for everything, of every tenant'],
  [/\/ws$|\/stream$/, 'is an object’s answer, which stays open'],
  [/\/avatar$/, 'is a picture in R2'],
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
  const platform = await platformToken(recorder, database)
  const [small, large] = [
    await oneOfEach(recorder, database, url, 'small'),
    await oneOfEach(recorder, database, url, 'large'),
  ]
  for (const { ids } of [small, large])
    ids.partners = await partnerOf(recorder, platform, ids.tenant ?? '', ids.user_id ?? '')
  await multiply(database, small.ids.tenant ?? '', SMALL)
  await multiply(database, large.ids.tenant ?? '', LARGE)
  for (const { ids } of [small, large]) await makeAlike(database, ids.tenant ?? '')
  await otherTenants(database, small.ids.tenant ?? '', OTHERS)
  const deletions = await deletedOnce(database)
  for (const { ids } of [small, large]) {
    ids.deletions = deletions
    await distinguish(database, ids)
    await spare(database, ids)
  }
  await counted(database)
  const counts: RowCount[] = []
  for (const route of await routes(recorder))
    for (const variant of variantsOf(route, small.ids)) {
      const of = (tenant: Tenant) => count(recorder, askedBy(tenant, route, platform), route, variant)
      const few = await of(small)
      let many = await of(large)
      // A seal of ten thousand rows may have gone on at the same time; it does not the next time.
      if (route.method === 'GET' && many.rows.read > few.rows.read + BACKGROUND) many = await of(large)
      const name = `${route.method} ${route.path}${variant ? `?${variant}` : ''}`
      counts.push({ name, status: [few.status, many.status], small: few.rows, large: many.rows })
    }
  return counts
}

/** About whom a route is asked, by who may. */
const askedBy = (tenant: Tenant, { path }: Route, platform: string): Tenant =>
  ofPlatform(path) ? { ...tenant, token: platform, renew: async () => platform } : tenant

/** What was put there by hand counts as counted by day: nobody is to count it while routes are measured. */
async function counted(database: D1Database): Promise<void> {
  await database
    .prepare(
      `update ticket_numbers set last =
        (select coalesce(max(number), 0) from tickets as t where t.tenant_id = ticket_numbers.tenant_id)`,
    )
    .run()
  for (const table of ['events', 'interactions'])
    await database
      .prepare(
        `insert into followers (name, seq) select 'daily.${table}', max(seq) from ${table} where true
        on conflict (name) do update set seq = excluded.seq`,
      )
      .run()
}

/** Another user than who asks, to be changed and removed. */
async function spare(database: D1Database, ids: Ids): Promise<void> {
  const last = database.prepare('select id from users where tenant_id = ? order by rowid desc limit 1')
  ids.users = (await last.bind(ids.tenant ?? '').first<string>('id')) ?? ''
}

/** Those whose reads grow with the tenant's rows. */
export const growing = (counts: readonly RowCount[]): RowCount[] =>
  counts.filter(
    ({ name, small, large }) =>
      large.read > small.read + BACKGROUND && !MAY_GROW.some(([one]) => one.test(name)),
  )

/** Those that are refused, and so not measured, where nothing says why. */
export const refused = (counts: readonly RowCount[]): RowCount[] =>
  counts.filter(
    ({ name, status }) => status.some((one) => one >= 400) && !REFUSED.some(([one]) => one.test(name)),
  )

/** What goes on beside a request, now and then, is counted along with it: a sweep, a seal, a report of usage. */
const BACKGROUND = 25

/** What is asked for everything that there is. */
export const MAY_GROW: [RegExp, string, string][] = [
  [
    /\/audit\/(?:export|verify)/,
    '/audit/export, /audit/verify',
    'these are asked for the whole log, and read it',
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
  // What the platform does to a tenant comes after all that the tenant does. An authenticator app is there for its own
  // routes alone: with it nobody logs in by a password.
  const turn = ({ method, path }: Route) =>
    path.startsWith('/api/v1/auth/mfa/') && method !== 'GET'
      ? { POST: 1.4, DELETE: 1.5 }[method as 'POST' | 'DELETE']
      : ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].indexOf(method) + (ofPlatform(path) ? 5 : 0)
  // What hangs on another thing goes before it: the longer path.
  const depth = ({ method, path }: Route) => (method === 'DELETE' ? -path.split('/').length : 0)
  return all
    .filter(
      ({ method, path, op }) =>
        (op.security?.length ?? 0) > 0 && !LEFT_OUT.some(([one]) => one.test(`${method} ${path}`)),
    )
    .sort((a, b) => turn(a) - turn(b) || depth(a) - depth(b))
}

/** A list is asked as it is, by each of its filters, and some by two at once. */
function variantsOf({ method, path, op }: Route, ids: Ids): string[] {
  const filters = (op.parameters ?? []).filter(
    (one) => one.in === 'query' && !['limit', 'cursor', 'after', 'last_event_id', 'v'].includes(one.name),
  )
  const words = filters.flatMap(({ name, schema }): string[] => {
    const choices = schema?.enum ?? schema?.anyOf?.flatMap((one) => one.enum ?? []) ?? []
    if (choices.length > 0) return choices.map((word) => `${name}=${word}`)
    if (!(name in WORDS || name in ids)) return []
    // What nothing has is looked for longest.
    return name in RARE && !(name === 'endpoint_id' && MUST_BE.test(path))
      ? [`${name}={${name}}`, `${name}=${RARE[name]}`]
      : [`${name}={${name}}`]
  })
  const needed = [
    ...filters.filter(({ required }) => required).map(({ name }) => name),
    ...(NEEDED[`${method} ${path}`] ?? []),
  ].map((name) => `${name}={${name}}`)
  const withNeeded = (word: string) =>
    [...needed.filter((one) => !word.startsWith(one.slice(0, one.indexOf('=') + 1))), word]
      .filter(Boolean)
      .join('&')
  if (method !== 'GET') return [withNeeded('')]
  const asked = ['', ...words.map((word) => aloneOf(path, word)), ...pairsOf(path, words)]
  return [...new Set(asked.map(withNeeded))]
}

async function count(recorder: Miniflare, tenant: Tenant, route: Route, variant: string) {
  const { method, path } = route
  // The credential is looked up beforehand, so that what is counted is the route's own.
  const headers = await warmed(recorder, tenant, path)
  const ids = await idsFor(recorder, tenant, route)
  const own = (name: string) => ids[`${path.split('/')[3]}/${name}`]
  const word = (_: string, name: string) =>
    encodeURIComponent(own(name) ?? ids[name] ?? WORDS[name] ?? 'none')
  const url = path.replace(/([a-z-]+)\/\{(\w+)\}/g, (_, what: string, name: string) => {
    const id = own(name) ?? ids[['id', 'uid', 'name'].includes(name) ? what : name] ?? ids[name]
    return `${what}/${id ?? crypto.randomUUID()}`
  })
  const query = variant.replace(/\{(\w+)\}/g, word)
  const body = bodyOf(route, ids)
  // What was made for it alone is over before it is asked.
  await (ids === tenant.ids ? takeNotes : takeAllNotes)(recorder)
  const response = await recorder.dispatchFetch(`${ORIGIN}${url}${query ? `?${query}` : ''}`, {
    method,
    headers: { ...headers, Accept: 'application/json', ...body?.headers },
    body: body?.text ?? null,
    redirect: 'manual',
  })
  await response.text()
  const all = method === 'GET' ? await takeNotes(recorder) : await takeAllNotes(recorder)
  // A job looks at each thing that it is for.
  const notes = response.status === 202 ? all.filter(({ by }) => by === 'request') : all
  return { status: response.status, rows: rowsOf(notes) }
}

/** The headers of who asks; with a new token where the last route ended the one before. */
async function warmed(recorder: Miniflare, tenant: Tenant, path: string) {
  const about = ofPlatform(path)
    ? '/api/platform/tenants?limit=1'
    : '/api/v1/webhooks/event-types?built_in=true'
  const send = () => recorder.dispatchFetch(ORIGIN + about, { headers: by(tenant.token) })
  if ((await send()).status === 401) {
    tenant.token = await tenant.renew()
    await send()
  }
  return by(tenant.token)
}
