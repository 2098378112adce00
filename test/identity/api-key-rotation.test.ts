import { env } from 'cloudflare:workers'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { makeKey } from '../../src/domains/identity/api-keys/key'
import { newKey } from '../../src/domains/identity/api-keys/service'
import { scopesOf } from '../../src/domains/tenancy/scopes'
import { expectError } from '../http/expect-error'
import { PRODUCTION, serviceWith } from '../http/service'
import { call, callJson, makePerson, makeWorld, type Person, type World } from '../world'
import { Isolate } from './isolates'
import { changeUser } from './kit'

type Key = {
  id: string
  key: string
  prefix: string
  status: string
  scopes: string[]
  created_by: string | null
  expires_at: string | null
  replaced_by: string | null
  allowed_addresses: string[] | null
  limits: object | null
}

let world: World
beforeEach(async () => {
  world = await makeWorld()
})
afterEach(() => {
  vi.useRealTimers()
})

const keys = '/api/v1/auth/api-keys'
const make = async (by: Person, body: object = {}): Promise<Key> => {
  const made = await callJson<Key>('POST', keys, { token: by.token, body: { name: 'test', ...body } })
  expect(made.status).toBe(201)
  return made.data
}
const rotate = (by: { token: string } | { key: string }, id: string, body?: object) =>
  callJson<Key>('POST', `${keys}/${id}/rotate`, { ...by, ...(body ? { body } : {}) })
const read = async (id: string) =>
  (await callJson<Key>('GET', `${keys}/${id}`, { token: world.admin.token })).data
const statusOf = async (key: string, headers: Record<string, string> = {}) =>
  (await call('GET', '/api/v1/auth/me', { key, headers })).status
const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1000)

describe('a rotation', () => {
  it('makes a new key like the old one, which goes on until its overlap is over', async () => {
    const limits = { per_minute: 50 }
    const old = await make(world.developer, {
      scopes: ['chats:read'],
      allowed_addresses: ['10.0.0.0/8'],
      limits,
    })
    const made = await rotate(world.developer, old.id, { overlap_seconds: 60 })
    expect(made.status).toBe(201)
    expect(made.headers.get('Location')).toBe(`${keys}/${made.data.id}`)
    expect(made.data).toMatchObject({
      ...{ status: 'active', scopes: ['chats:read'], allowed_addresses: ['10.0.0.0/8'], limits },
      ...{ created_by: world.developer.user.id, expires_at: null, replaced_by: null },
    })
    expect(made.data.id).not.toBe(old.id)
    expect(made.data.key).not.toBe(old.key)
    expect(await read(old.id)).toMatchObject({ status: 'rotating', replaced_by: made.data.id })
    expect([await statusOf(old.key), await statusOf(made.data.key)]).toEqual([200, 200])
    vi.useFakeTimers({ toFake: ['Date'] })
    later(59)
    expect([await statusOf(old.key), await statusOf(made.data.key)]).toEqual([200, 200])
    later(2)
    expect([await statusOf(old.key), await statusOf(made.data.key)]).toEqual([401, 200])
    expect((await read(old.id)).status).toBe('expired')
    const audit = await env.DB.prepare(
      "select * from audit_log where resource_id = ? and action = 'api_key.rotate'",
    )
      .bind(old.id)
      .all()
    expect(audit.results).toHaveLength(1)
    expect(JSON.stringify(audit.results)).not.toContain(made.data.key.slice(12))
  })

  it('takes a day where nothing is stated, seven at most, and ends the old key at once for none', async () => {
    const first = await make(world.admin)
    await rotate(world.admin, first.id)
    const ends = Date.parse((await read(first.id)).expires_at ?? '')
    expect(Math.abs(ends - Date.now() - 24 * 3600_000)).toBeLessThan(10_000)
    const second = await make(world.admin)
    expect(await statusOf(second.key)).toBe(200)
    for (const overlap_seconds of [-1, 604_801, 1.5, '60'])
      expect((await rotate(world.admin, second.id, { overlap_seconds })).status).toBe(422)
    const made = await rotate(world.admin, second.id, { overlap_seconds: 0 })
    expect(made.status).toBe(201)
    expect([await statusOf(second.key), await statusOf(made.data.key)]).toEqual([401, 200])
    expect((await read(second.id)).status).toBe('revoked')
  })

  it('ends the old key on time in another isolate too, which knew of no end', async () => {
    const old = await make(world.admin)
    const there = new Isolate()
    expect((await there.knock(old)).status).toBe(200)
    vi.useFakeTimers({ toFake: ['Date'] })
    const made = await rotate(world.admin, old.id, { overlap_seconds: 30 })
    later(10)
    // It is told with a lease.
    expect((await there.knock(old)).status).toBe(200)
    later(19)
    expect((await there.knock(old)).status).toBe(200)
    const asked = there.calls.filter((name) => name === 'DB.prepare').length
    later(2)
    await expectError(there.knock(old), 'invalid_api_key')
    expect((await there.knock(made.data)).status).toBe(200)
    // Not because it looked: it reads a key's row once in half an hour. The second look is the new key's.
    expect(there.calls.filter((name) => name === 'DB.prepare').length).toBe(asked + 1)
  })

  it('never lengthens the life of the old key, and gives the new one a life of its own where that is asked', async () => {
    const expires_at = new Date(Date.now() + 3600_000).toISOString()
    const old = await make(world.admin, { expires_at })
    const longer = new Date(Date.now() + 30 * 24 * 3600_000).toISOString()
    const made = await rotate(world.admin, old.id, { overlap_seconds: 604_800, expires_at: longer })
    expect((await read(old.id)).expires_at).toBe(expires_at)
    expect(made.data.expires_at).toBe(longer)
    const kept = await make(world.admin, { expires_at })
    expect((await rotate(world.admin, kept.id)).data.expires_at).toBe(expires_at)
  })

  it('is refused for a key that is over or was rotated, and gives one new key to two who ask at once', async () => {
    const old = await make(world.admin)
    const both = await Promise.all([rotate(world.admin, old.id), rotate(world.admin, old.id)])
    expect(both.map(({ status }) => status).sort()).toEqual([201, 409])
    const made = both.find(({ status }) => status === 201)
    expect((await rotate(world.admin, old.id)).error.code).toBe('conflict')
    const list = await callJson<Key[]>('GET', keys, { token: world.admin.token })
    // The world's, the old one and the new one.
    expect(list.data).toHaveLength(3)
    const revoked = await make(world.admin)
    await call('DELETE', `${keys}/${revoked.id}`, { token: world.admin.token })
    expect((await rotate(world.admin, revoked.id)).error.code).toBe('conflict')
    // The new one can be rotated in its turn.
    expect((await rotate(world.admin, made?.data.id ?? '')).status).toBe(201)
  })

  it('may be ended early', async () => {
    const old = await make(world.admin)
    await rotate(world.admin, old.id)
    expect((await call('DELETE', `${keys}/${old.id}`, { token: world.admin.token })).status).toBe(204)
    expect(await statusOf(old.key)).toBe(401)
  })

  it('gives back nothing of what the limits of the old key counted', async () => {
    const old = await make(world.admin, { limits: { total: 4 } })
    const use = async (key: string) =>
      (await call('GET', '/api/v1/webhooks/event-types?built_in=true', { key })).status
    expect([await use(old.key), await use(old.key), await use(old.key)]).toEqual([200, 200, 200])
    const made = await rotate(world.admin, old.id)
    expect([await use(made.data.key), await use(made.data.key), await use(old.key)]).toEqual([200, 429, 429])
    const again = await rotate(world.admin, made.data.id)
    expect(await use(again.data.key)).toBe(429)
  })

  it('keeps a test key a test key', async () => {
    const old = await make(world.admin, { mode: 'test' })
    expect((await rotate(world.admin, old.id)).data.key).toMatch(/^sk_test_/)
  })
})

describe('who may rotate a key', () => {
  it('its maker, an administrator, and the key itself, each with all of its scopes', async () => {
    const old = await make(world.developer, { scopes: ['chats:read', 'api_keys:write'] })
    const byItself = await rotate({ key: old.key }, old.id)
    expect([byItself.status, byItself.data.created_by]).toEqual([201, world.developer.user.id])
    const byAdmin = await rotate(world.admin, byItself.data.id)
    expect([byAdmin.status, byAdmin.data.created_by]).toEqual([201, world.developer.user.id])
  })

  it('nobody who would get more by it: wider scopes, or another person’s chats', async () => {
    const wide = await make(world.admin, { scopes: ['users:write', 'chats:read'] })
    const narrow = await make(world.admin, { scopes: ['api_keys:write'] })
    for (const by of [{ token: world.developer.token }, { key: narrow.key }]) {
      const refused = await rotate(by, wide.id)
      expect([refused.status, refused.error.code]).toEqual([403, 'insufficient_scope'])
    }
    const other = await makePerson(world.tenant, 'developer')
    const theirs = await make(other, { scopes: ['chats:read'] })
    const refused = await rotate(world.developer, theirs.id)
    expect(refused.error.details.missing).toEqual(['users:write'])
    expect((await read(theirs.id)).status).toBe('active')
    expect((await rotate(world.viewer, theirs.id)).error.code).toBe('insufficient_scope')
    const stranger = await makeWorld()
    expect((await rotate(stranger.admin, theirs.id)).status).toBe(404)
  })

  it('leaves the new key only what its maker still may', async () => {
    const person = await makePerson(world.tenant, 'admin')
    const old = await make(person, { scopes: [...scopesOf('admin')] })
    await changeUser(person.user, { role: 'developer' })
    const made = await rotate(world.admin, old.id)
    expect(made.data.scopes.sort()).toEqual([...scopesOf('developer')].sort())
    await changeUser({ ...person.user, version: person.user.version + 1 }, { role: 'admin' })
    const me = await callJson<{ principal: { scopes: string[] } }>('GET', '/api/v1/auth/me', {
      key: made.data.key,
    })
    expect(me.data.principal.scopes).not.toContain('users:write')
  })
})

describe('the addresses of a key', () => {
  it('are the only ones that it may be used from', async () => {
    const { key } = await make(world.admin, {
      allowed_addresses: ['198.51.100.7', '203.0.113.0/24', '2001:db8:1::/48'],
    })
    const from = (address: string) => statusOf(key, { 'CF-Connecting-IP': address })
    for (const address of ['198.51.100.7', '203.0.113.255', '2001:db8:1:ffff::9', '::ffff:203.0.113.4'])
      expect([address, await from(address)]).toEqual([address, 200])
    for (const address of ['198.51.100.8', '203.0.114.0', '2001:db8:2::1', '::1', '127.0.0.1'])
      expect([address, await from(address)]).toEqual([address, 403])
    await expectError(
      call('GET', '/api/v1/auth/me', { key, headers: { 'CF-Connecting-IP': '192.0.2.1' } }),
      'address_refused',
    )
    // Warm too, and back again.
    expect(await from('198.51.100.7')).toBe(200)
  })

  it('refuse who has none, and say nothing of a key that was revoked', async () => {
    const made = await make(world.admin, { allowed_addresses: ['203.0.113.0/24'] })
    const unknown = await new Isolate().ask('GET', '/api/v1/auth/me', {
      key: made.key,
      headers: { 'CF-Connecting-IP': '' },
    })
    await expectError(unknown, 'address_refused')
    await call('DELETE', `${keys}/${made.id}`, { token: world.admin.token })
    expect(await statusOf(made.key, { 'CF-Connecting-IP': '192.0.2.1' })).toBe(401)
  })

  it('are IP addresses and CIDR blocks, and nothing else', async () => {
    const wrong = [
      '',
      'localhost',
      '10.0.0.0/33',
      '10.0.0',
      '::1/129',
      '[::1]',
      '1.2.3.4/',
      '1.2.3.4/-1',
      '*',
      '1.2.3.4:80',
    ]
    for (const address of wrong) {
      const refused = await callJson('POST', keys, {
        token: world.admin.token,
        body: { name: 'a', allowed_addresses: [address] },
      })
      expect([address, refused.status]).toEqual([address, 422])
    }
    for (const allowed_addresses of [[], Array.from({ length: 101 }, () => '10.0.0.1')])
      expect(
        (await callJson('POST', keys, { token: world.admin.token, body: { name: 'a', allowed_addresses } }))
          .status,
      ).toBe(422)
  })
})

describe('a test key', () => {
  it('is marked as one, and works where the service is not in production', async () => {
    const made = await make(world.admin, { mode: 'test' })
    expect(made.key).toMatch(/^sk_test_[0-9A-Za-z]{50}$/)
    expect(made.prefix).toBe(made.key.slice(0, 12))
    expect(await statusOf(made.key)).toBe(200)
    expect(await statusOf(made.key.replace('sk_test_', 'sk_live_'))).toBe(401)
  })

  it('counts for nothing in production, without a look, and can’t be made there', async () => {
    const there = { MASTER_KEY: PRODUCTION.MASTER_KEY, MASTER_KEY_PREVIOUS: [] }
    const asked: string[] = []
    const prepare = (sql: string) => {
      asked.push(sql)
      return env.DB.prepare(sql)
    }
    const service = serviceWith({ ...PRODUCTION, DB: { prepare, batch: env.DB.batch.bind(env.DB) } })
    const answer = async (mode: 'live' | 'test') =>
      service('GET', 'https://api.example.com/api/v1/auth/me', {
        headers: { 'X-API-Key': await makeKey(there, mode) },
      })
    await expectError(answer('test'), 'invalid_api_key')
    expect(asked).toEqual([])
    // A live one by the same secret is looked for.
    await expectError(answer('live'), 'invalid_api_key')
    expect(asked).toHaveLength(1)
    const settings = { ...world.ctx.settings, ENVIRONMENT: 'production' as const }
    const input = { name: 'a', mode: 'test' as const, scopes: [], created_by: null }
    await expect(newKey({ ...world.ctx, settings }, input)).rejects.toMatchObject({
      code: 'validation_failed',
    })
  })
})
