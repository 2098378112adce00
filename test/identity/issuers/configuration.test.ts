import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { knowledgeOf } from '../../../src/domains/identity/knowledge'
import { expectError } from '../../http/expect-error'
import { call, callJson, makeWorld, type World } from '../../world'
import { Isolate } from '../isolates'
import { AUDIENCE, type Configured, meIn, person, SHARED_SECRET, TestIssuer, trust } from './kit'

let world: World
beforeEach(async () => {
  world = await makeWorld({ plan: 'enterprise' })
})
afterEach(() => {
  vi.useRealTimers()
})

const path = '/api/v1/auth/issuers'
const good = { iss: 'https://login.example.com/', aud: AUDIENCE, jwks_uri: 'https://login.example.com/jwks' }
const post = (body: unknown, token = world.admin.token) => callJson<Configured>('POST', path, { token, body })
const patch = (id: string, body: unknown, headers = {}) =>
  callJson<Configured>('PATCH', `${path}/${id}`, { token: world.admin.token, body, headers })
const fieldsOf = async (body: unknown) => Object.keys((await post(body)).error?.details.fields ?? {})

describe('an issuer of a tenant', () => {
  it('is made, read, listed, changed and removed', async () => {
    const made = await post(good)
    expect(made.status).toBe(201)
    expect(made.headers.get('Location')).toBe(`${path}/${made.data.id}`)
    expect(made.data).toEqual({
      ...good,
      id: expect.any(String),
      algs: ['RS256'],
      typ: 'JWT',
      require: {},
      claims: { email: 'email', email_verified: 'email_verified', name: 'name', roles: null },
      roles: {},
      default_role: 'member',
      provision: false,
      trusts_email: false,
      is_active: true,
      has_secret: false,
      created_at: expect.any(String),
      updated_at: expect.any(String),
    })
    const { id } = made.data
    const read = await callJson<Configured>('GET', `${path}/${id}`, { token: world.admin.token })
    expect([read.status, read.data, read.headers.get('ETag')]).toEqual([200, made.data, '"v1"'])
    const second = await post({ ...good, aud: 'other' })
    const list = await callJson<Configured[]>('GET', path, { token: world.admin.token })
    expect(list.data.map((one) => one.id)).toEqual([second.data.id, id])
    const changed = await patch(id, { provision: true, claims: { roles: 'groups' } })
    expect(changed.data).toMatchObject({ provision: true, claims: { roles: 'groups', email: 'email' } })
    await expectError(
      call('PATCH', `${path}/${id}`, { token: world.admin.token, body: {}, headers: { 'If-Match': '"v1"' } }),
      'precondition_failed',
    )
    expect((await call('DELETE', `${path}/${id}`, { token: world.admin.token })).status).toBe(204)
    await expectError(call('GET', `${path}/${id}`, { token: world.admin.token }), 'not_found')
    await expectError(call('DELETE', `${path}/${id}`, { token: world.admin.token }), 'not_found')
  })

  it('is for admins', async () => {
    for (const { token } of [world.developer, world.member, world.viewer])
      for (const [method, body] of [
        ['POST', good],
        ['GET', undefined],
      ] as const)
        await expectError(call(method, path, { token, body }), 'insufficient_scope')
  })

  it('is there once for an audience', async () => {
    expect((await post(good)).status).toBe(201)
    await expectError(call('POST', path, { token: world.admin.token, body: good }), 'already_exists')
    const other = await post({ ...good, aud: 'other' })
    await expectError(
      call('PATCH', `${path}/${other.data.id}`, { token: world.admin.token, body: { aud: AUDIENCE } }),
      'already_exists',
    )
  })

  it('is one of twenty at most', async () => {
    const answers = await Promise.all(
      Array.from({ length: 24 }, (_, i) => post({ ...good, aud: `aud-${i}` })),
    )
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(20)
    expect(answers.filter(({ error }) => error?.code === 'conflict')).toHaveLength(4)
  })

  it('has either a jwks_uri or a secret, and the algorithms that go with it', async () => {
    const { jwks_uri: _, ...bare } = good
    expect(await fieldsOf(bare)).toEqual(['jwks_uri'])
    expect(await fieldsOf({ ...good, secret: SHARED_SECRET })).toEqual(['secret'])
    expect(await fieldsOf({ ...good, algs: ['RS256', 'HS256'] })).toEqual(['algs'])
    expect(await fieldsOf({ ...bare, secret: SHARED_SECRET, algs: ['RS256'] })).toEqual(['algs'])
    expect(await fieldsOf({ ...bare, secret: SHARED_SECRET, algs: ['HS256', 'RS256'] })).toEqual(['algs'])
    expect(await fieldsOf({ ...bare, secret: 'too short' })).toEqual(['secret'])
    for (const alg of ['none', 'HS512', 'RS1', 'ES256K', 'rs256', ''])
      expect(await fieldsOf({ ...good, algs: [alg] })).toEqual(['algs.0'])
    expect(await fieldsOf({ ...good, algs: [] })).toEqual(['algs'])
    const { data } = await post({ ...bare, secret: SHARED_SECRET })
    expect(data).toMatchObject({ algs: ['HS256'], has_secret: true, jwks_uri: null })
    // Nor by way of a change.
    expect((await patch(data.id, { algs: ['RS256'] })).status).toBe(422)
    expect((await patch(data.id, { jwks_uri: good.jwks_uri })).status).toBe(422)
    expect((await patch(data.id, { secret: null })).status).toBe(422)
    const both = await patch(data.id, { secret: null, jwks_uri: good.jwks_uri, algs: ['ES256'] })
    expect([both.status, both.data?.has_secret]).toEqual([200, false])
  })

  it('gives no role of the platform', async () => {
    expect(await fieldsOf({ ...good, default_role: 'platform_admin' })).toEqual(['default_role'])
    expect(await fieldsOf({ ...good, roles: { boss: 'platform_admin' } })).toEqual(['roles.boss'])
  })

  it('is not this service, and its keys are at an address that may be called', async () => {
    for (const iss of [
      'http://localhost:8787',
      'http://localhost:8787/',
      'login.example.com',
      'ftp://x.example',
      '',
    ])
      expect(await fieldsOf({ ...good, iss })).toEqual(['iss'])
    for (const iss of [
      'https://login.example.com/?a=b',
      'https://login.example.com/#a',
      'https://a.example/ b',
    ])
      expect(await fieldsOf({ ...good, iss })).toEqual(['iss'])
    for (const jwks_uri of [
      'http://169.254.169.254/latest/meta-data',
      'http://metadata.google.internal/jwks',
      'https://user:pass@login.example.com/jwks',
      'http://localhost:8787/.well-known/jwks.json',
      'https://login.example.com:22/jwks',
      'file:///etc/passwd',
    ])
      expect(await fieldsOf({ ...good, jwks_uri })).toEqual(['jwks_uri'])
  })

  it('shows its secret to nobody, and keeps it sealed', async () => {
    const { jwks_uri: _, ...bare } = good
    const made = await call('POST', path, {
      token: world.admin.token,
      body: { ...bare, secret: SHARED_SECRET },
    })
    const text = await made.text()
    expect(text).not.toContain('"secret"')
    expect(text).not.toContain(SHARED_SECRET)
    const { id } = JSON.parse(text).data
    await patch(id, { secret: `${SHARED_SECRET}!` })
    const row = await env.DB.prepare('select * from issuers where id = ?')
      .bind(id)
      .first<{ secret: string }>()
    expect(row?.secret).toMatch(/^v\d\./)
    const everything = await env.DB.batch(
      ['audit_log', 'issuers', 'state_changes', 'events', 'idempotency_keys'].map((table) =>
        env.DB.prepare(`select * from ${table} where tenant_id = ?`).bind(world.tenant.id),
      ),
    )
    expect(JSON.stringify(everything)).not.toContain(SHARED_SECRET)
  })

  it('leaves a line in the audit log with each change', async () => {
    const { data } = await post(good)
    await patch(data.id, { is_active: false })
    await call('DELETE', `${path}/${data.id}`, { token: world.admin.token })
    const { results } = await env.DB.prepare(
      'select action, actor_id from audit_log where resource_id = ? order by id',
    )
      .bind(data.id)
      .all()
    expect(results).toEqual(
      ['issuer.create', 'issuer.update', 'issuer.delete'].map((action) => ({
        action,
        actor_id: world.admin.user.id,
      })),
    )
  })
})

describe('a change', () => {
  const ways: [string, (id: string) => [string, string, unknown?]][] = [
    ['that removes it', (id) => ['DELETE', `${path}/${id}`]],
    ['that switches it off', (id) => ['PATCH', `${path}/${id}`, { is_active: false }]],
    ['of its audience', (id) => ['PATCH', `${path}/${id}`, { aud: 'https://another.example.com' }]],
    ['of its algorithms', (id) => ['PATCH', `${path}/${id}`, { algs: ['ES256'] }]],
    ['of what it must say', (id) => ['PATCH', `${path}/${id}`, { require: { azp: 'web' } }]],
  ]
  for (const [name, way] of ways)
    it(`${name} ends its tokens here at once, and elsewhere within ten seconds`, async () => {
      const issuer = new TestIssuer()
      const { id } = await trust(world, issuer)
      const [here, there] = [new Isolate(), new Isolate()]
      const token = await issuer.token(person())
      const knock = (isolate: Isolate) =>
        isolate.ask('GET', '/api/v1/webhooks/event-types?built_in=true', {
          token,
          headers: { 'X-Tenant-ID': world.tenant.id },
        })
      expect([(await here.ask('GET', path, { token: world.admin.token })).status]).toEqual([200])
      expect([(await knock(here)).status, (await knock(there)).status]).toEqual([200, 200])
      const [method, to, body] = way(id)
      const done = await here.ask(method, to, { token: world.admin.token, body })
      expect(done.status).toBeLessThan(300)
      await expectError(knock(here), 'invalid_token')
      // It has not heard of it yet: what ends it is the news.
      expect((await knock(there)).status).toBe(200)
      vi.useFakeTimers({ toFake: ['Date'] })
      vi.setSystemTime(Date.now() + 9_500)
      await expectError(knock(there), 'invalid_token')
      await expectError(knock(there), 'invalid_token')
    })

  it('that its tokens stand costs them one look', async () => {
    const issuer = new TestIssuer()
    const { id } = await trust(world, issuer)
    const token = await issuer.token(person())
    expect((await meIn(world, token)).status).toBe(200)
    expect((await patch(id, { default_role: 'viewer' })).status).toBe(200)
    expect((await meIn(world, token)).status).toBe(200)
  })

  it('that its tokens stand refuses none of them anywhere, whenever an isolate hears of it', async () => {
    const issuer = new TestIssuer()
    const { id } = await trust(world, issuer)
    const [here, there] = [new Isolate(), new Isolate()]
    const token = await issuer.token(person())
    const knock = (isolate: Isolate) =>
      isolate.ask('GET', '/api/v1/webhooks/event-types?built_in=true', {
        token,
        headers: { 'X-Tenant-ID': world.tenant.id },
      })
    expect([(await knock(here)).status, (await knock(there)).status]).toEqual([200, 200])
    const body = { default_role: 'viewer' }
    const done = await here.ask('PATCH', `${path}/${id}`, { token: world.admin.token, body })
    // The news reach the other isolate before what it knows of the issuer is old.
    knowledgeOf(there.bindings, world.tenant.id).learnEnd('issuer', `${id}@1`, Date.now() + 60_000)
    expect([done.status, (await knock(there)).status, (await knock(there)).status]).toEqual([200, 200, 200])
  })

  it('a removed issuer that comes back knows nobody but by a verified address', async () => {
    const issuer = new TestIssuer()
    const { id } = await trust(world, issuer)
    const who = person()
    expect((await meIn(world, await issuer.token(who))).status).toBe(200)
    await call('DELETE', `${path}/${id}`, { token: world.admin.token })
    await trust(world, issuer)
    await expectError(meIn(world, await issuer.token({ sub: who.sub })), 'user_unknown')
    expect((await meIn(world, await issuer.token(who))).status).toBe(200)
  })
})

describe('in the middle of traffic', () => {
  it('a rotation and an outage refuse no good token', async () => {
    const issuer = new TestIssuer()
    await trust(world, issuer)
    const isolates = [new Isolate(), new Isolate(), new Isolate()]
    vi.useFakeTimers({ toFake: ['Date'] })
    const start = Date.now()
    const statuses: number[] = []
    let tokens = await Promise.all(
      ['a', 'b', 'c'].map((name) => issuer.token({ ...person(name), ttl: 7200 })),
    )
    const traffic = async (seconds: number) => {
      vi.setSystemTime(start + seconds * 1000)
      const answers = await Promise.all(
        isolates.flatMap((isolate) =>
          tokens.map((token) =>
            isolate.ask('GET', '/api/v1/webhooks/event-types?built_in=true', {
              token,
              headers: { 'X-Tenant-ID': world.tenant.id },
            }),
          ),
        ),
      )
      statuses.push(...answers.map(({ status }) => status))
    }
    await traffic(0)
    // New keys, the old ones still published: tokens of both count.
    await issuer.control({ rotate: 'keep' })
    tokens = [
      ...tokens,
      ...(await Promise.all(['d', 'e'].map((name) => issuer.token({ ...person(name), ttl: 7200 })))),
    ]
    for (const seconds of [31, 40, 50]) await traffic(seconds)
    // It goes away; tokens that nobody has seen yet count by the keys that are known.
    const unseen = await Promise.all(['f', 'g'].map((name) => issuer.token({ ...person(name), ttl: 7200 })))
    for (const [down, seconds] of [
      ['status', 400],
      ['reset', 800],
      ['nonsense', 1600],
      ['redirect', 3000],
    ] as const) {
      await issuer.control({ down })
      tokens = [...tokens.slice(-5), ...unseen]
      await traffic(seconds)
    }
    await issuer.control({ down: null })
    await traffic(3100)
    expect(statuses.filter((status) => status !== 200)).toEqual([])
    expect(statuses.length).toBeGreaterThan(150)
    // Over fifty minutes, with three isolates: a fetch in five minutes each at most, and none for its own sake.
    expect((await issuer.watched()).jwks).toBeLessThan(3 * 10)
  }, 30_000)
})
