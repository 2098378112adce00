import { describe, expect, it } from 'vitest'
import type { Measured } from '../../src/domains/metering/usage/sums'
import { type Isolate, minuteOf, Simulation } from './simulation'

// How what was measured comes to the Meter, by the simulation's clock: isolates' own clocks are hours apart.

const LATEST_MS = 10_000

class Measuring {
  readonly answeredAt = new Map<string, number>()
  private count = 0

  constructor(readonly sim: Simulation) {}

  /** A request that is answered now; each has a line of its own, so that it is known again. */
  answer(isolate: Isolate | undefined): void {
    if (!isolate || isolate.killed) return
    const endpoint = `/r/${this.count++}`
    this.answeredAt.set(endpoint, this.sim.now)
    const measured: Measured = {
      ...{
        at: this.sim.now + isolate.ahead,
        caller: 'user',
        method: 'GET',
        endpoint,
        status: 200,
        latency_ms: 1,
      },
      ...{ request_size_bytes: 0, response_size_bytes: 0, request_id: endpoint },
    }
    isolate.limiter.measure(measured, () => undefined)
  }

  /** When each was told first. */
  toldAt(): Map<string, number> {
    const told = new Map<string, number>()
    for (const { at, request } of this.sim.calls)
      for (const { endpoint } of request.usage?.lines ?? []) if (!told.has(endpoint)) told.set(endpoint, at)
    return told
  }

  /** The longest that anything waited, and how many were never told. */
  delays(): { most: number; missing: number } {
    const told = this.toldAt()
    let [most, missing] = [0, 0]
    for (const [endpoint, at] of this.answeredAt) {
      const when = told.get(endpoint)
      if (when === undefined) missing += 1
      else most = Math.max(most, when - at)
    }
    return { most, missing }
  }
}

/** Requests every `gap` ms that are admitted, and answered `latency` ms later. */
function load(run: Measuring, gap: number, ms: number, latency: number, counted = true): void {
  const { sim } = run
  for (let at = 0; at < ms; at += gap)
    sim.in(at, () => {
      const isolate = sim.isolates[Math.floor(at / gap) % sim.isolates.length]
      if (!isolate) return
      if (counted) void sim.request(isolate, [minuteOf(1_000)])
      sim.in(latency, () => run.answer(isolate))
    })
}

describe('what was measured is told', () => {
  for (const [what, isolates, gap, latency, counted] of [
    ['at a steady rate', 1, 60, 20, true],
    ['of many isolates', 9, 25, 20, true],
    ['of a request now and then', 1, 7_300, 20, true],
    ['of a single request', 1, 1e9, 20, true],
    ['of slow requests, when their lease is long gone', 2, 3_000, 31_000, true],
    ['of requests that no lease counts', 2, 400, 5, false],
    ['of one such request', 1, 1e9, 5, false],
    ['over the limit', 1, 20, 2, true],
  ] as const)
    it(`within ten seconds: ${what}`, async () => {
      const run = new Measuring(new Simulation(isolates + gap, isolates))
      load(run, gap, 60_000, latency, counted)
      await run.sim.run(60_000 + latency + LATEST_MS)
      expect(run.answeredAt.size).toBeGreaterThan(0)
      const { most, missing } = run.delays()
      expect(missing).toBe(0)
      expect(most).toBeLessThanOrEqual(LATEST_MS)
    })

  it('on calls that are made anyway', async () => {
    const calls = async (measuring: boolean) => {
      const run = new Measuring(new Simulation(5, 3))
      for (let at = 0; at < 120_000; at += 60)
        run.sim.in(at, () => {
          const isolate = run.sim.isolates[(at / 60) % 3]
          if (isolate) void run.sim.request(isolate, [minuteOf(2_000)])
          if (measuring) run.answer(isolate)
        })
      await run.sim.run(140_000)
      return run.sim.calls.length
    }
    const [without, with_] = [await calls(false), await calls(true)]
    expect(without).toBeGreaterThan(10)
    expect(with_).toBeLessThanOrEqual(without + 3)
  })

  it('but for the last ten seconds of an isolate that is killed', async () => {
    const run = new Measuring(new Simulation(11, 2))
    load(run, 100, 60_000, 10)
    await run.sim.run(45_000)
    const [killed] = run.sim.isolates
    if (killed) killed.killed = true
    const killedAt = run.sim.now
    await run.sim.run(40_000)
    const told = run.toldAt()
    const lost = [...run.answeredAt].filter(([endpoint]) => !told.has(endpoint)).map(([, at]) => at)
    expect(lost.length).toBeLessThanOrEqual(LATEST_MS / 200 + 1)
    for (const at of lost) expect(at).toBeGreaterThan(killedAt - LATEST_MS)
  })

  for (const trouble of ['throwing', 'hanging'] as const)
    it(`once the Meter is back: ${trouble}, and nobody asks any more`, async () => {
      const run = new Measuring(new Simulation(13, 2))
      load(run, 200, 20_000, 10)
      await run.sim.run(10_000)
      run.sim.meterIs = trouble
      await run.sim.run(40_000)
      expect(run.delays().missing).toBeGreaterThan(0)
      run.sim.meterIs = 'well'
      const calls = run.sim.calls.length
      await run.sim.run(20_000)
      // What was under way when the trouble began is told again, under the number that it had.
      const bySequence = new Map<string, Set<string>>()
      for (const { request } of run.sim.calls)
        if (request.usage) {
          const key = `${request.isolate} ${request.usage.sequence}`
          const said = JSON.stringify(request.usage)
          bySequence.set(key, (bySequence.get(key) ?? new Set()).add(said))
        }
      for (const said of bySequence.values()) expect(said.size).toBe(1)
      expect(run.sim.calls.length).toBeGreaterThan(calls)
      expect(run.delays().missing).toBe(0)
      // Then there is peace.
      const after = run.sim.calls.length
      await run.sim.run(60_000)
      expect(run.sim.calls.length - after).toBeLessThanOrEqual(4)
    })
})
