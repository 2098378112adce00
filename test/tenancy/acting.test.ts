import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { scopesNow } from '../../src/domains/identity/recheck'
import { scopesOf } from '../../src/domains/tenancy/scopes'
import type { Bindings } from '../../src/env'
import { OPERATIONS, type Operation } from '../contract/operations'
import { pathOf, type Seeded, seed } from '../contract/seeds'
import { expectError } from '../http/expect-error'
import { Isolate } from '../identity/isolates'
import { call, callJson, makePerson, makePlatformAdmin, makeWorld, type Person, type World } from '../world'

// A platform administrator in a tenant of others, by X-Target-Tenant-ID.

let a: Seeded
let platform: Person
beforeAll(async () => {
  a = await seed()
  platform = a.platform
}, 60_000)

const inTenant = (id: string) => ({ 'X-Target-Tenant-ID': id })
const act = <T = Record<string, unknown>>(method: string, path: string, world: World, body?: object) =>
  callJson<T>(method, path, {
    token: platform.token,
    headers: inTenant(world.tenant.id),
    ...(body ? { body } : {}),
  })

type AuditRow = {
  action: string
  actor_kind: string
  actor_id: string
  impersonator_id: string | null
  impersonator_tenant_id: string | null
  after: string | null
}
const recordOf = async (tenantId: string) =>
  (
    await env.DB.prepare('select * from audit_log where tenant_id = ? order by seq')
      .bind(tenantId)
      .all<AuditRow>()
  ).results

describe('a platform administrator in a tenant', () => {
  it('reads and changes what its administrators may', async () => {
    const world = await makeWorld()
    const current = await act<{ id: string }>('GET', '/api/v1/tenants/current', world)
    expect([current.status, current.data.id]).toEqual([200, world.tenant.id])
    const renamed = await act('PATCH', '/api/v1/tenants/current', world, { name: 'Renamed' })
    expect(renamed.data).toMatchObject({ id: world.tenant.id, name: 'Renamed' })
    const seen = await callJson('GET', '/api/v1/tenants/current', { token: world.viewer.token })
    expect(seen.data).toMatchObject({ name: 'Renamed' })
  })

  it('is on record there with every request, whatever came of it, by both identities', async () => {
    const world = await makeWorld()
    const before = (await recordOf(world.tenant.id)).length
    await act('GET', '/api/v1/webhooks', world)
    await act('GET', `/api/v1/agents/${crypto.randomUUID()}`, world)
    await act('POST', '/api/v1/auth/api-keys', world, { name: 'x' })
    await act('PATCH', '/api/v1/tenants/current', world, { name: 'Renamed' })
    const rows = (await recordOf(world.tenant.id)).slice(before)
    const who = {
      actor_kind: 'user',
      actor_id: platform.user.id,
      impersonator_id: platform.user.id,
      impersonator_tenant_id: platform.user.tenant_id,
    }
    const access = (method: string, path: RegExp) => ({
      ...who,
      action: 'tenant.access',
      after: expect.stringMatching(new RegExp(`"method":"${method}".*"path":"${path.source}"`)),
    })
    expect(rows).toMatchObject([
      access('GET', /\/api\/v1\/webhooks/),
      access('GET', /\/api\/v1\/agents\/[-\w]+/),
      access('POST', /\/api\/v1\/auth\/api-keys/),
      access('PATCH', /\/api\/v1\/tenants\/current/),
      { ...who, action: 'tenant.update' },
    ])
  })

  it('is on record before anything is done: without a record there is no answer', async () => {
    const world = await makeWorld()
    const isolate = new Isolate()
    const headers = inTenant(world.tenant.id)
    const ask = () => isolate.ask('GET', '/api/v1/tenants/current', { token: platform.token, headers })
    expect((await ask()).status).toBe(200)
    await env.DB.prepare(
      `create trigger no_record before insert on audit_log when new.tenant_id = '${world.tenant.id}'
        begin select raise(abort, 'no record'); end`,
    ).run()
    try {
      await expectError(ask(), 'internal_error')
    } finally {
      await env.DB.prepare('drop trigger no_record').run()
    }
    expect((await ask()).status).toBe(200)
  })

  it('is nobody there without the header', async () => {
    const { token } = platform
    await expectError(call('GET', '/api/v1/tenants/current', { token }), 'target_tenant_required')
    expect((await call('GET', '/api/v1/auth/me', { token })).status).toBe(200)
  })

  it('is himself on routes about himself, and on the platform’s own, wherever he acts', async () => {
    const world = await makeWorld()
    const before = (await recordOf(world.tenant.id)).length
    const me = await act('GET', '/api/v1/auth/me', world)
    expect(me.data).toMatchObject({ id: platform.user.id, tenant_id: platform.user.tenant_id })
    expect((await act('GET', '/api/platform/tenants?limit=1', world)).status).toBe(200)
    expect(await recordOf(world.tenant.id)).toHaveLength(before)
  })

  it('acts in no tenant that is suspended, cancelled or not there', async () => {
    const { token } = platform
    for (const status of ['suspended', 'cancelled'] as const) {
      const world = await makeWorld()
      await env.DB.prepare('update tenants set status = ? where id = ?').bind(status, world.tenant.id).run()
      const headers = inTenant(world.tenant.id)
      await expectError(
        call('GET', '/api/v1/tenants/current', { token, headers }),
        status === 'suspended' ? 'tenant_suspended' : 'tenant_cancelled',
      )
    }
    const headers = inTenant(crypto.randomUUID())
    await expectError(call('GET', '/api/v1/tenants/current', { token, headers }), 'tenant_mismatch')
    await expectError(
      call('GET', '/api/v1/tenants/current', { token, headers: inTenant('acme') }),
      'malformed_header',
    )
  })

  it('acts in the platform’s own tenant as in any other', async () => {
    const { token, user } = platform
    const own = await callJson('GET', '/api/v1/tenants/current', { token, headers: inTenant(user.tenant_id) })
    expect([own.status, own.data.id]).toEqual([200, user.tenant_id])
  })

  it('stops within the same isolate when the tenant is suspended, and goes on when it is not', async () => {
    const world = await makeWorld()
    expect((await act('GET', '/api/v1/tenants/current', world)).status).toBe(200)
    const tenant = `/api/platform/tenants/${world.tenant.id}`
    const set = (status: string) => callJson('PATCH', tenant, { token: platform.token, body: { status } })
    await set('suspended')
    expect((await act('GET', '/api/v1/tenants/current', world)).error.code).toBe('tenant_suspended')
    await set('active')
    expect((await act('GET', '/api/v1/tenants/current', world)).status).toBe(200)
  })

  it('takes nothing of the tenant’s limits', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 1 } })
    expect((await call('GET', '/api/v1/webhooks', { token: world.admin.token })).status).toBe(200)
    await expectError(call('GET', '/api/v1/webhooks', { token: world.admin.token }), 'rate_limited')
    for (let i = 0; i < 3; i++) expect((await act('GET', '/api/v1/webhooks', world)).status).toBe(200)
  })

  it('replays his own idempotent request and nobody else’s', async () => {
    const world = await makeWorld()
    const post = (init: { token: string; headers?: Record<string, string> }) =>
      callJson<{ id: string }>('POST', '/api/v1/interactions', {
        ...init,
        headers: { 'X-Idempotency-Key': 'once', ...init.headers },
        body: { text: 'Hello' },
      })
    const own = await post({ token: world.admin.token })
    const mine = await post({ token: platform.token, headers: inTenant(world.tenant.id) })
    const again = await post({ token: platform.token, headers: inTenant(world.tenant.id) })
    expect([mine.status, again.data.id]).toEqual([own.status, mine.data.id])
    expect(mine.data.id).not.toBe(own.data.id)
  })

  it('asks nothing of D1 but to be put on record, once it is known', async () => {
    const world = await makeWorld()
    const isolate = new Isolate()
    const headers = inTenant(world.tenant.id)
    const ask = () =>
      isolate.ask('GET', '/api/v1/webhooks/event-types?built_in=true', { token: platform.token, headers })
    await ask()
    await ask()
    isolate.calls.length = 0
    expect((await ask()).status).toBe(200)
    expect(isolate.calls).toEqual(['DB.withSession'])
  })
})

describe('a tenant’s own credential', () => {
  it('may name its own tenant, and no other', async () => {
    const [own, other] = [await makeWorld(), await makeWorld()]
    for (const header of ['X-Target-Tenant-ID', 'X-Active-Tenant-Id'])
      for (const credential of [{ token: own.admin.token }, { key: own.apiKey }]) {
        const ask = (id: string) =>
          call('GET', '/api/v1/tenants/current', { ...credential, headers: { [header]: id } })
        expect((await ask(own.tenant.id.toUpperCase())).status).toBe(200)
        await expectError(ask(other.tenant.id), 'tenant_mismatch')
        await expectError(ask(platform.user.tenant_id), 'tenant_mismatch')
        await expectError(ask('nonsense'), 'malformed_header')
      }
  })
})

describe('a connection that the platform opened', () => {
  const opened = () => ({
    ...{ key: 'connection', kind: 'user' as const, id: platform.user.id, user_id: platform.user.id },
    ...{ session_id: platform.session_id, role: 'admin' },
    impersonator: {
      ...{ kind: 'user' as const, id: platform.user.id, tenant_id: platform.user.tenant_id },
      ...{ role: 'platform_admin', partner_id: null },
    },
  })
  const scopes = async (world: World) =>
    (await scopesNow(env as unknown as Bindings, world.tenant.id, [opened()], Date.now())).get('connection')

  it('counts as long as its session does at home, and the tenant', async () => {
    const world = await makeWorld()
    expect(await scopes(world)).toEqual(scopesOf('admin'))
    const set = (sql: string, ...values: unknown[]) =>
      env.DB.prepare(sql)
        .bind(...values)
        .run()
    await set("update tenants set status = 'suspended' where id = ?", world.tenant.id)
    expect(await scopes(world)).toBeUndefined()
    await set("update tenants set status = 'active' where id = ?", world.tenant.id)
    await set("update users set role = 'admin' where id = ?", platform.user.id)
    expect(await scopes(world)).toBeUndefined()
    await set("update users set role = 'platform_admin' where id = ?", platform.user.id)
    const other = await makePerson((await makeWorld({ platform: true })).tenant, 'platform_admin')
    const stolen = { ...opened(), session_id: other.session_id }
    const found = await scopesNow(env as unknown as Bindings, world.tenant.id, [stolen], Date.now())
    expect(found.size).toBe(0)
    expect(await scopes(world)).toEqual(scopesOf('admin'))
  })
})

/** What a secret of this service looks like. */
const SECRET = /sk_(?:live|test)_\w{16}|whsec_[A-Za-z0-9+/]{16}/

describe('keys and secrets', () => {
  const routes = OPERATIONS.filter(
    (op) => !op.open && !op.platform && op.path.startsWith('/api/v1/') && op.scopes.length > 0,
  )
  const ask = (op: Operation) =>
    call(op.method, pathOf(a, op.path), {
      token: platform.token,
      headers: inTenant(a.world.tenant.id),
      ...(op.body ? { body: op.body.example } : {}),
    })

  it('are not for who acts by the older paths either', async () => {
    const path = `/api/v2/service/client/register/${crypto.randomUUID()}`
    const headers = inTenant(a.world.tenant.id)
    const body = { webhook_url: 'https://example.com/' }
    const answer = await call('POST', path, { token: platform.token, headers, body })
    expect(answer.status).toBe(403)
    expect(await answer.text()).toContain('forbidden_while_acting')
  })

  it('are made, shown and rotated by these routes', () => {
    const whole = routes.filter(({ note }) => note.secret === true).map(({ name }) => name)
    expect(whole.sort()).toEqual(
      [
        'GET /api/v1/app/{app_id}/endpoint/{endpoint_id}/secret',
        'GET /api/v1/webhooks/{id}/secret',
        'PATCH /api/v1/app/{app_id}/endpoint/{endpoint_id}/headers',
        'POST /api/v1/app/{app_id}/endpoint',
        'PUT /api/v1/app/{app_id}/endpoint/{endpoint_id}',
        'PUT /api/v1/app/{app_id}/endpoint/{endpoint_id}/headers',
        'POST /api/v1/webhooks/sources',
        'POST /api/v1/webhooks/{id}/secret/rotate',
        'POST /api/v1/webhooks/signing-keys/rotate',
        'PUT /api/v1/secrets/{name}',
        'POST /api/v1/app/{app_id}/endpoint/{endpoint_id}/secret/rotate',
        'POST /api/v1/agents',
        'POST /api/v1/auth/api-keys',
        'POST /api/v1/files/{id}/presign',
        'POST /api/v1/files/{id}/url',
        'POST /api/v1/push/subscriptions',
        'POST /api/v1/auth/api-keys/{id}/rotate',
        'POST /api/v1/auth/issuers',
        'POST /api/v1/billing/portal',
        'PATCH /api/v1/auth/issuers/{id}',
        'POST /api/v1/webhooks',
        'PUT /api/v1/webhooks/by-uid/{uid}',
      ].sort(),
    )
    const byFields = routes.filter(({ note }) => Array.isArray(note.secret)).map(({ name }) => name)
    expect(byFields.sort()).toEqual([
      'PATCH /api/v1/agents/{id}',
      'PATCH /api/v1/app/{app_id}/endpoint/{endpoint_id}',
      'PATCH /api/v1/auth/providers/{kind}',
      'PATCH /api/v1/webhooks/sources/{id}',
      'PATCH /api/v1/webhooks/{id}',
      'POST /api/v1/users',
      'PUT /api/v1/agents/{id}',
    ])
  })

  for (const op of routes.filter(({ note }) => note.secret === true))
    it(`are not for who acts in a tenant of others: ${op.name}`, async () => {
      await expectError(ask(op), 'forbidden_while_acting', op.note.dialect)
    })

  for (const op of routes.filter(({ note }) => Array.isArray(note.secret)))
    it(`nor are the fields that set one or say where it goes: ${op.name}`, async () => {
      const request = (body: object) =>
        call(op.method, pathOf(a, op.path), {
          token: platform.token,
          headers: inTenant(a.world.tenant.id),
          body,
        })
      for (const field of op.note.secret as string[]) {
        const refused = request({ [field]: 'https://elsewhere.example.com' })
        await expectError(refused, 'forbidden_while_acting', op.note.dialect)
        const masked = await request({ [field]: '********' })
        expect([field, masked.status]).not.toEqual([field, 403])
      }
      if (op.method === 'POST') return
      const named = op.path.includes('/sources/') ? 'name' : 'description'
      const harmless = op.path.includes('/providers/')
        ? { provider: 'stripe' }
        : { [named]: 'Changed by the platform' }
      expect((await request(harmless)).status).toBe(200)
    })

  for (const op of routes.filter(({ note, method }) => note.secret === undefined && method !== 'DELETE'))
    it(`are in no answer to who acts: ${op.name}`, async () => {
      if (op.note.returns?.contentType === 'text/event-stream' || op.path.endsWith('/ws')) return
      const answer = await ask(op)
      const text = await answer.text()
      expect([answer.status >= 500, SECRET.test(text)]).toEqual([false, false])
      expect(text).not.toContain('forbidden_while_acting')
    })
})

describe('a stream of who acts in a tenant', { timeout: 30_000 }, () => {
  it('ends with his session at home, though nothing is said that it could end with', async () => {
    const world = await makeWorld()
    const admin = await makePlatformAdmin()
    const headers = inTenant(world.tenant.id)
    const { data: agent } = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: world.developer.token,
      body: { name: 'Echo', kind: 'echo' },
    })
    const { data: chat } = await callJson<{ id: string }>('POST', '/api/v1/chats', {
      token: world.member.token,
      body: { agent_id: agent.id },
    })
    const open = async (token: string, more = {}) => {
      const stream = await call('GET', `/api/v1/chats/${chat.id}/stream`, { token, headers: more })
      expect(stream.status).toBe(200)
      const reader = stream.body?.getReader()
      const read = async () => {
        for (let chunk = await reader?.read(); chunk && !chunk.done; ) chunk = await reader?.read()
        return 'closed'
      }
      return { end: read() }
    }
    const acting = await open(admin.token, headers)
    const another = await open((await makePlatformAdmin()).token, headers)
    const own = await open(world.member.token)
    const closed = ({ end }: { end: Promise<string> }, ms: number) =>
      Promise.race([end, scheduler.wait(ms).then(() => 'open')])
    expect(await closed(acting, 500)).toBe('open')
    await call('POST', '/api/v1/auth/logout', { token: admin.token, body: {} })
    expect(await closed(acting, 9_000)).toBe('closed')
    // Those who are there still go on.
    expect([await closed(another, 300), await closed(own, 100)]).toEqual(['open', 'open'])
    await call('DELETE', `/api/v1/chats/${chat.id}`, { token: world.member.token })
    expect(await Promise.all([another.end, own.end])).toEqual(['closed', 'closed'])
  })
})
