import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { isTagged, knownSecrets, makeKey, partsOf } from '../../src/domains/identity/api-keys/key'
import { isAdministrative, type Role, scopesOf } from '../../src/domains/tenancy/scopes'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import {
  call,
  callJson,
  makePerson,
  makeWorld,
  newAddress,
  type Person,
  requestContext,
  type World,
} from '../world'
import { Isolate } from './isolates'
import { changeUser } from './kit'

type Key = {
  id: string
  name: string
  key: string
  prefix: string
  scopes: string[]
  status: string
  created_by: string
  expires_at: string | null
}

let world: World
beforeEach(async () => {
  world = await makeWorld()
})
afterEach(() => {
  vi.useRealTimers()
})

const make = (by: Person | { key: string }, body: object = {}) =>
  callJson<Key>('POST', '/api/v1/auth/api-keys', {
    ...('key' in by ? { key: by.key } : { token: by.token }),
    body: { name: 'test', ...body },
  })
const withKey = (key: string, path = '/api/v1/auth/me') => call('GET', path, { key })

/** Sets the clock forward, as another isolate's ten seconds would pass. */
const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000)

describe('an API key', () => {
  it('is shown once, and only its hash and beginning are kept', async () => {
    const made = await make(world.admin, { name: '  Backend ' })
    expect(made.status).toBe(201)
    const { key, ...rest } = made.data
    expect(key).toMatch(/^sk_live_[0-9A-Za-z]{50}$/)
    expect(rest).toMatchObject({
      name: 'Backend',
      prefix: key.slice(0, 12),
      status: 'active',
      expires_at: null,
    })
    const row = await env.DB.prepare('select * from api_keys where id = ?').bind(rest.id).first()
    expect(JSON.stringify(row)).not.toContain(key.slice(12))
    const audit = await env.DB.prepare('select * from audit_log where resource_id = ?').bind(rest.id).first()
    expect(audit).toMatchObject({ action: 'api_key.create', actor_id: world.admin.user.id })
    for (const table of ['audit_log', 'events', 'api_keys', 'idempotency_keys']) {
      const rows = await env.DB.prepare(`select * from ${table} where tenant_id = ?`)
        .bind(world.tenant.id)
        .all()
      expect(JSON.stringify(rows.results)).not.toContain(key.slice(12))
    }
    for (const path of ['/api/v1/auth/api-keys', `/api/v1/auth/api-keys/${rest.id}`]) {
      const read = await call('GET', path, { token: world.admin.token })
      const text = await read.text()
      expect(read.status).toBe(200)
      expect(text).toContain(rest.id)
      expect(text).not.toContain(key.slice(12))
      expect(text).not.toContain('hash')
    }
  })

  it('works in either header', async () => {
    const { data } = await make(world.developer)
    const byHeader = await callJson<{ id: string; principal: object }>('GET', '/api/v1/auth/me', {
      key: data.key,
    })
    expect(byHeader.status).toBe(200)
    expect(byHeader.data).toMatchObject({
      id: world.developer.user.id,
      principal: { kind: 'api_key', id: data.id, name: 'test' },
    })
    expect((await call('GET', '/api/v1/auth/me', { token: data.key })).status).toBe(200)
  })

  it('names every wrong field', async () => {
    const refused = await make(world.admin, {
      name: '',
      scopes: ['chats:read', 'no:such', 'platform:*'],
      expires_at: '2020-01-01T00:00:00Z',
      owner: 'me',
    })
    expect(refused.status).toBe(422)
    expect(Object.keys(refused.error.details.fields ?? {}).sort()).toEqual([
      'expires_at',
      'name',
      'owner',
      'scopes.1',
      'scopes.2',
    ])
    expect((await make(world.admin, { scopes: [] })).status).toBe(422)
    expect((await make(world.admin, { scopes: ['chats:read'], permissions: ['read'] })).status).toBe(422)
  })

  it('is not its maker’s profile', async () => {
    const { data } = await make(world.admin, { scopes: [...scopesOf('admin')] })
    await expectError(
      call('PATCH', '/api/v1/auth/me', { key: data.key, body: { full_name: 'Changed' } }),
      'user_required',
    )
    for (const path of ['/api/v1/auth/logout', '/api/v1/auth/logout-all'])
      await expectError(call('POST', path, { key: data.key }), 'user_required')
  })
})

describe('what a key makes', () => {
  it('belongs to its maker, and says which key it was', async () => {
    const { data: own } = await make(world.developer)
    const makes = async (path: string, body: object) =>
      (await callJson<{ id: string }>('POST', path, { key: own.key, body })).data.id
    const agent = await makes('/api/v1/agents', { name: 'Echo', kind: 'echo' })
    const chat = await makes('/api/v1/chats', { agent_id: agent })
    const maker = world.developer.user.id
    expect(await env.DB.prepare('select created_by from agents where id = ?').bind(agent).first()).toEqual({
      created_by: maker,
    })
    expect(
      await env.DB.prepare('select actor_kind, actor_id from audit_log where resource_id = ?')
        .bind(agent)
        .first(),
    ).toEqual({ actor_kind: 'api_key', actor_id: own.id })
    expect(
      await env.DB.prepare('select user_id, api_key_id from chats where id = ?').bind(chat).first(),
    ).toEqual({ user_id: maker, api_key_id: own.id })
    expect((await call('GET', `/api/v1/chats/${chat}`, { token: world.developer.token })).status).toBe(200)
    expect((await call('GET', `/api/v1/chats/${chat}`, { token: world.member.token })).status).toBe(404)
  })
})

describe('the scopes of a key', () => {
  it('are by default all of its maker’s but the administrative ones', async () => {
    const { data } = await make(world.admin)
    expect(data.scopes.sort()).toEqual(
      scopesOf('admin')
        .filter((scope) => !isAdministrative(scope))
        .sort(),
    )
    for (const scope of ['tenants:write', 'users:write', 'api_keys:write', 'chats:admin', 'webhooks:secret'])
      expect(data.scopes).not.toContain(scope)
  })

  it('may be named in short', async () => {
    const read = await make(world.developer, { permissions: ['read'] })
    expect(read.data.scopes.every((scope) => scope.endsWith(':read'))).toBe(true)
    const both = await make(world.developer, { permissions: ['read', 'write'] })
    expect(both.data.scopes).toEqual(expect.arrayContaining(['interactions:read', 'interactions:write']))
    expect(both.data.scopes).not.toContain('api_keys:write')
  })

  it('are never more than the maker’s, by token or by key', async () => {
    const beyond = await make(world.developer, { scopes: ['users:write', 'chats:read', 'tenants:write'] })
    expect([beyond.status, beyond.error.code]).toEqual([403, 'insufficient_scope'])
    expect(beyond.error.details.missing).toEqual(['users:write', 'tenants:write'])
    const narrow = await make(world.admin, { scopes: ['api_keys:write', 'interactions:read'] })
    const wider = await make({ key: narrow.data.key }, { scopes: ['interactions:write'] })
    expect(wider.error.code).toBe('insufficient_scope')
    const same = await make({ key: narrow.data.key }, { scopes: ['interactions:read'] })
    expect([same.status, same.data.created_by]).toEqual([201, world.admin.user.id])
    const short = await make({ key: narrow.data.key }, { permissions: ['read', 'write'] })
    expect(short.data.scopes).toEqual(['interactions:read'])
    const inherited = await make({ key: narrow.data.key })
    expect(inherited.data.scopes).toEqual(['interactions:read'])
  })

  it('are what the key does, no more', async () => {
    const { data } = await make(world.admin, { scopes: ['interactions:read'] })
    expect((await withKey(data.key, '/api/v1/interactions')).status).toBe(200)
    await expectError(
      call('POST', '/api/v1/interactions', { key: data.key, body: { text: 'a' } }),
      'insufficient_scope',
    )
    await expectError(withKey(data.key, '/api/v1/tenants/current'), 'insufficient_scope')
  })

  it('shrink with the maker’s role, within ten seconds', async () => {
    const person = await makePerson(world.tenant, 'developer')
    const { data } = await make(person, { scopes: ['interactions:write', 'interactions:read'] })
    const write = () => call('POST', '/api/v1/interactions', { key: data.key, body: { text: 'a' } })
    expect((await write()).status).toBe(201)
    await changeUser(person.user, { role: 'viewer' })
    vi.useFakeTimers({ toFake: ['Date'] })
    later(10)
    await expectError(write(), 'insufficient_scope')
    expect((await withKey(data.key, '/api/v1/interactions')).status).toBe(200)
    const me = await callJson<{ principal: { scopes: string[] } }>('GET', '/api/v1/auth/me', {
      key: data.key,
    })
    expect(me.data.principal.scopes).toEqual(['interactions:read'])
  })

  for (const role of ['viewer', 'member'] as const satisfies Role[])
    it(`a ${role} makes no keys`, async () => {
      const refused = await make(world[role])
      expect(refused.error.code).toBe('insufficient_scope')
    })
})

describe('a key that does not count', () => {
  it('revoked stops here at once', async () => {
    const { data } = await make(world.admin)
    expect((await withKey(data.key)).status).toBe(200)
    const path = `/api/v1/auth/api-keys/${data.id}`
    expect((await call('DELETE', path, { token: world.admin.token })).status).toBe(204)
    await expectError(withKey(data.key), 'invalid_api_key')
    await expectError(call('GET', '/api/v1/auth/me', { token: data.key }), 'invalid_api_key')
    await expectError(call('DELETE', path, { token: world.admin.token }), 'not_found')
    const read = await callJson<Key>('GET', path, { token: world.admin.token })
    expect(read.data.status).toBe('revoked')
  })

  it('may revoke itself', async () => {
    const { data } = await make(world.admin, { scopes: ['api_keys:write'] })
    expect((await call('DELETE', `/api/v1/auth/api-keys/${data.id}`, { key: data.key })).status).toBe(204)
    await expectError(withKey(data.key), 'invalid_api_key')
  })

  it('stops within ten seconds in another isolate, even where requests come all the time', async () => {
    const { data } = await make(world.admin)
    const there = new Isolate()
    expect((await there.knock({ key: data.key })).status).toBe(200)
    vi.useFakeTimers({ toFake: ['Date'] })
    const path = `/api/v1/auth/api-keys/${data.id}`
    expect((await call('DELETE', path, { token: world.admin.token })).status).toBe(204)
    // That isolate does not know yet: it remembers.
    const statuses: number[] = []
    for (let second = 0; second < 10; second++) {
      for (const answer of await Promise.all([there.knock(data), there.knock(data)]))
        statuses.push(answer.status)
      later(1)
    }
    expect([statuses[0], ...statuses.slice(-2)]).toEqual([200, 401, 401])
    // And does not come back.
    expect(statuses.lastIndexOf(200)).toBeLessThan(statuses.indexOf(401))
  })

  it('expires on time, even while it is remembered', async () => {
    const expires_at = new Date(Date.now() + 4000).toISOString()
    const { data } = await make(world.admin, { expires_at })
    expect(data.expires_at).toBe(expires_at)
    expect((await withKey(data.key)).status).toBe(200)
    const path = `/api/v1/auth/api-keys/${data.id}`
    const before = await call('GET', path, { token: world.admin.token })
    vi.useFakeTimers({ toFake: ['Date'] })
    later(4.1)
    await expectError(withKey(data.key), 'invalid_api_key')
    const etag = before.headers.get('ETag') ?? ''
    const after = await call('GET', path, { token: world.admin.token, headers: { 'If-None-Match': etag } })
    expect(after.status).toBe(200)
    expect(((await after.json()) as { data: Key }).data.status).toBe('expired')
  })

  it('of a maker who was removed is gone with them', async () => {
    const person = await makePerson(world.tenant, 'developer')
    const { data } = await make(person)
    await env.DB.prepare('delete from users where id = ?').bind(person.user.id).run()
    await expectError(withKey(data.key), 'invalid_api_key')
  })
})

describe('a forged key', () => {
  /** The service, counting what it asks of D1. */
  function counted() {
    const asked: string[] = []
    const DB = {
      prepare: (sql: string) => {
        asked.push(sql)
        return env.DB.prepare(sql)
      },
      batch: (statements: D1PreparedStatement[]) => env.DB.batch(statements),
    }
    return { asked, service: serviceWith({ DB }) }
  }

  it('costs no call of D1', async () => {
    const { asked, service } = counted()
    const real = await makeKey(requestContext().settings)
    const forged = [
      real.slice(0, -1) + (real.endsWith('0') ? '1' : '0'),
      real.slice(0, 20) + (real[20] === 'a' ? 'b' : 'a') + real.slice(21),
      real.replace('sk_live_', 'sk_test_'),
      // By somebody who knows the version of the secret in force.
      `sk_live_${'A'.repeat(43)}${real[51]}AAAAAA`,
      'sk_live_',
      'sk_',
      `sk_live_${'A'.repeat(10_000)}`,
      `${real} `.repeat(2).trim(),
      `${real}\u00a0`.slice(0, -1).concat('x'),
    ]
    for (const key of forged) {
      const answer = await service('GET', 'http://localhost:8787/api/v1/auth/me', {
        headers: { 'X-API-Key': key },
      })
      await expectError(answer, 'invalid_api_key')
    }
    expect(asked).toEqual([])
    // What the tag does not refuse is looked up.
    const unknown = await service('GET', 'http://localhost:8787/api/v1/auth/me', {
      headers: { 'X-API-Key': real },
    })
    await expectError(unknown, 'invalid_api_key')
    expect(asked).toHaveLength(1)
    // And is remembered: a key whose row is gone never comes back.
    const headers = { 'X-API-Key': real }
    await expectError(service('GET', 'http://localhost:8787/api/v1/auth/me', { headers }), 'invalid_api_key')
    expect(asked).toHaveLength(1)
  })

  it('makes no call of any binding to be refused; its address is counted, once a lease', async () => {
    let counts = 0
    const ADDRESS_METERS = {
      getByName: (name: string) => {
        counts += 1
        return env.ADDRESS_METERS.getByName(name)
      },
    }
    const isolate = new Isolate({ ADDRESS_METERS })
    const real = await makeKey(requestContext().settings)
    const headers = { 'CF-Connecting-IP': newAddress() }
    for (let i = 0; i < 8; i++) {
      const key = `${real.slice(0, -2)}${i}${real.endsWith('x') ? 'y' : 'x'}`
      await expectError(isolate.ask('GET', '/api/v1/auth/api-keys', { key, headers }), 'invalid_api_key')
    }
    expect([isolate.calls, counts]).toEqual([[], 1])
  })

  it('pushes no genuine one out of memory', async () => {
    const { data } = await make(world.admin)
    const { asked, service } = counted()
    const get = (key: string) =>
      service('GET', 'http://localhost:8787/api/v1/webhooks/event-types?built_in=true', {
        headers: { 'X-API-Key': key },
      })
    expect((await get(data.key)).status).toBe(200)
    const warm = asked.length
    const forged = (i: number) => `sk_live_${String(i).padStart(43, 'A')}${data.key[51]}000000`
    await Promise.all(Array.from({ length: 300 }, (_, i) => get(forged(i))))
    expect((await get(data.key)).status).toBe(200)
    expect(asked.length).toBe(warm)
  })

  it('that names a secret nobody heard of costs an isolate one look in five minutes, however many come', async () => {
    const { asked, service } = counted()
    const get = (key: string) =>
      service('GET', 'http://localhost:8787/api/v1/webhooks/event-types?built_in=true', {
        headers: { 'X-API-Key': key },
      })
    const real = await makeKey(requestContext().settings)
    const versions = [...'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ'].filter((version) => version !== real[51])
    const forged = versions.map((version) => `${real.slice(0, 51)}${version}${real.slice(52)}`)
    for (const answer of await Promise.all(forged.map(get))) await expectError(answer, 'invalid_api_key')
    for (const answer of await Promise.all(forged.map(get))) expect(answer.status).toBe(401)
    expect(asked).toHaveLength(1)
    expect(asked[0]).toContain('server_secrets')
  })

  it('costs no more while D1 does not answer: one look, and then a while none', async () => {
    let looks = 0
    const DB = {
      prepare: () => {
        looks += 1
        throw new Error('D1 is away')
      },
    }
    const service = serviceWith({ DB })
    const real = await makeKey(requestContext().settings)
    const forged = [...'2345678'].filter((version) => version !== real[51])
    for (const version of forged) {
      const key = `${real.slice(0, 51)}${version}${real.slice(52)}`
      const answer = await service('GET', 'http://localhost:8787/api/v1/auth/me', {
        headers: { 'X-API-Key': key },
      })
      expect(answer.status).toBeGreaterThanOrEqual(500)
    }
    expect(looks).toBe(1)
  })

  it('is told by its tag, with the server’s secret alone', async () => {
    const keys = { MASTER_KEY: 'one secret that is long enough to be one', MASTER_KEY_PREVIOUS: [] }
    const others = { ...keys, MASTER_KEY: 'another secret that is long enough' }
    const genuine = async (key: string, by = keys) => {
      const parts = partsOf(key)
      return parts !== null && (await isTagged(parts, await knownSecrets(by)))
    }
    const key = await makeKey(keys)
    expect(await genuine(key)).toBe(true)
    expect(await genuine(key, others)).not.toBe(true)
    expect(await genuine(await makeKey(keys, 'test'))).toBe(true)
    for (let at = 0; at < key.length; at++) {
      const other = key[at] === '1' ? '2' : '1'
      expect([at, await genuine(key.slice(0, at) + other + key.slice(at + 1))]).not.toEqual([at, true])
    }
  })
})

describe('two credentials', () => {
  it('that name one caller are fine', async () => {
    expect((await call('GET', '/api/v1/auth/me', { token: world.apiKey, key: world.apiKey })).status).toBe(
      200,
    )
  })

  it('that name different callers are refused, whoever they are', async () => {
    const other = await makeWorld()
    const { data } = await make(world.admin)
    for (const [token, key] of [
      [world.admin.token, world.apiKey],
      [world.member.token, world.apiKey],
      [other.admin.token, world.apiKey],
      [data.key, world.apiKey],
    ])
      await expectError(
        call('GET', '/api/v1/auth/me', { token: token ?? '', key: key ?? '' }),
        'ambiguous_credentials',
      )
  })

  it('one of which is bad are refused', async () => {
    await expectError(call('GET', '/api/v1/auth/me', { token: world.admin.token, key: 'x' }), 'invalid_token')
    await expectError(call('GET', '/api/v1/auth/me', { token: 'x', key: world.apiKey }), 'invalid_token')
  })

  it('a header makes the cookie ignored', async () => {
    const headers = { Cookie: 'access_token=nonsense' }
    expect((await call('GET', '/api/v1/auth/me', { key: world.apiKey, headers })).status).toBe(200)
    const cookie = { Cookie: `access_token=${world.admin.token}` }
    const me = await callJson<{ id: string }>('GET', '/api/v1/auth/me', {
      token: world.member.token,
      headers: cookie,
    })
    expect(me.data.id).toBe(world.member.user.id)
  })
})
