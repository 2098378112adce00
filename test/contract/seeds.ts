import { env } from 'cloudflare:workers'
import { tenantTables } from '../../src/data/columns'
import { directory } from '../../src/data/database'
import { insertKey } from '../../src/domains/identity/api-keys/service'
import { oauthAccounts } from '../../src/domains/identity/oauth/table'
import type { UserRow } from '../../src/domains/identity/users/table'
import { partners, partnerTenants, partnerUsers } from '../../src/domains/tenancy/partners/table'
import { MOST } from '../../src/domains/tenancy/plans'
import { SCOPES } from '../../src/domains/tenancy/scopes'
import type { Bindings } from '../../src/env'
import { newId } from '../../src/lib/ids'
import { insertPasskey } from '../identity/passkey-kit'
import { eventually, makeReceiver } from '../webhooks/receiver'
import { callJson, makePlatformAdmin, makeWorld, type Person, type World } from '../world'

/** A tenant that has one of everything; `ids` by the path that ends with them. */
export type Seeded = {
  world: World
  platform: Person
  ids: Record<string, string>
  /** For each scope a key that has every other. */
  keysWithout: Record<string, string>
}

type Made = { id: string }

export async function seed(): Promise<Seeded> {
  const world = await makeWorld({ rate_limits: MOST })
  const token = world.admin.token
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
  const sent = await callJson('POST', `/api/v1/chats/${chat}/messages`, {
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
  const interaction = await make('/api/v1/interactions', { text: 'Seed' })
  const invitation = await make('/api/v1/users/invitations', { email: `${uid}@example.com` })
  const platform = await makePlatformAdmin()
  const cancelled = await cancelledBy(platform)
  return {
    world,
    platform,
    keysWithout: await keysWithout(world),
    ids: {
      '/api/v1/auth/sessions/{id}': world.admin.session_id,
      '/api/v1/auth/api-keys/{id}': key,
      '/api/v1/auth/passkeys/{id}': await insertPasskey(world.admin.user),
      '/api/v1/auth/issuers/{id}': issuer,
      '/api/v1/auth/oauth/accounts/{id}': await insertAccount(world.admin.user),
      // One that is not configured: nobody's.
      '/api/v1/auth/oauth/{provider}': 'github',
      '/api/v1/teams/{id}': team,
      '/api/v1/teams/{id}/members/{user_id}': world.admin.user.id,
      '/api/v1/interactions/{id}': interaction,
      '/api/v1/users/{id}': world.member.user.id,
      '/api/v1/users/invitations/{id}': invitation,
      '/api/v1/agents/{id}': agent,
      '/api/v1/chats/{id}': chat,
      '/api/v1/webhooks/{id}': endpoint,
      '/api/v1/webhooks/by-uid/{uid}': uid,
      '/api/v1/deliveries/{id}': delivery,
      '/api/v1/events/{id}': event,
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

/** What a request changes by having been made, whatever it asked for; and what the sealer does at its own time. */
const TRACES = { tables: ['usage_logs', 'audit_seals', 'audit_unsealed'], column: 'last_used_at' }

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
