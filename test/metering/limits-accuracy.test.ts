import { describe, expect, it } from 'vitest'
import type { Want } from '../../src/domains/metering/limits/held-window'
import { LOADS, run } from './accuracy'
import { minuteOf, Simulation } from './simulation'

const MINUTE = 60_000

/** So many requests by some connections, each sending its next when the one before was answered. */
async function burst(sim: Simulation, connections: number, requests: number, wants: readonly Want[]) {
  let sent = 0
  const connect = async (i: number): Promise<void> => {
    while (sent < requests) {
      sent += 1
      const isolate = sim.isolates[i % sim.isolates.length]
      if (isolate) await sim.request(isolate, wants)
      await new Promise<void>((resolve) => sim.in(1 + (i % 4), sim.stirring(resolve)))
    }
  }
  for (let i = 0; i < connections; i++) sim.in(i, () => void connect(i))
  await sim.run(MINUTE / 2)
}

describe('counting by lease', () => {
  it.each([0, 41, 113, 249])('admits 1,000 of 1,500 at once, %d ms into a bucket', async (ms) => {
    const sim = new Simulation(ms + 1, 1)
    await sim.run(ms)
    await burst(sim, 16, 1_500, [minuteOf(1_000)])
    expect(sim.admittedAt).toHaveLength(1_000)
    expect(sim.refusals).toHaveLength(500)
    // Refusing costs no hop.
    const refusedFrom = sim.refusals[0]?.at ?? 0
    expect(sim.calls.length).toBeLessThan(20)
    const late = sim.calls.filter(({ at }) => at > refusedFrom && at < refusedFrom + 7_000)
    expect(late.filter(({ request }) => request.demands.length > 0)).toEqual([])
  })

  it('is exact where several windows are asked at once', async () => {
    const sim = new Simulation(3, 1)
    const wants: Want[] = [
      minuteOf(1_000),
      { name: 'hour', period: 'hour', limit: 700, alone: 10 },
      { name: 'key:7:minute', period: 'minute', limit: 40, alone: 10 },
    ]
    await burst(sim, 16, 100, wants)
    expect(sim.admittedAt).toHaveLength(40)
    expect(new Set(sim.refusals.map(({ verdict }) => verdict.refusedBy?.name))).toEqual(
      new Set(['key:7:minute']),
    )
    await burst(sim, 16, 1_000, wants.slice(0, 2))
    expect(sim.admittedAt).toHaveLength(700)
    expect(sim.refusals.at(-1)?.verdict.refusedBy?.name).toBe('hour')
  })

  it.each([1, 2, 3, 4, 5, 6, 7, 8, 9])(
    'never passes the limit and comes within two hundredths of it on %d isolates',
    async (isolates) => {
      for (const load of LOADS) {
        const { most, part } = await run(isolates, 1_000, load, 4)
        expect(most, `the most in 60 s at ${load}`).toBeLessThanOrEqual(1)
        expect(part, `what was admitted at ${load}`).toBeGreaterThanOrEqual(0.98)
      }
    },
  )

  it.each([
    [30, 1_000],
    [100, 1_000],
    [100, 5_000],
    [9, 100],
    [3, 100],
  ])('does so on %d isolates that share %d a minute', async (isolates, limit) => {
    for (const load of [0.3, 1, 1.1, 2]) {
      const { most, part } = await run(isolates, limit, load, 3)
      expect(most, `the most in 60 s at ${load}`).toBeLessThanOrEqual(1)
      expect(part, `what was admitted at ${load}`).toBeGreaterThanOrEqual(0.98)
    }
  })

  it.each([1, 3, 9])('does so across a restart of the Meter on %d isolates', async (isolates) => {
    for (const load of LOADS) {
      const { most, part, writes, calls } = await run(isolates, 1_000, load, 5, true)
      expect(most, `the most in 60 s at ${load}`).toBeLessThanOrEqual(1)
      expect(part, `what was admitted at ${load}`).toBeGreaterThanOrEqual(0.98)
      expect(writes).toBeLessThanOrEqual(calls)
    }
  })

  it('asks the Meter seldom', async () => {
    for (const load of [0.3, 0.5, ...LOADS]) {
      const { calls, most } = await run(1, 1_000, load, 3)
      expect(calls, `on one isolate at ${load}`).toBeLessThanOrEqual(30)
      expect(most).toBeLessThanOrEqual(1)
    }
    for (const load of [0.3, 1, 2]) {
      const { calls, most, part } = await run(9, 60_000, load, 2)
      expect(calls, `on nine isolates at ${load}`).toBeLessThanOrEqual(20)
      expect(most).toBeLessThanOrEqual(1)
      expect(part).toBeGreaterThanOrEqual(0.98)
    }
  })

  it('counts small limits exactly, however many isolates share them', async () => {
    for (const limit of [1, 5, 10]) {
      const sim = new Simulation(limit, 9)
      sim.load(60, MINUTE, [minuteOf(limit)])
      await sim.run(MINUTE)
      expect(sim.admittedAt).toHaveLength(limit)
      await sim.run(2 * MINUTE)
      sim.load(60, MINUTE, [minuteOf(limit)])
      await sim.run(MINUTE)
      expect(sim.admittedAt).toHaveLength(2 * limit)
    }
  })
})
