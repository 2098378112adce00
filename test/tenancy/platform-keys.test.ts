import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { expectError } from '../http/expect-error'
import { call, callJson, makePlatformAdmin, makeWorld, type Person } from '../world'

// The API keys of every tenant, as the platform sees and revokes them.

type Key = { id: string; tenant_id: string; name: string; status: string }

let platform: Person
beforeAll(async () => {
  platform = await makePlatformAdmin()
})

const ask = <T = Key[]>(method: string, path = '', headers = {}) =>
  callJson<T>(method, `/api/platform/api-keys${path}`, { token: platform.token, headers })

describe('the API keys of tenants', () => {
  it('are listed newest first, of all or of one tenant, and none shows itself', async () => {
    await makeWorld()
    const [one, other] = [await makeWorld(), await makeWorld()]
    const all = await ask('GET', '?limit=2')
    expect(all.data.map(({ tenant_id }) => tenant_id)).toEqual([other.tenant.id, one.tenant.id])
    const next = await ask('GET', `?limit=2&cursor=${all.meta.next_cursor}`)
    expect(next.data.map(({ id }) => id)).not.toEqual(expect.arrayContaining(all.data.map(({ id }) => id)))
    const ofOne = await ask('GET', `?tenant_id=${one.tenant.id}`)
    expect(ofOne.data).toMatchObject([{ tenant_id: one.tenant.id, name: 'test', status: 'active' }])
    expect(JSON.stringify(ofOne)).not.toContain(one.apiKey)
    expect(Object.keys(ofOne.data[0] ?? {})).not.toEqual(expect.arrayContaining(['key', 'hash']))
    await expectError(
      call('GET', `/api/platform/api-keys?tenant_id=${one.tenant.id}&cursor=${all.meta.next_cursor}`, {
        token: platform.token,
      }),
      'validation_failed',
    )
    expect((await ask('GET', `?tenant_id=${crypto.randomUUID()}`)).data).toEqual([])
  })

  it('are revoked by their id, in the tenant’s own log, and count no more', async () => {
    const world = await makeWorld()
    const [key] = (await ask('GET', `?tenant_id=${world.tenant.id}`)).data
    const current = () => call('GET', '/api/v1/tenants/current', { key: world.apiKey })
    expect((await current()).status).toBe(200)
    expect((await ask('DELETE', `/${key?.id}`, { 'If-Match': '"v7"' })).error.code).toBe(
      'precondition_failed',
    )
    expect((await ask('DELETE', `/${key?.id}`)).status).toBe(204)
    await expectError(current(), 'invalid_api_key')
    const row = await env.DB.prepare(
      "select * from audit_log where tenant_id = ? and action = 'api_key.revoke'",
    )
      .bind(world.tenant.id)
      .first()
    expect(row).toMatchObject({ actor_kind: 'user', actor_id: platform.user.id, resource_id: key?.id })
    expect((await ask('DELETE', `/${key?.id}`)).error.code).toBe('not_found')
    expect((await ask('GET', `?tenant_id=${world.tenant.id}`)).data).toMatchObject([{ status: 'revoked' }])
    expect((await ask('DELETE', `/${crypto.randomUUID()}`)).error.code).toBe('not_found')
  })
})
