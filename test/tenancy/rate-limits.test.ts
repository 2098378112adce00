import { beforeAll, describe, expect, it } from 'vitest'
import { limitsOf, MOST, PLANS } from '../../src/domains/tenancy/plans'
import { effectiveSettings } from '../../src/domains/tenancy/tenants/settings'
import { call, callJson, makePlatformAdmin, makeWorld, type Person, type World } from '../world'

type Tenant = { id: string; plan: string; rate_limits: Record<string, number> }

let platform: Person
beforeAll(async () => {
  platform = await makePlatformAdmin()
})

const patch = (id: string, body: unknown) =>
  callJson<Tenant>('PATCH', `/api/platform/tenants/${id}`, { token: platform.token, body })
const read = async (id: string) =>
  (await callJson<Tenant>('GET', `/api/platform/tenants/${id}`, { token: platform.token })).data.rate_limits
const statusOf = async (world: World) =>
  (await call('GET', '/api/v1/interactions', { token: world.admin.token })).status

describe('what a plan means', () => {
  it('is the table of the contract', () => {
    const row = (name: keyof typeof PLANS.starter) =>
      [PLANS.starter, PLANS.pro, PLANS.enterprise].map((plan) => plan[name])
    expect(row('requests_per_minute')).toEqual([1_000, 5_000, 20_000])
    expect(row('requests_per_hour')).toEqual([50_000, 250_000, 1_000_000])
    expect(row('requests_per_day')).toEqual([1_000_000, 5_000_000, 20_000_000])
    expect(row('messages_per_minute')).toEqual([60, 300, 1_000])
    expect(row('open_streams')).toEqual([1_000, 10_000, 100_000])
    expect(row('deliveries_per_second')).toEqual([20, 50, 200])
    expect(row('uploads_per_minute')).toEqual([30, 120, 600])
    expect(row('storage_bytes')).toEqual([1e9, 50e9, 1e12])
    expect(row('users').slice(0, 2)).toEqual([10, 100])
    expect(effectiveSettings('pro', {}).max_users).toBe(100)
  })

  it('is the smallest for a plan that is not known, and gives way to own numbers', () => {
    expect(limitsOf({ plan: 'gold', rate_limits: {} })).toEqual(
      limitsOf({ plan: 'starter', rate_limits: {} }),
    )
    const limits = limitsOf({ plan: 'pro', rate_limits: { open_streams: 7 } })
    expect([limits.open_streams, limits.requests_per_minute]).toEqual([7, 5_000])
    expect(limits).not.toHaveProperty('users')
  })
})

describe('limits of one tenant', () => {
  it('are set by the platform, one by one, and taken back by null', async () => {
    const { tenant } = await makeWorld()
    expect((await read(tenant.id)).requests_per_minute).toBe(1_000)
    const set = await patch(tenant.id, { rate_limits: { requests_per_minute: 50, open_streams: 5 } })
    expect([set.status, set.data.rate_limits.requests_per_minute, set.data.rate_limits.open_streams]).toEqual(
      [200, 50, 5],
    )
    await patch(tenant.id, { rate_limits: { requests_per_minute: 60 } })
    expect(await read(tenant.id)).toMatchObject({
      requests_per_minute: 60,
      open_streams: 5,
      uploads_per_minute: 30,
    })
    await patch(tenant.id, { rate_limits: { open_streams: null } })
    expect(await read(tenant.id)).toMatchObject({ requests_per_minute: 60, open_streams: 1_000 })
    // What the plan says follows the plan, what is its own stays.
    await patch(tenant.id, { plan: 'pro' })
    expect(await read(tenant.id)).toMatchObject({ requests_per_minute: 60, open_streams: 10_000 })
    await patch(tenant.id, { rate_limits: null })
    expect((await read(tenant.id)).requests_per_minute).toBe(5_000)
  })

  it('may be given when a tenant is made', async () => {
    const slug = `limits-${crypto.randomUUID().slice(0, 8)}`
    const made = await callJson<Tenant>('POST', '/api/platform/tenants', {
      token: platform.token,
      body: { name: 'Limited', slug, plan: 'pro', rate_limits: { requests_per_day: 10 } },
    })
    expect(made.status).toBe(201)
    expect(made.data.rate_limits).toMatchObject({ requests_per_day: 10, requests_per_minute: 5_000 })
  })

  it('are refused where they make no sense, by name, and nothing changes', async () => {
    const { tenant } = await makeWorld()
    await patch(tenant.id, { rate_limits: { requests_per_minute: 70 } })
    for (const [rate_limits, field] of [
      [{ requests_per_minute: 0 }, 'rate_limits.requests_per_minute'],
      [{ requests_per_minute: 80, requests_per_hour: -1 }, 'rate_limits.requests_per_hour'],
      [{ requests_per_day: MOST.requests_per_day + 1 }, 'rate_limits.requests_per_day'],
      [{ open_streams: 2.5 }, 'rate_limits.open_streams'],
      [{ deliveries_per_second: '10' }, 'rate_limits.deliveries_per_second'],
      [{ storage_bytes: Number.MAX_SAFE_INTEGER }, 'rate_limits.storage_bytes'],
      [{ requests_per_second: 5 }, 'rate_limits.requests_per_second'],
      [50, 'rate_limits'],
    ] as const)
      for (const asked of [
        patch(tenant.id, { rate_limits }),
        callJson('POST', '/api/platform/tenants', {
          token: platform.token,
          body: { name: 'x', slug: `x-${crypto.randomUUID().slice(0, 8)}`, rate_limits },
        }),
      ]) {
        const { status, error } = await asked
        expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, [field]])
      }
    expect((await read(tenant.id)).requests_per_minute).toBe(70)
    // The most itself is fine.
    expect((await patch(tenant.id, { rate_limits: MOST })).status).toBe(200)
  })

  it('can’t be set by the tenant itself', async () => {
    const { admin } = await makeWorld()
    const body = { rate_limits: { requests_per_minute: 1_000_000 } }
    const own = await callJson('PATCH', '/api/v1/tenants/current', { token: admin.token, body })
    expect(own.status).toBe(422)
    const seen = await callJson<Tenant>('GET', '/api/v1/tenants/current', { token: admin.token })
    expect(seen.data.rate_limits.requests_per_minute).toBe(1_000)
  })

  it('hold at once where they are set, lower or higher', async () => {
    const world = await makeWorld()
    expect(await statusOf(world)).toBe(200)
    await patch(world.tenant.id, { rate_limits: { requests_per_minute: 3 } })
    expect([await statusOf(world), await statusOf(world), await statusOf(world)]).toEqual([200, 200, 429])
    await patch(world.tenant.id, { rate_limits: { requests_per_minute: 5 } })
    expect([await statusOf(world), await statusOf(world), await statusOf(world)]).toEqual([200, 200, 429])
    await patch(world.tenant.id, { rate_limits: null })
    expect(await statusOf(world)).toBe(200)
  })
})
