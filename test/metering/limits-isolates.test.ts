import { afterEach, describe, expect, it, vi } from 'vitest'
import { termsNow } from '../../src/domains/tenancy/tenants/limits'
import { Isolate } from '../identity/isolates'
import { makePlatformAdmin, makeWorld, newAddress } from '../world'

afterEach(() => {
  vi.useRealTimers()
})

const isolates = (count: number) => Array.from({ length: count }, () => new Isolate())
const count = (answers: Response[], status: number) => answers.filter((one) => one.status === status).length

describe('several isolates', { timeout: 30_000 }, () => {
  it('admit no more of a small limit than one would, and no less', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 30 } })
    const all = isolates(4)
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => (all[i % 4] as Isolate).knock({ token: world.admin.token })),
    )
    expect([count(answers, 200), count(answers, 429)]).toEqual([30, 30])
  })

  it('never admit more than a limit of which they hold parts', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 400 } })
    const all = isolates(3)
    const answers: Response[] = []
    const connection = async (i: number) => {
      for (let n = 0; n < 50; n++)
        answers.push(await (all[(i + n) % 3] as Isolate).knock({ token: world.admin.token }))
    }
    await Promise.all(Array.from({ length: 12 }, (_, i) => connection(i)))
    expect(count(answers, 200)).toBeLessThanOrEqual(400)
    expect(count(answers, 200)).toBeGreaterThanOrEqual(0.98 * 400)
    expect(count(answers, 200) + count(answers, 429)).toBe(600)
  })

  it('count an address together', async () => {
    const headers = { 'CF-Connecting-IP': newAddress() }
    const all = isolates(3)
    const answers = await Promise.all(
      Array.from({ length: 24 }, (_, i) =>
        (all[i % 3] as Isolate).ask('POST', '/api/v1/auth/verify-email/confirm', {
          headers,
          body: { token: 'made up' },
        }),
      ),
    )
    expect(count(answers, 429)).toBe(14)
  })

  it('call the Meter seldom, and no database once they are warm', async () => {
    const world = await makeWorld()
    const isolate = new Isolate()
    await isolate.knock({ key: world.apiKey })
    isolate.calls.length = 0
    for (let i = 0; i < 40; i++) expect((await isolate.knock({ key: world.apiKey })).status).toBe(200)
    expect(isolate.calls.filter((call) => call !== 'METERS.getByName')).toEqual([])
    expect(isolate.calls.length).toBeLessThanOrEqual(2)
  })

  it('go by a lower limit within ten seconds of its setting elsewhere', async () => {
    const world = await makeWorld()
    const platform = await makePlatformAdmin()
    const [here, there] = [new Isolate(), new Isolate()]
    for (let i = 0; i < 5; i++) expect((await there.knock({ token: world.admin.token })).status).toBe(200)
    const body = { rate_limits: { requests_per_minute: 3 } }
    const path = `/api/platform/tenants/${world.tenant.id}`
    const set = Date.now()
    expect((await here.ask('PATCH', path, { token: platform.token, body })).status).toBe(200)
    for (;;) {
      const { status } = await there.knock({ token: world.admin.token })
      if (status === 429) break
      expect(Date.now() - set).toBeLessThan(10_000)
      await scheduler.wait(100)
    }
  })

  it('go by other numbers of streams and deliveries within ten seconds of their setting elsewhere', async () => {
    const world = await makeWorld()
    const { token } = await makePlatformAdmin()
    const [here, there] = [new Isolate(), new Isolate()]
    const known = () => termsNow(there.bindings, world.tenant.id)
    expect((await known()).rate_limits).toEqual({})
    const rate_limits = { open_streams: 7, deliveries_per_second: 3 }
    const path = `/api/platform/tenants/${world.tenant.id}`
    expect((await here.ask('PATCH', path, { token, body: { rate_limits } })).status).toBe(200)
    vi.useFakeTimers({ toFake: ['Date'] })
    vi.setSystemTime(Date.now() + 9_500)
    expect((await known()).rate_limits).toMatchObject(rate_limits)
  })
})
