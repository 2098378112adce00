import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { Pace } from '../../src/domains/metering/meter/pace'
import { paceOf } from '../../src/domains/webhooks/deliveries/pace'
import type { Bindings } from '../../src/env'
import { makeWorld } from '../world'
import { connect, deliveriesOf, send } from './deliver'
import { eventually } from './receiver'

describe('the pace of a tenant', () => {
  /** What many who always want more are let do in so many milliseconds: when, and how many. */
  function run(limit: number, ms: number, askers: number) {
    const pace = new Pace()
    const next = Array.from({ length: askers }, () => 0)
    const done: number[] = []
    for (let now = 0; now < ms; now++)
      for (let i = 0; i < askers; i++) {
        if ((next[i] ?? 0) > now) continue
        const { count, wait } = pace.take(4, limit, 1_000_000 + now, 0.5)
        for (let n = 0; n < count; n++) done.push(now)
        // An attempt takes 10 ms.
        next[i] = now + Math.max(wait, 10)
      }
    return done
  }

  it.each([
    [1, 1],
    [20, 1],
    [20, 7],
    [200, 30],
  ])('is never above %d a second, and not far below (%d endpoints)', (limit, askers) => {
    const done = run(limit, 10_000, askers)
    for (const at of done)
      expect(done.filter((other) => other > at - 1_000 && other <= at).length).toBeLessThanOrEqual(limit)
    expect(done.length).toBeGreaterThanOrEqual(limit * 10 * 0.85)
  })

  it('lets all pass where it is not reached', () => {
    expect(new Pace().take(4, 20, 0, 0.5)).toEqual({ count: 4, wait: 0 })
  })

  it('holds nobody for long when the clock goes back', () => {
    const pace = new Pace()
    pace.take(20, 20, 3_600_000, 0)
    expect(pace.take(4, 20, 1_000, 0)).toEqual({ count: 4, wait: 0 })
  })

  it('holds nothing where the Meter throws or hangs', async () => {
    for (const pace of [() => Promise.reject(new Error('away')), () => new Promise<never>(() => {})]) {
      const bindings = { METERS: { getByName: () => ({ pace }) } } as unknown as Bindings
      expect(await paceOf(bindings, 't', 4)).toEqual({ count: 4, wait: 0 })
    }
  })

  it('is the tenant’s own number, told at once', async () => {
    const world = await makeWorld({ rate_limits: { deliveries_per_second: 3 } })
    expect(await env.METERS.getByName(world.tenant.id).pace(5)).toMatchObject({ count: 3 })
  })
})

describe('deliveries above the rate', { timeout: 30_000 }, () => {
  it('are held, over all endpoints, and none is lost', async () => {
    const world = await makeWorld({ rate_limits: { deliveries_per_second: 5 } })
    const ends = [await connect(world, [{}]), await connect(world, [{}])]
    for (let n = 0; n < 10; n++) await send(world)
    const seen = async () => (await Promise.all(ends.map(({ receiver }) => receiver.seen()))).flat()
    await eventually(async () => (await seen()).length === 20, 15_000)
    const at = (await seen()).map((request) => request.at).sort((a, b) => a - b)
    // Within any second five begin; how long each takes to arrive differs by some milliseconds.
    for (const from of at)
      expect(at.filter((time) => time >= from && time < from + 900).length).toBeLessThanOrEqual(5)
    expect((at.at(-1) ?? 0) - (at[0] ?? 0)).toBeGreaterThan(2_700)
    await eventually(async () => (await deliveriesOf(world, 'status=delivered&limit=100')).length === 20)
  })
})
