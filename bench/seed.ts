import type { Miniflare } from 'miniflare'
import { ORIGIN } from './runtime.ts'

/** How a request is told from one that should have gone well. */
export type Asked = {
  status: number
  headers: Record<string, string>
  text: string
  data: Record<string, unknown>
}

type Init = { headers?: Record<string, string>; body?: unknown }

/** A tenant of the service, made through its API like anybody's. */
export type Seeded = {
  token: string
  key: string
  refreshToken: string
  interactionId: string
}

export const LOGIN = { email: 'ada@example.com', password: 'a long and unusual phrase' }

const TEXTS = [
  'Where is my parcel? It was due on Monday and the tracking page has not changed since.',
  'I would like to change the delivery address of order 4711 to the one of my office.',
  'The invoice of last month names the old company; who can send me a new one, please?',
  'Thank you, that was quick. Nothing else for today.',
]

/** What a caller says; every text is one of four, by turns. */
export function saying(turn: number): { text: string; metadata: Record<string, unknown> } {
  return { text: TEXTS[turn % TEXTS.length] ?? '', metadata: { channel: 'phone', turn } }
}

/** One request to the service; throws where it is refused, since nothing that is measured may be an error. */
export async function ask(
  miniflare: Miniflare,
  method: string,
  path: string,
  init: Init = {},
): Promise<Asked> {
  const response = await miniflare.dispatchFetch(ORIGIN + path, {
    method,
    headers: { ...(init.body === undefined ? {} : { 'Content-Type': 'application/json' }), ...init.headers },
    body: init.body === undefined ? null : JSON.stringify(init.body),
    redirect: 'manual',
  })
  const text = await response.text()
  if (response.status >= 400) throw new Error(`${method} ${path} answers ${response.status}: ${text}`)
  const isJson = response.headers.get('Content-Type')?.startsWith('application/json') ?? false
  const body = isJson ? JSON.parse(text) : {}
  const headers = Object.fromEntries(response.headers)
  return { status: response.status, headers, text, data: body.data ?? body }
}

/** A header that carries a token. */
export const by = (token: string) => ({ Authorization: `Bearer ${token}` })

/** Nothing that is measured may be refused, and no limit be near: these are counted all the same. */
export const LIMITS = {
  ...{ requests_per_minute: 1_000_000, requests_per_hour: 50_000_000, requests_per_day: 1_000_000_000 },
  ...{ messages_per_minute: 100_000, deliveries_per_second: 10_000, open_streams: 1_000_000 },
}

/** Signs a tenant up, logs in, makes an API key and registers interactions. */
export async function seed(miniflare: Miniflare): Promise<Seeded> {
  const company = { name: 'Bench', slug: 'bench', full_name: 'Ada Lovelace', ...LOGIN }
  await ask(miniflare, 'POST', '/api/v1/tenants/onboarding/public', { body: company })
  const database = await miniflare.getD1Database('DB')
  await database
    .prepare("update tenants set rate_limits = ? where slug = 'bench'")
    .bind(JSON.stringify(LIMITS))
    .run()
  const { data: tokens } = await ask(miniflare, 'POST', '/api/v1/auth/login', { body: LOGIN })
  const token = String(tokens.access_token)
  const headers = by(token)
  const made = await ask(miniflare, 'POST', '/api/v1/auth/api-keys', { headers, body: { name: 'bench' } })
  let interactionId = ''
  for (let turn = 0; turn < 40; turn++) {
    const { data } = await ask(miniflare, 'POST', '/api/v1/interactions', { headers, body: saying(turn) })
    interactionId = String(data.id)
  }
  return { token, key: String(made.data.key), refreshToken: String(tokens.refresh_token), interactionId }
}
