import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { app } from '../../src/app'
import { expectError } from '../http/expect-error'
import { metersThat, throwing } from '../identity/isolates'
import { call, callJson, makeWorld } from '../world'

type Portal = {
  tenant: { id: string }
  members: object
  usage: { requests: number; errors: number; from: string; to: string } | null
}

const PATH = '/api/v1/tenants/portal'
const PARTS = ['', '/usage', '/members', '/activity']

describe('the portal of a tenant', () => {
  it('shows the tenant, its users in numbers and what it used', async () => {
    const { admin, tenant, viewer } = await makeWorld({ settings: { max_users: 7 } })
    await callJson('PATCH', `/api/v1/users/${viewer.user.id}`, {
      token: admin.token,
      body: { status: 'suspended' },
    })
    await call('GET', '/api/v1/users/0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d', { token: admin.token })
    const { data, status } = await callJson<Portal>('GET', PATH, { token: admin.token })
    expect(status).toBe(200)
    expect(data.tenant).toEqual(
      (await callJson('GET', '/api/v1/tenants/current', { token: admin.token })).data,
    )
    expect(data.tenant.id).toBe(tenant.id)
    expect(data.members).toEqual({ total: 4, active: 3, suspended: 1, limit: 7 })
    expect(data.usage).toMatchObject({ requests: 2, errors: 1 })
    expect(Date.parse(data.usage?.to ?? '') - Date.parse(data.usage?.from ?? '')).toBe(24 * 3600_000)
  })

  it('shows the same as the lists that it is made of', async () => {
    const { admin, member } = await makeWorld()
    await callJson('PATCH', `/api/v1/users/${member.user.id}`, {
      token: admin.token,
      body: { full_name: 'Grace' },
    })
    const read = async (path: string) => (await callJson<unknown[]>('GET', path, { token: admin.token })).data
    expect(await read(`${PATH}/members?role=member`)).toEqual(await read('/api/v1/users?role=member'))
    const activity = await read(`${PATH}/activity?action=user.update`)
    expect(activity).toEqual(await read('/api/v1/audit?action=user.update'))
    expect(activity).toMatchObject([{ action: 'user.update', resource_id: member.user.id }])
    expect(await read(`${PATH}/usage?group_by=endpoint`)).toEqual(
      expect.arrayContaining([expect.objectContaining({ endpoint: '/api/v1/users/:id', requests: 1 })]),
    )
    expect((await callJson('GET', `${PATH}/members?colour=red`, { token: admin.token })).status).toBe(422)
  })

  it('is for the tenant’s administrators alone, and for keys that were given it', async () => {
    const world = await makeWorld()
    for (const part of PARTS)
      for (const { token } of [world.viewer, world.member, world.developer]) {
        const error = await expectError(call('GET', `${PATH}${part}`, { token }), 'insufficient_scope')
        expect(error.details.missing).toBe('tenants:admin')
      }
    const keyWith = async (body: object) =>
      (
        await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
          token: world.admin.token,
          body: { name: 'x', ...body },
        })
      ).data.key
    // It administers, so that a key has it only where it was named.
    await expectError(call('GET', PATH, { key: await keyWith({}) }), 'insufficient_scope')
    const key = await keyWith({ scopes: ['tenants:admin', 'usage:read'] })
    const statuses = await Promise.all(
      PARTS.map(async (part) => (await call('GET', `${PATH}${part}`, { key })).status),
    )
    expect(statuses).toEqual([200, 200, 403, 403])
  })

  it('is there while what was used can’t be read', async () => {
    const { admin } = await makeWorld()
    const bindings = { ...env, METERS: metersThat(throwing) }
    const request = new Request(`http://localhost:8787${PATH}`, {
      headers: { Authorization: `Bearer ${admin.token}`, 'CF-Connecting-IP': '203.0.113.99' },
    })
    const answer = await app.fetch(request, bindings, createExecutionContext())
    const { data } = (await answer.json()) as { data: Portal }
    expect([answer.status, data.usage, data.members]).toEqual([
      200,
      null,
      { total: 4, active: 4, suspended: 0, limit: 10 },
    ])
  })
})
