import { describe, expect, it } from 'vitest'
import { OPERATIONS } from '../contract/operations'
import { call, callJson, makePlatformAdmin, makeWorld, type World } from '../world'

const READS = OPERATIONS.filter(({ path }) => path.startsWith('/api/tenant/'))
const twin = (path: string) =>
  path.replace('/api/tenant/', path === '/api/tenant/current' ? '/api/v1/tenants/' : '/api/v1/')

const ask = (world: World, path: string, headers: Record<string, string> = {}) =>
  callJson('GET', path, { token: world.admin.token, headers })

describe('/api/tenant', { timeout: 20_000 }, () => {
  it('is every read of the tenant’s own administration, and nothing that writes', () => {
    const resources = /^\/api\/v1\/(?:tenants\/current|(?:users|teams|audit|usage)(?:\/.*)?)$/
    const reads = OPERATIONS.filter(({ method, path }) => method === 'GET' && resources.test(path))
    expect(READS.map(({ name, path }) => [name.split(' ')[0], twin(path)]).sort()).toEqual(
      reads.map(({ path }) => ['GET', path]).sort(),
    )
    expect(reads.length).toBeGreaterThan(10)
  })

  it('documents that the tenant must be named', async () => {
    type Document = { paths: Record<string, { get: { parameters: { $ref?: string }[]; responses: object } }> }
    const document = (await (await call('GET', '/openapi.json')).json()) as Document
    for (const { path } of READS) {
      const { parameters, responses } = document.paths[path]?.get ?? { parameters: [], responses: {} }
      const refs = parameters.flatMap(({ $ref }) => $ref?.split('/').at(-1) ?? [])
      expect([path, refs.includes('OwnTenantId'), refs.includes('TenantId')]).toEqual([path, true, false])
      expect(JSON.stringify(responses)).toContain('tenant_header_required')
    }
  })

  it('answers as the same read elsewhere does, to who names the tenant', async () => {
    const world = await makeWorld()
    await callJson('POST', '/api/v1/teams', { token: world.admin.token, body: { name: 'T' } })
    const header = { 'X-Tenant-ID': world.tenant.id }
    for (const path of [
      'current',
      'users',
      `users/${world.member.user.id}`,
      'users/invitations',
      'teams',
      'audit',
    ]) {
      const own = await ask(world, `/api/tenant/${path}`, header)
      const other = await ask(world, twin(`/api/tenant/${path}`))
      expect([path, own.status]).toEqual([path, 200])
      expect([path, own.data]).toEqual([path, other.data])
      expect(own.headers.get('ETag')).toBe(other.headers.get('ETag'))
    }
    expect((await ask(world, '/api/tenant/usage', header)).status).toBe(200)
    // As the older documents call the header.
    expect((await ask(world, '/api/tenant/current', { 'X-Client-ID': world.tenant.id })).status).toBe(200)
  })

  it('answers nobody who does not', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const platform = await makePlatformAdmin()
    for (const { path } of READS.filter(({ params }) => params.length === 0)) {
      const codeOf = async (token: string, headers: Record<string, string> = {}) =>
        (await callJson('GET', path, { token, headers })).error.code
      expect([path, await codeOf(world.admin.token)]).toEqual([path, 'tenant_header_required'])
      const foreign = { 'X-Tenant-ID': other.tenant.id }
      expect([path, await codeOf(world.admin.token, foreign)]).toEqual([path, 'tenant_mismatch'])
      expect(await codeOf(world.admin.token, { 'X-Tenant-ID': 'mine' })).toBe('malformed_header')
      const own = { 'X-Tenant-ID': platform.user.tenant_id }
      expect([path, await codeOf(platform.token, own)]).toEqual([path, 'target_tenant_required'])
    }
  })

  it('has no method that writes', async () => {
    const world = await makeWorld()
    const headers = { 'X-Tenant-ID': world.tenant.id }
    const answer = await call('POST', '/api/tenant/teams', {
      token: world.admin.token,
      headers,
      body: { name: 'T' },
    })
    expect([answer.status, answer.headers.get('Allow')]).toEqual([405, 'GET, HEAD, OPTIONS'])
  })

  it('counts its usage and its own row apart from requests, as elsewhere', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 1 } })
    const header = { 'X-Tenant-ID': world.tenant.id }
    expect((await ask(world, '/api/tenant/teams', header)).status).toBe(200)
    expect((await ask(world, '/api/tenant/teams', header)).error.code).toBe('rate_limited')
    for (const path of ['usage', 'usage/limits', 'current'])
      expect((await ask(world, `/api/tenant/${path}`, header)).status).toBe(200)
  })
})
