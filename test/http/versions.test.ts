import { beforeAll, describe, expect, it } from 'vitest'
import { call, callJson, makePerson, makeWorld, type Person, type World } from '../world'
import { expectError } from './expect-error'

let world: World
let person: Person
beforeAll(async () => {
  world = await makeWorld()
})

const me = (headers: Record<string, string> = {}) =>
  call('GET', '/api/v1/auth/me', { token: person.token, headers })
const rename = (full_name: string, headers: Record<string, string> = {}) =>
  call('PATCH', '/api/v1/auth/me', { token: person.token, headers, body: { full_name } })

describe('the version of a resource', () => {
  beforeAll(async () => {
    person = await makePerson(world.tenant, 'member')
  })

  it('is its ETag, and changes with it', async () => {
    const before = (await me()).headers.get('ETag')
    expect(before).toMatch(/^"v\d+"$/)
    const changed = await rename('One')
    expect(changed.headers.get('ETag')).not.toBe(before)
    expect((await me()).headers.get('ETag')).toBe(changed.headers.get('ETag'))
  })

  it('gets 304 for If-None-Match, without a body', async () => {
    const etag = (await me()).headers.get('ETag') ?? ''
    for (const value of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const answer = await me({ 'If-None-Match': value })
      expect([value, answer.status, await answer.text()]).toEqual([value, 304, ''])
      expect(answer.headers.get('ETag')).toBe(etag)
    }
    for (const value of ['"v99"', etag.replaceAll('"', ''), '"x"', ''])
      expect([value, (await me({ 'If-None-Match': value })).status]).toEqual([value, 200])
  })

  it('is taken by If-Match', async () => {
    const etag = (await me()).headers.get('ETag') ?? ''
    const changed = await rename('Two', { 'If-Match': etag })
    expect(changed.status).toBe(200)
    for (const value of [etag, '"v99"', 'v1', 'nonsense', `W/${changed.headers.get('ETag')}`])
      await expectError(rename('Three', { 'If-Match': value }), 'precondition_failed')
    expect((await rename('Four', { 'If-Match': '*' })).status).toBe(200)
  })

  it('lets one of several changes with the same If-Match through', async () => {
    const etag = (await me()).headers.get('ETag') ?? ''
    const answers = await Promise.all(['a', 'b', 'c', 'd'].map((name) => rename(name, { 'If-Match': etag })))
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, 412, 412, 412])
  })

  it('loses nothing of changes at the same time that name no version', async () => {
    const tenant = () =>
      callJson<{ settings: Record<string, unknown> }>('GET', '/api/v1/tenants/current', { key: world.apiKey })
    const changes = [
      { conversation_window_minutes: 7 },
      { payload_retention_days: 3 },
      { max_users: 9 },
      { open_registration: true },
    ]
    const answers = await Promise.all(
      changes.map((settings) =>
        call('PATCH', '/api/v1/tenants/current', { token: world.admin.token, body: { settings } }),
      ),
    )
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200])
    expect((await tenant()).data.settings).toMatchObject(Object.assign({}, ...changes))
  })

  it('guards a tenant too', async () => {
    const read = await call('GET', '/api/v1/tenants/current', { token: world.admin.token })
    const etag = read.headers.get('ETag') ?? ''
    const change = (headers: Record<string, string>) =>
      call('PATCH', '/api/v1/tenants/current', { token: world.admin.token, headers, body: { name: 'New' } })
    expect((await change({ 'If-Match': etag })).status).toBe(200)
    await expectError(change({ 'If-Match': etag }), 'precondition_failed')
    expect(
      (
        await call('GET', '/api/v1/tenants/current', {
          token: world.admin.token,
          headers: { 'If-None-Match': etag },
        })
      ).status,
    ).toBe(200)
  })

  it('guards a removal', async () => {
    const made = await callJson<{ id: string }>('POST', '/api/v1/interactions', {
      token: world.admin.token,
      body: { text: 'a' },
    })
    const path = `/api/v1/interactions/${made.data.id}`
    const etag = (await call('GET', path, { token: world.admin.token })).headers.get('ETag') ?? ''
    await expectError(
      call('DELETE', path, { token: world.admin.token, headers: { 'If-Match': '"v2"' } }),
      'precondition_failed',
    )
    expect(
      (await call('DELETE', path, { token: world.admin.token, headers: { 'If-Match': etag } })).status,
    ).toBe(204)

    const key = await callJson<{ id: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'a' },
    })
    const keyPath = `/api/v1/auth/api-keys/${key.data.id}`
    await expectError(
      call('DELETE', keyPath, { token: world.admin.token, headers: { 'If-Match': '"v9"' } }),
      'precondition_failed',
    )
    expect((await call('GET', keyPath, { token: world.admin.token })).headers.get('ETag')).toBe('"v1"')
  })
})

describe('what is not its version', () => {
  it('a created resource says where it is', async () => {
    const made = await call('POST', '/api/v1/interactions', { token: world.admin.token, body: { text: 'a' } })
    const location = made.headers.get('Location') ?? ''
    expect((await call('GET', location, { token: world.admin.token })).status).toBe(200)
  })

  it('a list has none', async () => {
    const list = await call('GET', '/api/v1/interactions', { token: world.admin.token })
    expect(list.headers.get('ETag')).toBeNull()
  })
})
