import { env } from 'cloudflare:workers'
import { tenantTables } from '../../src/data/columns'
import { directory } from '../../src/data/database'
import { makeRunToken } from '../../src/domains/chat/runs/token'
import { insertKey } from '../../src/domains/identity/api-keys/service'
import { oauthAccounts } from '../../src/domains/identity/oauth/table'
import type { UserRow } from '../../src/domains/identity/users/table'
import { partners, partnerTenants, partnerUsers } from '../../src/domains/tenancy/partners/table'
import { MOST } from '../../src/domains/tenancy/plans'
import { SCOPES } from '../../src/domains/tenancy/scopes'
import { makeCallToken } from '../../src/domains/voice/ultravox/token'
import { type Bindings, settingsOf } from '../../src/env'
import { newId } from '../../src/lib/ids'
import { upload } from '../files/kit'
import { insertPasskey } from '../identity/passkey-kit'
import { makeSource, ofGithub, outcome, post } from '../webhooks/incoming/kit'
import { eventually, makeReceiver } from '../webhooks/receiver'

import { callJson, makePlatformAdmin, makeWorld, type Person, renew, type World } from '../world'
import { seedSvix } from './svix-seeds'

/** A tenant that has one of everything; `ids` by the path that ends with them. */
export type Seeded = {
  world: World
  platform: Person
  ids: Record<string, string>
  /** For each scope a key that has every other. */
  keysWithout: Record<string, string>
  /** The credential of what posts to the run among the ids. */
  runToken: string
  /** The credential of what the agent of the call among the ids asks for. */
  callToken: string
}

type Made = { id: string }

export async function seed(): Promise<Seeded> {
  const world = await makeWorld({ rate_limits: MOST })
  let { token } = world.admin
  const make = async (path: string, body: object): Promise<string> => {
    const made = await callJson<Made>('POST', path, { token, body })
    if (made.status !== 201 && made.status !== 202)
      throw new Error(`${path}: ${made.status} ${made.error?.message}`)
    return made.data.id
  }
  const receiver = await makeReceiver({ status: 200 })
  const uid = `seed-${crypto.randomUUID().slice(0, 8)}`
  const endpoint = await make('/api/v1/webhooks', { url: receiver.url, uid, event_types: ['order.shipped'] })
  const agent = await make('/api/v1/agents', { name: 'Seed', kind: 'echo' })
  const chat = await make('/api/v1/chats', { agent_id: agent, title: 'Seed' })
  const sent = await callJson<{ messages: Made[] }>('POST', `/api/v1/chats/${chat}/messages`, {
    token,
    headers: { Accept: 'application/json' },
    body: { content: 'A secret of this tenant' },
  })
  if (sent.status !== 200) throw new Error(`message: ${sent.status} ${sent.error?.message}`)
  const event = await make('/api/v1/events', { type: 'order.shipped', data: { order: 'A-1' } })
  const delivery = await eventually(async () =>
    env.DB.prepare("select id from deliveries where tenant_id = ? and status = 'delivered'")
      .bind(world.tenant.id)
      .first<string>('id'),
  )
  const since = new Date(Date.now() - 3600_000).toISOString()
  const job = await make(`/api/v1/webhooks/${endpoint}/recover`, { since, dry_run: true })
  const workflow = await make('/api/v1/workflows', {
    name: 'Seed',
    steps: [{ name: 'pause', type: 'wait', seconds: 86_400 }],
  })
  const run = await make(`/api/v1/workflows/${workflow}/start`, {
    input: { text: 'A secret of this tenant' },
  })
  const source = await makeSource(world, { kind: 'github', name: 'Seed' })
  const webhook = await outcome(post(`in/${source}`, ofGithub('{"seed":true}')))
  await outcome(post(`in/${source}`, { body: '{}', headers: {} }))
  const key = await make('/api/v1/auth/api-keys', { name: 'Seed' })
  const issuer = await make('/api/v1/auth/issuers', {
    iss: 'https://seed.example.com/',
    aud: 'seed',
    jwks_uri: 'https://seed.example.com/jwks.json',
  })
  const team = await make('/api/v1/teams', { name: 'Seed' })
  const path = `/api/v1/teams/${team}/members/${world.admin.user.id}`
  const joined = await callJson('PUT', path, { token })
  if (joined.status !== 200) throw new Error(`${path}: ${joined.status} ${joined.error?.message}`)
  await renew(world.admin)
  token = world.admin.token
  const opened = await callJson<Made>('POST', '/api/v1/chats', {
    token: world.member.token,
    body: { agent_id: agent },
  })
  for (const [id, by] of [
    [chat, token],
    [opened.data.id, world.member.token],
  ] as const) {
    const body = { team_id: team }
    const shared = await callJson('PUT', `/api/v1/chats/${id}/shares`, { token: by, body })
    if (shared.status !== 200) throw new Error(`share: ${shared.status} ${shared.error?.message}`)
  }
  const kept = await callJson('PUT', `/api/v1/secrets/${uid}`, {
    token,
    body: { value: 'A secret of this tenant', hosts: ['example.com'] },
  })
  if (kept.status !== 200) throw new Error(`secret: ${kept.status} ${kept.error?.message}`)
  const eventType = `seed.${uid}`
  await make('/api/v1/webhooks/event-types', { name: eventType })
  // JSON, as every answer that these tests compare.
  const file = await upload(world.admin, '{"data":"Seed"}', { content_type: 'application/json' })
  const attached = await callJson('PUT', `/api/v1/chats/${chat}/attachments/${file.id}`, { token })
  if (attached.status !== 200) throw new Error(`attach: ${attached.status} ${attached.error?.message}`)
  const browser = await make('/api/v1/push/subscriptions', {
    endpoint: `${env.RECEIVER_URL}/push/send/fine-${uid}`,
    // RFC 8291, appendix A.
    keys: {
      p256dh: 'BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4',
      auth: 'BTBZMqHH6r4Tts7J_aSIgg',
    },
  })
  const interaction = await make('/api/v1/interactions', {
    ...{ text: 'Seed', speaker_id: `speaker ${uid}`, conversation_id: `conversation ${uid}` },
  })
  const item = await make('/api/v1/items', {
    ...{ external_id: uid, title: 'Seed A secret of this tenant', category: 'seed', tags: ['seed'] },
  })
  const base = await make('/api/v1/kb', { name: 'Seed A secret of this tenant' })
  const document = await insertDocument(world.tenant.id, base)
  const voice = await make('/api/v1/voices', {
    ...{ name: 'Seed A secret of this tenant', kind: 'external', provider: 'simulated' },
    provider_voice_id: 'ava',
  })
  const tool = await make('/api/v1/tools', {
    ...{ name: uid, description: 'A secret of this tenant', url: receiver.url },
  })
  const campaign = await make('/api/v1/campaigns', {
    ...{ name: 'Seed A secret of this tenant', agent_id: agent },
  })
  const contacts = await callJson('POST', `/api/v1/campaigns/${campaign}/contacts`, {
    token,
    body: { contacts: [{ phone: '+14155550199', name: 'A secret of this tenant' }] },
  })
  if (contacts.status !== 200) throw new Error(`contacts: ${contacts.status} ${contacts.error?.message}`)
  const called = await insertCall(world.tenant.id, agent, file.id)
  const ticket = await make('/api/v1/tickets', {
    ...{ subject: 'Seed', body: 'A secret of this tenant', assignee_id: world.admin.user.id },
  })
  await make(`/api/v1/tickets/${ticket}/comments`, { body: 'A secret of this tenant' })
  const terms = { name: 'Seed', metric: 'requests', comparison: 'gt', threshold: 1e9 }
  const rule = await make('/api/v1/alerts/rules', terms)
  const alert = await insertAlert(world.tenant.id)
  const checkout = await make('/api/v1/billing/checkout', {
    ...{ credits: 1_000, success_url: 'https://app.example.com/paid' },
  })
  const invoice = await insertInvoice(world.tenant.id)
  const invitation = await make('/api/v1/users/invitations', { email: `${uid}@example.com` })
  const keys = await callJson<Made[]>('GET', '/api/v1/webhooks/signing-keys', { token })
  const platform = await makePlatformAdmin()
  await callJson('POST', `/api/platform/tenants/${world.tenant.id}/credits`, {
    token: platform.token,
    body: { amount: 100_000, reference: 'A secret of this tenant' },
  })
  // One that never was: who has its token may ask.
  const run_id = crypto.randomUUID()
  const settings = settingsOf(env as unknown as Bindings)
  const runToken = await makeRunToken(settings, { tenant_id: world.tenant.id, chat_id: chat, run_id })
  const callToken = await makeCallToken(settings, { tenant_id: world.tenant.id, id: called })
  const cancelled = await cancelledBy(platform)
  return {
    world,
    platform,
    keysWithout: await keysWithout(world),
    runToken,
    callToken,
    ids: {
      '/api/v1/auth/sessions/{id}': world.admin.session_id,
      '/api/v1/auth/api-keys/{id}': key,
      '/api/v1/auth/passkeys/{id}': await insertPasskey(world.admin.user),
      '/api/v1/auth/issuers/{id}': issuer,
      '/api/v1/auth/oauth/accounts/{id}': await insertAccount(world.admin.user),
      // One that is not configured: nobody's.
      '/api/v1/auth/oauth/{provider}': 'github',
      '/api/v1/auth/providers/{kind}': 'stripe',
      '/api/v1/teams/{id}': team,
      '/api/v1/teams/{id}/members/{user_id}': world.admin.user.id,
      '/api/v1/interactions/{id}': interaction,
      '/api/v1/speakers/{id}': `speaker ${uid}`,
      '/api/v1/conversations/{id}': `conversation ${uid}`,
      '/api/v1/items/{id}': item,
      '/api/v1/kb/{id}': base,
      '/api/v1/kb/{id}/documents/{document_id}': document,
      '/api/v1/voices/{id}': voice,
      '/api/v1/tools/{id}': tool,
      '/api/v1/calls/{id}': called,
      '/api/v1/campaigns/{id}': campaign,
      // The agent of that call does not have it.
      '/api/v1/calls/tools/{id}': tool,
      '/api/v1/tickets/{id}': ticket,
      '/api/v1/alerts/{id}': alert,
      '/api/v1/alerts/rules/{id}': rule,
      '/api/v1/users/{id}': world.member.user.id,
      '/api/v1/users/invitations/{id}': invitation,
      '/api/v1/agents/{id}': agent,
      '/api/v1/openai/models/{model}': agent,
      '/api/v1/chats/{id}': chat,
      '/api/v1/chats/{id}/messages/{message_id}': sent.data.messages[1]?.id ?? '',
      '/api/v1/files/{id}': file.id,
      '/api/v1/chats/{id}/attachments/{file_id}': file.id,
      // Who has the id needs a signature too, so this is nobody’s.
      '/api/v1/files/signed/{file_id}': crypto.randomUUID(),
      // Who has a link is anybody, so these are nobody’s.
      '/api/v1/shared/{token}': 'A'.repeat(43),
      '/api/v1/shared/{token}/attachments/{file_id}': crypto.randomUUID(),
      '/api/v1/push/subscriptions/{id}': browser,
      '/api/v1/jobs/{id}': job,
      '/api/v1/workflows/{id}': workflow,
      '/api/v1/workflows/{id}/runs/{run_id}': run,
      '/api/v1/webhooks/{id}': endpoint,
      '/api/v1/webhooks/signing-keys/{id}': keys.data[0]?.id ?? '',
      '/.well-known/webhooks/{tenant_id}': world.tenant.id,
      '/api/v1/webhooks/event-types/{name}': eventType,
      '/api/v1/webhooks/by-uid/{uid}': uid,
      '/api/v1/webhooks/sources/{id}': source,
      '/api/v1/webhooks/received/{id}': webhook.data.id,
      '/api/v1/runs/{id}': run_id,
      // Who has the id of a source needs its secret too, so this is nobody's.
      '/api/v1/webhooks/in/{source_id}': crypto.randomUUID(),
      '/api/platform/webhooks/{provider}': 'stripe',
      '/api/admin/webhooks/{provider}': 'stripe',
      '/api/v1/billing/checkouts/{id}': checkout,
      '/api/v1/billing/invoices/{id}': invoice,
      '/api/v1/secrets/{name}': uid,
      '/api/v1/deliveries/{id}': delivery,
      '/api/v1/events/{id}': event,
      ...(await seedSvix(world)),
      '/api/v1/partners/{id}': await seedPartner(world),
      '/api/v1/partners/{id}/tenants/{tenant_id}': world.tenant.id,
      '/api/v1/partners/{id}/users/{user_id}': world.admin.user.id,
      '/api/platform/api-keys/{id}': key,
      '/api/admin/api-keys/{id}': key,
      '/api/platform/tenants/{id}': world.tenant.id,
      '/api/admin/tenants/{id}': world.tenant.id,
      '/api/platform/deletions/{id}': cancelled,
      '/api/admin/deletions/{id}': cancelled,
    },
  }
}

/** A call that lasts, and that nothing drives; with a turn, and a file for its recording. */
async function insertCall(tenantId: string, agentId: string, fileId: string): Promise<string> {
  const id = newId(Date.now())
  const now = new Date().toISOString()
  await env.DB.batch([
    env.DB.prepare(
      `insert into calls (tenant_id, id, agent_id, "to", "from", status, provider, started_at, credits_per_minute, reserved,
         max_duration_seconds, turns, recording, recording_file_id, metadata, created_at, updated_at)
       values (?1, ?2, ?3, '+14155550123', '+15550100000', 'in_progress', 'seed', ?5, 10, 0, 3600, 1, 'kept', ?4,
         '{"of":"A secret of this tenant"}', ?5, ?5)`,
    ).bind(tenantId, id, agentId, fileId, now),
    env.DB.prepare(
      `insert into call_turns (tenant_id, call_id, position, role, text, started_at, ended_at)
       values (?1, ?2, 0, 'agent', 'A secret of this tenant', ?3, ?3)`,
    ).bind(tenantId, id, now),
  ])
  return id
}

/** A document that was taken in, without its text. */
async function insertDocument(tenantId: string, baseId: string): Promise<string> {
  const id = newId(Date.now())
  const now = new Date().toISOString()
  await env.DB.prepare(
    `insert into knowledge_documents (tenant_id, id, knowledge_base_id, file_id, filename, content_type, size, status, created_at, updated_at)
     values (?, ?, ?, ?, 'A secret of this tenant', 'text/plain', 1, 'ready', ?, ?)`,
  )
    .bind(tenantId, id, baseId, crypto.randomUUID(), now, now)
    .run()
  return id
}

/** An invoice that was paid, and another. */
async function insertInvoice(tenantId: string): Promise<string> {
  const ids = [newId(Date.now()), newId(Date.now())]
  const now = new Date().toISOString()
  for (const [i, id] of ids.entries())
    await env.DB.prepare(
      `insert into invoices (tenant_id, id, seq, number, status, currency, amount_due, amount_paid, period_start, period_end,
         lines, provider, provider_id, issued_at, created_at, updated_at)
       values (?1, ?2, ?3, 'SEED-' || ?3, 'paid', 'usd', 5, 5, ?4, ?4,
         '[{"description":"A secret of this tenant","quantity":1,"unit_amount":5,"amount":5}]', 'ledger', ?2, ?4, ?4, ?4)`,
    )
      .bind(tenantId, id, i + 1, now)
      .run()
  return ids[0] ?? ''
}

/** An alert of a rule that lasts. */
async function insertAlert(tenantId: string): Promise<string> {
  const id = newId(Date.now())
  const now = new Date().toISOString()
  await env.DB.prepare(
    `insert into alerts (tenant_id, id, rule_id, name, metric, comparison, threshold, window_minutes, value, status,
       created_at, updated_at) values (?, ?, ?, 'Seed', 'credit', 'gt', 1, 1, 2, 'open', ?, ?)`,
  )
    .bind(tenantId, id, crypto.randomUUID(), now, now)
    .run()
  return id
}

/** A tenant whose deletion is scheduled. */
async function cancelledBy(platform: Person): Promise<string> {
  const { tenant } = await makeWorld()
  const { status } = await callJson('DELETE', `/api/platform/tenants/${tenant.id}`, { token: platform.token })
  if (status !== 204) throw new Error(`cancelling: ${status}`)
  return tenant.id
}

/** A partner that has the world's tenant, and for which its admin acts. */
export async function seedPartner({ tenant, admin }: World): Promise<string> {
  const id = newId(Date.now())
  const created_at = new Date().toISOString()
  const db = directory(env as unknown as Bindings)
  const row = { id, name: 'Seed', status: 'active' as const, created_at, updated_at: created_at }
  const right = { tenant_id: tenant.id, partner_id: id, created_at }
  await db.insert(partners).values(row)
  await db.insert(partnerTenants).values({ ...right, role: 'admin' })
  await db.insert(partnerUsers).values({ ...right, id: admin.user.id })
  return id
}

/** A login at another provider that is linked to a user. */
async function insertAccount({ tenant_id, id: user_id, email }: UserRow): Promise<string> {
  const id = crypto.randomUUID()
  const identity = { provider: 'github', issuer: 'https://github.com', subject: id, email }
  await directory(env as unknown as Bindings)
    .insert(oauthAccounts)
    .values({ tenant_id, id, user_id, ...identity, created_at: new Date().toISOString() })
  return id
}

/** A path with the tenant's own ids in it; a parameter that has no seed fails the test that asks. */
export function pathOf(seeded: Seeded, pattern: string): string {
  return pattern.replace(/\{\w+\}/g, (param, offset: number) => {
    const prefix = pattern.slice(0, offset + param.length)
    // The tenant’s own administration has the same resources once more.
    const id = seeded.ids[prefix.replace('/api/tenant/', '/api/v1/')]
    if (!id) throw new Error(`${prefix} has no seed: add one of its kind to test/contract/seeds.ts`)
    return encodeURIComponent(id)
  })
}

async function keysWithout(world: World): Promise<Record<string, string>> {
  const all = Object.keys(SCOPES).filter((scope) => !scope.startsWith('platform:'))
  const keys: Record<string, string> = {}
  for (const scope of all) {
    const others = all.filter((one) => one !== scope)
    keys[scope] = (await insertKey(world.ctx, { name: `without ${scope}` }, others, world.admin.user.id)).key
  }
  return keys
}

/** What a request changes by having been made, whatever it asked for; and what sealer and sweep do at their own time. */
const TRACES = {
  tables: ['usage_logs', 'audit_seals', 'audit_unsealed', 'daily_counts', 'alert_watches'],
  column: 'last_used_at',
}

/** Every row that a tenant has in any table, but for what every request leaves. */
export async function rowsOf(tenantId: string): Promise<Record<string, unknown[]>> {
  const tables = [...tenantTables].filter((table) => !TRACES.tables.includes(table)).sort()
  const found = await env.DB.batch<Record<string, unknown>>([
    ...tables.map((table) => env.DB.prepare(`select * from ${table} where tenant_id = ?`).bind(tenantId)),
    env.DB.prepare('select * from tenants where id = ?').bind(tenantId),
  ])
  const rowsIn = (i: number) => (found[i]?.results ?? []).map(({ [TRACES.column]: _, ...row }) => row)
  return Object.fromEntries([...tables, 'tenants'].map((table, i) => [table, rowsIn(i)]))
}

/** The same once nothing moves any more: what was said in a chat reaches D1 a moment later. */
export async function settledRowsOf(tenantId: string): Promise<Record<string, unknown[]>> {
  let before = ''
  return eventually(async () => {
    const rows = await rowsOf(tenantId)
    const now = JSON.stringify(rows)
    const settled = now === before
    before = now
    if (!settled) await scheduler.wait(300)
    return settled ? rows : null
  }, 20_000)
}
