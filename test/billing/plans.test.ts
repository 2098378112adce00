import { describe, expect, it } from 'vitest'
import { callJson, makeWorld } from '../world'

type Plan = { name: string; limits: Record<string, number>; users: number | null }

describe('the plans', () => {
  it('are the table of the limits, open to everybody', async () => {
    const { status, data } = await callJson<Plan[]>('GET', '/api/v1/billing/plans')
    expect(status).toBe(200)
    expect(data.map(({ name, users }) => [name, users])).toEqual([
      ['starter', 10],
      ['pro', 100],
      ['enterprise', null],
    ])
    expect(data[1]?.limits).toEqual({
      requests_per_minute: 5_000,
      requests_per_hour: 250_000,
      requests_per_day: 5_000_000,
      messages_per_minute: 300,
      open_streams: 10_000,
      deliveries_per_second: 50,
      uploads_per_minute: 120,
      storage_bytes: 50_000_000_000,
    })
  })

  it('hold for a tenant that has no numbers of its own', async () => {
    const world = await makeWorld()
    const tenant = await callJson<{ plan: string; rate_limits: object }>('GET', '/api/v1/tenants/current', {
      token: world.admin.token,
    })
    const plans = await callJson<Plan[]>('GET', '/api/v1/billing/plans')
    const own = plans.data.find(({ name }) => name === tenant.data.plan)
    expect(tenant.data.rate_limits).toEqual(own?.limits)
  })
})
