import type { Miniflare } from 'miniflare'
import { workerdPid } from '../cpu.ts'
import { ORIGIN, portOf } from '../runtime.ts'
import { ask, by, LIMITS, LOGIN } from '../seed.ts'
import { Poster } from './poster.ts'
import type { Sender } from './sender.ts'

/** A tenant of the service, whose limits are far. */
export type Tenant = Sender & {
  /** Makes an endpoint and answers with its id. */
  makeEndpoint: (endpoint: {
    url: string
    event_types: string[]
    [field: string]: unknown
  }) => Promise<string>
  call: (method: string, path: string, body?: object) => Promise<Record<string, unknown>>
  stop: () => Promise<void>
}

/** How many posts may be under way at once. */
const CONNECTIONS = 64

/** Signs the tenant up at the `service`, one of the workers of `miniflare`. */
export async function makeTenant(miniflare: Miniflare, service = 'service'): Promise<Tenant> {
  const company = { name: 'Bench', slug: 'bench', full_name: 'Ada Lovelace', ...LOGIN }
  await ask(miniflare, 'POST', '/api/v1/tenants/onboarding/public', { body: company })
  const database = await miniflare.getD1Database('DB', service)
  await database
    .prepare("update tenants set rate_limits = ? where slug = 'bench'")
    .bind(JSON.stringify(LIMITS))
    .run()
  const { data: tokens } = await ask(miniflare, 'POST', '/api/v1/auth/login', { body: LOGIN })
  const asAda = { headers: by(String(tokens.access_token)), body: { name: 'bench' } }
  const { data } = await ask(miniflare, 'POST', '/api/v1/auth/api-keys', asAda)
  const headers = { 'X-API-Key': String(data.key) }
  const call = async (method: string, path: string, body?: object) =>
    (await again(() => ask(miniflare, method, path, { headers, body }))).data
  const port = await portOf(miniflare, service)
  const poster = new Poster({ port, url: `${ORIGIN}/api/v1/events`, headers }, CONNECTIONS)
  const endpoints: string[] = []
  const each = (word: string) =>
    Promise.all(endpoints.map((id) => call('POST', `/api/v1/webhooks/${id}/${word}`, {})))
  const number = (sql: string) => async () =>
    (await again(() => database.prepare(sql).first<number>('number'))) ?? 0
  return {
    name: 'Causeway',
    poster,
    processes: [workerdPid() ?? 0],
    open: number(OPEN),
    logged: number('select sum(attempt_count) as number from deliveries'),
    hold: async () => {
      await each('pause')
    },
    release: async () => {
      await each('enable')
    },
    makeEndpoint: async (endpoint) => {
      const { id } = await call('POST', '/api/v1/webhooks', endpoint)
      endpoints.push(String(id))
      return String(id)
    },
    call,
    stop: async () => {
      poster.close()
      await miniflare.dispose()
    },
  }
}

/**
 * Once more where the connection was reset: Miniflare's client keeps its connections, and workerd closes those that were
 * idle while a request is on its way.
 */
async function again<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!isReset(error)) throw error
    return work()
  }
}

const isReset = (error: unknown): boolean =>
  error instanceof Error &&
  (/ECONNRESET|other side closed|socket hang up/.test(
    `${(error as { code?: string }).code} ${error.message}`,
  ) ||
    isReset(error.cause))

const OPEN = `select (select count(*) from deliveries where status = 'pending')
  + (select count(*) from events where dispatched = 0) as number`
