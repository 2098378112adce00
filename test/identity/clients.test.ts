import { describe, expect, it } from 'vitest'
import { call, callJson, makePlatformAdmin, makeWorld } from '../world'

type Client = { id: string; slug: string; role: string }

const clients = async (credential: { token: string } | { key: string }) =>
  (await callJson<Client[]>('GET', '/api/v1/auth/clients', credential)).data

describe('the tenants that a caller may act in', () => {
  it('are the one that the credential belongs to, with its role there', async () => {
    const { tenant, viewer, admin, apiKey } = await makeWorld()
    expect(await clients(viewer)).toEqual([
      { id: tenant.id, name: tenant.name, slug: tenant.slug, plan: 'starter', role: 'viewer' },
    ])
    expect(await clients(admin)).toMatchObject([{ id: tenant.id, role: 'admin' }])
    expect(await clients({ key: apiKey })).toMatchObject([{ id: tenant.id, role: 'admin' }])
    const platform = await makePlatformAdmin()
    expect(await clients(platform)).toMatchObject([{ id: platform.user.tenant_id, role: 'platform_admin' }])
  })

  it('are nobody’s who shows no credential', async () => {
    expect((await call('GET', '/api/v1/auth/clients')).status).toBe(401)
  })
})
