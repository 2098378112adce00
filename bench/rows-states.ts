import type { Miniflare } from 'miniflare'
import { newId } from '../src/lib/ids.ts'
import { PUSH_SERVICE, type Route } from './rows-asked.ts'
import { codeOf, passkeyFor } from './rows-factors.ts'
import type { Ids, Tenant } from './rows-tenant.ts'
import { ask, by } from './seed.ts'

// What a route needs that no request of a tenant makes, or that the routes before it have used up.

type Post = (path: string, body?: object) => Promise<Record<string, unknown>>

const LONG_AGO = '2020-01-01T00:00:00.000Z'

/** Rows that time makes, or a provider: an alert, an invoice, and a login at a provider. */
export async function insertRest(database: D1Database, { tenant = '', user_id = '' }: Ids): Promise<Ids> {
  const insert = async (table: string, row: Record<string, unknown>) => {
    const id = newId(Date.now())
    const all = { tenant_id: tenant, id, version: 1, created_at: LONG_AGO, ...row }
    const columns = Object.keys(all).join(', ')
    const marks = Object.keys(all).map(() => '?')
    await database
      .prepare(`insert into ${table} (${columns}) values (${marks})`)
      .bind(...Object.values(all))
      .run()
    return id
  }
  const alerts = await insert('alerts', {
    ...{ rule_id: newId(Date.now()), name: 'Rows', metric: 'error_rate', comparison: 'gt', threshold: 0.05 },
    ...{ window_minutes: 5, value: 0.1, status: 'resolved', resolved_at: LONG_AGO, updated_at: LONG_AGO },
  })
  const invoices = await insert('invoices', {
    ...{ seq: 1, number: 'R-1', status: 'paid', currency: 'usd', amount_due: 0, amount_paid: 0, lines: '[]' },
    ...{ provider: 'ledger', provider_id: 'ledger:2020-01', period_start: LONG_AGO, period_end: LONG_AGO },
    ...{ issued_at: LONG_AGO, updated_at: LONG_AGO },
  })
  const login = {
    provider: 'github',
    issuer: 'https://github.com',
    subject: user_id,
    email: 'ada@example.com',
  }
  const accounts = await insert('oauth_accounts', { user_id, ...login })
  return { alerts, invoices, accounts }
}

/** What a person has besides a password, and what was bought; made through the API like anybody's. */
export async function restOf(post: Post, put: Post, { chats, files }: Ids): Promise<Ids> {
  await post('/auth/mfa/totp')
  const response = passkeyFor(await post('/auth/passkeys/register/options'))
  const { id: passkeys } = await post('/auth/passkeys/register/verify', { response })
  const { id: subscriptions } = await post('/push/subscriptions', { endpoint: PUSH_SERVICE, keys: PUSH_KEYS })
  const success_url = 'https://app.example.com/billing'
  const { id: checkouts } = await post('/billing/checkout', { credits: 10_000, success_url })
  await put(`/chats/${chats}/attachments/${files}`)
  return Object.fromEntries(
    Object.entries({ passkeys, subscriptions, checkouts }).map(([name, id]) => [name, String(id)]),
  )
}

const PUSH_KEYS = {
  p256dh: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4',
  auth: 'BTBZMqHH6r4Tts7J_aSIgg',
}

/** Of all those rows the one that is asked for: its alert lasts, its interaction was recorded. */
export async function distinguish(database: D1Database, ids: Ids): Promise<void> {
  const set = (table: string, what: string, id = '', ...more: string[]) =>
    database
      .prepare(`update ${table} set ${what} where tenant_id = ? and id = ?`)
      .bind(...more, ids.tenant, id)
      .run()
  await set('alerts', "status = 'open', resolved_at = null", ids.alerts)
  await set('interactions', 'audio_file_id = ?', ids.interactions, ids.recording ?? '')
}

/** Every other tenant was deleted once; answers with one of them. */
export async function deletedOnce(database: D1Database): Promise<string> {
  const at = `'${LONG_AGO}'`
  const { results } = await database
    .prepare(
      `insert into deletions (id, cancelled_at, delete_after, started_at, finished_at, resume_at, removed)
      select id, ${at}, ${at}, ${at}, ${at}, ${at}, '{}' from tenants
      where is_platform = 0 and slug not in ('small', 'large') returning id`,
    )
    .all<{ id: string }>()
  return results[0]?.id ?? ''
}

type At = { tenant: Tenant; database: D1Database; post: Post; get: Post }
type Before = (at: At) => Promise<Ids>

/** A code is good for one use; time goes on in between, here by hand. */
const anotherCode: Before = async ({ tenant: { ids }, database }) => {
  await database
    .prepare('update totp_enrolments set last_step = 0 where tenant_id = ? and user_id = ?')
    .bind(ids.tenant, ids.user_id)
    .run()
  return { code: codeOf(ids.secret ?? '') }
}

/** All sessions of the tenant are one person's here; what ends the others ends as few as a person has. */
const endOldSessions: Before = async ({ tenant: { ids }, database }) => {
  const mine = 'tenant_id = ?1 and user_id = ?2'
  await database
    .prepare(
      `update sessions set ended_at = created_at where ${mine} and ended_at is null
        and id not in (select id from sessions where ${mine} order by id desc limit 10)`,
    )
    .bind(ids.tenant, ids.user_id)
    .run()
  return {}
}

/** A job that goes on for a day. */
const waiting: Before = async ({ post }) => {
  const wait = { name: 'wait', type: 'wait', seconds: 86_400 }
  const { id } = await post('/workflows', { name: 'Waits', triggers: [], steps: [wait] })
  return { jobs: String((await post(`/workflows/${id}/start`, { input: {} })).id) }
}

const made =
  (name: string, path: string, body: (ids: Ids) => object, key = 'id'): Before =>
  async ({ tenant: { ids }, post }) => ({ [name]: String((await post(path, body(ids)))[key]) })

/** The first attempt at a message’s delivery, as Svix names it. */
const attempt: Before = async ({ tenant: { ids }, get }) => {
  const [first] = (await get(`/app/${ids.app_id}/attempt/msg/${ids.msg_id}`)) as unknown as { id: string }[]
  return { attempt_id: first?.id ?? '' }
}

const endpoint = { url: 'https://example.com/hook', event_types: ['order.shipped'] }
const pending = { filename: 'rows.txt', content_type: 'text/plain', size: 32 }

/** What is made just before a route is asked, and for it alone. */
const BEFORE: Record<string, Before> = {
  'POST /api/v1/auth/mfa/totp/confirm': async (at) => {
    await endOldSessions(at)
    at.tenant.ids.secret = String((await at.post('/auth/mfa/totp')).secret)
    return anotherCode(at)
  },
  'POST /api/v1/auth/mfa/recovery-codes': anotherCode,
  'DELETE /api/v1/auth/mfa/totp': anotherCode,
  'POST /api/v1/auth/passkeys/register/verify': async ({ post }) => ({
    passkey: JSON.stringify(passkeyFor(await post('/auth/passkeys/register/options'))),
  }),
  'POST /api/v1/files/{id}/presign': made('files', '/files/presign', () => pending, 'file_id'),
  'POST /api/v1/deliveries/{id}/retry': async ({ tenant: { ids }, post }) => {
    await post(`/webhooks/${ids.webhooks}/enable`)
    return {}
  },
  'POST /api/v1/deliveries/{id}/cancel': async ({ tenant: { ids }, database }) => {
    const held = "update deliveries set status = 'held' where tenant_id = ? and id = ?"
    await database.prepare(held).bind(ids.tenant, ids.deliveries).run()
    return {}
  },
  // Nobody hangs up at this number.
  'POST /api/v1/calls/{id}/end': made('calls', '/calls', ({ model }) => ({
    agent_id: model,
    to: '+14155550005',
  })),
  'POST /api/v1/campaigns/{id}/contacts': made('campaigns', '/campaigns', ({ model }) => ({
    ...{ name: 'Goes on', agent_id: model, from: '+14155550100' },
  })),
  'POST /api/v1/jobs/{id}/cancel': waiting,
  'POST /api/v1/jobs/{id}/retry': async (at) => {
    const ids = await waiting(at)
    await at.post(`/jobs/${ids.jobs}/cancel`)
    return ids
  },
  'GET /api/v1/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}': attempt,
  'DELETE /api/v1/app/{app_id}/msg/{msg_id}/attempt/{attempt_id}/content': attempt,
  'DELETE /api/v1/auth/sessions/{id}': async ({ tenant, database }) => {
    await tenant.renew()
    const newest = 'select id from sessions where tenant_id = ? and user_id = ? order by id desc limit 1'
    const id = database.prepare(newest).bind(tenant.ids.tenant, tenant.ids.user_id).first<string>('id')
    return { sessions: (await id) ?? '' }
  },
  'DELETE /api/v1/webhooks/{id}': made('webhooks', '/webhooks', () => endpoint),
  'DELETE /api/v1/event-type/{event_type_name}': made(
    'event_type_name',
    '/webhooks/event-types',
    () => ({ name: 'order.gone' }),
    'name',
  ),
  // The tenant is cancelled by then, and others have keys of the same id.
  'DELETE /api/platform/api-keys/{id}': async ({ tenant: { ids }, database }) => {
    const made = 'select id from api_keys where tenant_id = ? and revoked_at is null order by id desc limit 1'
    return { 'api-keys': (await database.prepare(made).bind(ids.tenant).first<string>('id')) ?? '' }
  },
  // A key that waits is waited for by the next one, too.
  'POST /api/platform/keys/rotate': async ({ database }) => {
    await database.exec("delete from signing_keys where signs_from > strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")
    await database.exec('update signing_keys set published_until = null')
    return {}
  },
}

/** What a route is asked about: what all are, or what is made for it alone. */
export async function idsFor(
  recorder: Miniflare,
  tenant: Tenant,
  { method, path }: Pick<Route, 'method' | 'path'>,
): Promise<Ids> {
  const before = BEFORE[`${method} ${path}`]
  if (!before) return tenant.ids
  const headers = by(tenant.token)
  const asks =
    (how: string): Post =>
    async (to, body) =>
      (await ask(recorder, how, `/api/v1${to}`, { headers, ...(body && { body }) })).data
  const [post, get] = [asks('POST'), asks('GET')]
  const database = await recorder.getD1Database('DB')
  return { ...tenant.ids, ...(await before({ tenant, database, post, get })) }
}

/** What is refused here, and why. */
export const REFUSED: [RegExp, string, string][] = [
  [/ \/api\/v1\/billing\/portal$/, 'POST /billing/portal', 'only Stripe has one'],
]
