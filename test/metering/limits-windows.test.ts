import { describe, expect, it } from 'vitest'
import { limitFields, limitProblem } from '../../src/domains/metering/limits/headers'
import type { Want } from '../../src/domains/metering/limits/held-window'
import { keyWants, policyOf, wantsOf } from '../../src/domains/metering/limits/policy'
import type { Verdict } from '../../src/domains/metering/limits/verdict'
import { minuteOf, Simulation } from './simulation'

const DAY = 86_400_000

async function one(sim: Simulation, wants: readonly Want[], i = 0): Promise<Verdict> {
  const isolate = sim.isolates[i]
  if (!isolate) throw new Error('no such isolate')
  let verdict: Verdict | null = null
  void sim.request(isolate, wants).then((settled) => {
    verdict = settled
  })
  for (let waited = 0; verdict === null && waited < 3_000; waited += 10) await sim.run(10)
  if (!verdict) throw new Error('no verdict')
  return verdict
}

describe('a total', () => {
  const total = (limit: number): Want[] => [{ name: 'api_key_total:k', period: 'total', limit, alone: 1 }]

  it('counts down over all isolates and restarts, and never comes back', async () => {
    const sim = new Simulation(1, 2)
    const wants = total(30)
    for (let i = 0; i < 12; i++) expect((await one(sim, wants, i % 2)).admitted).toBe(true)
    await sim.run(20_000)
    sim.restartMeter()
    await sim.run(3 * DAY)
    for (let i = 0; i < 18; i++) expect((await one(sim, wants, i % 2)).admitted).toBe(true)
    for (let i = 0; i < 4; i++) {
      const { refusedBy } = await one(sim, wants, i % 2)
      expect(refusedBy).toMatchObject({ limit: 30, reset: Number.POSITIVE_INFINITY })
      await sim.run(2 * DAY)
    }
  })

  it('loses a restart no more than two hundredths of it', async () => {
    const sim = new Simulation(2, 3)
    const wants = total(1_000)
    let admitted = 0
    for (let i = 0; i < 1_100; i++) {
      if (i === 300 || i === 600) sim.restartMeter()
      if ((await one(sim, wants, i % 3)).admitted) admitted += 1
    }
    expect(admitted).toBeLessThanOrEqual(1_000)
    expect(admitted).toBeGreaterThanOrEqual(940)
  })
})

describe('the windows of a policy', () => {
  const starter = { plan: 'starter', rate_limits: {} }

  it('are one list for all tenants of the same terms', () => {
    expect(policyOf({ plan: 'starter', rate_limits: {} })).toBe(policyOf(starter))
    expect(policyOf({ plan: 'starter', rate_limits: { open_streams: 1 } })).not.toBe(policyOf(starter))
    expect(policyOf({ plan: 'pro', rate_limits: {} }).request.map(({ limit }) => limit)).toEqual([
      5_000, 250_000, 5_000_000,
    ])
  })

  it('are one list for all requests of a key, until the tenant’s change', () => {
    const key = { kind: 'api_key', id: 'k', limits: { per_minute: 5, per_day: 6, total: 7 } } as const
    const wants = wantsOf(starter, key, 'request')
    expect(wantsOf({ ...starter }, key, 'request')).toBe(wants)
    expect(wants.map(({ name, limit }) => [name, limit])).toEqual([
      ['minute', 1_000],
      ['hour', 50_000],
      ['day', 1_000_000],
      ['api_key_minute:k', 5],
      ['api_key_day:k', 6],
      ['api_key_total:k', 7],
    ])
    expect(wantsOf(starter, key, 'message').map(({ name }) => name)).toContain('messages')
    expect(wantsOf(starter, key, 'self_help').map(({ name }) => name)).toEqual(['self_help'])
    const raised = wantsOf({ plan: 'pro', rate_limits: {} }, key, 'request')
    expect([raised[0]?.limit, raised[3]?.limit]).toEqual([5_000, 5])
    expect(wantsOf(starter, { ...key, limits: null }, 'request')).toBe(policyOf(starter).request)
    expect(keyWants('k', {})).toEqual([])
  })

  it('let an isolate alone pass a tenth, one at least', () => {
    const { request } = policyOf({ plan: 'starter', rate_limits: { requests_per_minute: 3 } })
    expect(request.map(({ alone }) => alone)).toEqual([1, 5_000, 100_000])
  })
})

describe('the headers', () => {
  it('are about the window of which least is left', async () => {
    const sim = new Simulation(3, 1)
    const wants: Want[] = [minuteOf(100), { name: 'api_key_minute:k', period: 'minute', limit: 4, alone: 1 }]
    const fields = limitFields(await one(sim, wants))
    expect(fields).toEqual({
      limit: 4,
      remaining: 3,
      reset: expect.any(Number),
      policy: '"api_key_minute";q=4;w=60',
      state: `"api_key_minute";r=3;t=${fields?.reset}`,
    })
    expect(limitFields(undefined)).toBe(undefined)
  })

  it('never send anybody back too early, and for a day where nothing comes back', () => {
    const window = { name: 'minute', limit: 5, period: 60, remaining: 0, policy: '' }
    expect(limitProblem({ ...window, reset: 37 }).headers).toEqual({ 'Retry-After': '37' })
    const day = { ...window, name: 'day', period: 86_400, reset: 88_000 }
    expect(limitProblem(day).headers).toEqual({ 'Retry-After': '88000' })
    const total = { ...window, name: 'api_key_total:k', period: Number.POSITIVE_INFINITY }
    const spent = limitProblem({ ...total, reset: Number.POSITIVE_INFINITY })
    expect([spent.headers, spent.details.window, spent.message]).toEqual([
      { 'Retry-After': '86400' },
      'api_key_total',
      'The limit api_key_total is reached: 5 in all',
    ])
  })
})
