import { beforeAll, describe, expect, it } from 'vitest'
import { call, makeWorld, type World } from '../world'
import { expectError } from './expect-error'

// What the documents' paths refuse before a handler of /api/v1 sees it.

let world: World
let other: World
beforeAll(async () => {
  world = await makeWorld()
  other = await makeWorld()
})

describe('another method on a documented path', () => {
  const table: [string, string, string][] = [
    ['PUT', '/api/v2/service/client/register/crm', 'POST'],
    ['GET', '/api/v2/service/client/deregister/crm', 'DELETE'],
    ['POST', '/api/v2/service/enable', 'PATCH'],
    ['GET', '/api/v2/service/disable/', 'PATCH'],
    ['GET', '/api/v2/0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d/interactions/register', 'POST'],
  ]
  for (const [method, path, allowed] of table)
    it(`${method} ${path} is 405`, async () => {
      const answer = await call(method, path, { token: world.admin.token })
      expect(answer.headers.get('Allow')).toBe(`${allowed}, OPTIONS`)
      expect(answer.headers.get('X-Request-ID')).toMatch(/^req_[0-9a-f]{24}$/)
      const error = await expectError(answer, 'method_not_allowed')
      expect(error.details).toEqual({ allowed: [allowed] })
    })

  it('OPTIONS tells which there are', async () => {
    const answer = await call('OPTIONS', '/api/v2/service/enable')
    expect(answer.status).toBe(204)
    expect(answer.headers.get('Allow')).toBe('PATCH, OPTIONS')
    expect(await answer.text()).toBe('')
  })

  it('a path that nobody documented stays unknown', () =>
    expectError(call('GET', '/api/v2/service/nothing', { token: world.admin.token }), 'route_not_found'))
})

describe('a tenant that is named twice', () => {
  it('is refused where the two differ', async () => {
    const headers = { 'X-Tenant-ID': other.tenant.id }
    const { token } = world.developer
    await expectError(
      call('POST', `/api/v2/${world.tenant.id}/interactions/register`, {
        token,
        headers,
        body: { text: 'a' },
      }),
      'tenant_mismatch',
    )
    await expectError(
      call('POST', '/api/agents', { token, headers, body: { name: 'A', team_id: world.tenant.id } }),
      'tenant_mismatch',
    )
  })

  it('is taken where both are the caller’s', async () => {
    const headers = { 'X-Tenant-ID': world.tenant.id.toUpperCase() }
    const answer = await call('POST', '/api/agents', {
      token: world.developer.token,
      headers,
      body: { name: 'A', team_id: world.tenant.id },
    })
    expect(answer.status).toBe(201)
  })
})

for (const team_id of [5, { id: 'a' }, ['a'], 'acme', 'a\nb', 'ü', ''])
  it(`a team_id that is no id is refused: ${JSON.stringify(team_id)}`, () =>
    expectError(
      call('POST', '/api/agents', { token: world.developer.token, body: { name: 'A', team_id } }),
      'malformed_header',
    ))

for (const offset of ['-1', '1.5', '1001', 'x'])
  it(`an offset that can’t be is refused by what it must be: ${offset}`, async () => {
    const error = await expectError(
      call('GET', `/api/agents?offset=${offset}`, { token: world.admin.token }),
      'validation_failed',
    )
    expect(error.details.fields).toEqual({ offset: 'must be a whole number from 0 to 1000' })
  })
