import { createHmac } from 'node:crypto'
import type { Miniflare } from 'miniflare'
import { takeAllNotes } from './notes.ts'
import { resourcesOf } from './rows-resources.ts'
import { insertRest } from './rows-states.ts'
import { ask, by, LIMITS, LOGIN } from './seed.ts'

/** What things are called, by the words of paths and queries. */
export type Ids = Record<string, string>
/** `renew` logs in again: what a membership stands for may have changed. */
export type Tenant = { token: string; ids: Ids; renew: () => Promise<string> }

/** A webhook as GitHub would send it; the id of its record, where it was taken in. */
async function sendTo(recorder: Miniflare, source: string, secret: string): Promise<string> {
  const signature = createHmac('sha256', secret).update('{}').digest('hex')
  const { data } = await ask(recorder, 'POST', `/api/v1/webhooks/in/${source}`, {
    headers: { 'X-GitHub-Delivery': source, 'X-Hub-Signature-256': `sha256=${signature}` },
    body: {},
  })
  return String(data?.id)
}

/** A tenant with one of everything, made through the API like anybody's. */
export async function oneOfEach(
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
  let logins = 0
  const renew = async () => {
    // Logins are limited by address.
    const from = { 'CF-Connecting-IP': `198.51.100.${logins++ % 256}` }
    const { data } = await ask(recorder, 'POST', '/api/v1/auth/login', { headers: from, body: login })
    return String(data.access_token)
  }
  let headers = by(await renew())
  const { tenant, user } = made.data as { tenant: { id: string }; user: { id: string } }
  const post = async (path: string, body: object) =>
    String((await ask(recorder, 'POST', `/api/v1${path}`, { headers, body })).data.id)
  const agents = await post('/agents', { name: 'Rows', kind: 'echo' })
  const chats = await post('/chats', { agent_id: agents, title: 'Rows', tags: ['rows'] })
  const teams = await post('/teams', { name: 'Rows' })
  await ask(recorder, 'PUT', `/api/v1/teams/${teams}/members/${user.id}`, { headers })
  headers = by(await renew())
  await ask(recorder, 'PUT', `/api/v1/chats/${chats}/shares`, {
    headers,
    body: { team_id: teams, role: 'viewer' },
  })
  const webhooks = await post('/webhooks', {
    url,
    uid: 'rows',
    event_types: ['order.shipped'],
  })
  const again = { since: '2020-01-01T00:00:00.000Z', dry_run: true }
  const jobs = await post(`/webhooks/${webhooks}/recover`, again)
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
  const secret = { value: LOGIN.password, hosts: ['example.com'] }
  await ask(recorder, 'PUT', '/api/v1/secrets/rows', { headers, body: secret })
  const sources = await post('/webhooks/sources', { kind: 'github', name: 'Rows', secrets: [LOGIN.password] })
  const received = await sendTo(recorder, sources, LOGIN.password)
  // One that is refused, for the source's log.
  await sendTo(recorder, sources, 'a secret of nobody').catch(() => null)
  const more = await resourcesOf(recorder, headers, { chats }, url)
  await takeAllNotes(recorder)
  const delivery = database.prepare('select id from deliveries where tenant_id = ?').bind(tenant.id)
  const deliveries = (await delivery.first<string>('id')) ?? ''
  const ids = {
    ...{ tenant: tenant.id, tenants: tenant.id, tenant_id: tenant.id, user_id: user.id, actor: user.id },
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
      jobs,
      sources,
      received,
      'api-keys': keys,
    },
    ...{ 'by-uid': 'rows', agent_id: agents, endpoint_id: webhooks, event_id: events, resource_id: agents },
    ...{ 'auth/kind': 'tts', task_id: `qtask_${jobs}` },
    ...{ provider: 'github', source: sources, secrets: 'rows', 'webhooks/provider': 'stripe' },
    ...more,
  }
  Object.assign(ids, await insertRest(database, ids))
  return { token: await renew(), ids, renew }
}
