import { describe, expect, it } from 'vitest'
import type { Want } from '../../src/domains/metering/limits/held-window'
import type { Verdict } from '../../src/domains/metering/limits/verdict'
import { type Isolate, minuteOf, Simulation } from './simulation'
import { mostIn } from './timeline'

const MINUTE = 60_000
const WANTS = [minuteOf(1_000)]

const admittedIn = (sim: Simulation, from: number, ms: number) =>
  sim.admittedAt.filter((at) => at >= from && at < from + ms).length

const isolateOf = (sim: Simulation, i = 0): Isolate => {
  const isolate = sim.isolates[i]
  if (!isolate) throw new Error('no such isolate')
  return isolate
}

/** So many requests at once, and how long each took. */
async function timed(sim: Simulation, count: number, wants: readonly Want[] = WANTS) {
  const start = sim.now
  const answers: { verdict: Verdict | null; took: number }[] = []
  for (let i = 0; i < count; i++)
    void sim
      .request(isolateOf(sim), wants)
      .then((verdict) => answers.push({ verdict, took: sim.now - start }))
  await sim.run(3_000)
  expect(answers).toHaveLength(count)
  return answers
}

describe('isolates that are killed', () => {
  it.each([1, 2, 3])(
    'are counted as having spent their leases, and these come free again (seed %d)',
    async (seed) => {
      const sim = new Simulation(seed, 5)
      const start = sim.now
      sim.load(1_500, 4 * MINUTE, WANTS)
      for (const [i, isolate] of sim.isolates.entries())
        if (i < 3)
          sim.in(20_000 + i * 7_300, () => {
            isolate.killed = true
          })
      await sim.run(4 * MINUTE)
      expect(mostIn(sim.admittedAt, MINUTE)).toBeLessThanOrEqual(1_000)
      // Two of five isolates are left with 600 requests a minute: all of them pass once the lost leases have left.
      const refused = sim.refusals.filter(({ at }) => at > start + 2 * MINUTE)
      expect(refused).toEqual([])
      expect(admittedIn(sim, start + 2 * MINUTE, 2 * MINUTE)).toBeGreaterThan(1_100)
    },
  )
})

describe('clocks that jump', () => {
  const JUMPS = [-3_600_000, -7_000, -1_300, 400, 2_100, 9_000, 3_600_000]

  it.each(JUMPS)('of an isolate, by %d ms', async (jump) => {
    const sim = new Simulation(Math.abs(jump), 3)
    const start = sim.now
    sim.load(1_500, 5 * MINUTE, WANTS)
    for (const [i, isolate] of sim.isolates.entries())
      for (const at of [12_345, 61_500, 75_000])
        sim.in(at + i * 3_210, () => {
          isolate.ahead += jump
        })
    await sim.run(5 * MINUTE)
    expect(mostIn(sim.admittedAt, MINUTE)).toBeLessThanOrEqual(1_000)
    expect(admittedIn(sim, start + 3 * MINUTE, 2 * MINUTE)).toBeGreaterThan(0.97 * 2_000)
  })

  it.each(JUMPS)('of the Meter, by %d ms', async (jump) => {
    const sim = new Simulation(Math.abs(jump), 3)
    const start = sim.now
    sim.load(1_500, 6 * MINUTE, WANTS)
    for (const at of [12_345, 61_500, 75_000])
      sim.in(at, () => {
        sim.meterAhead += jump
      })
    await sim.run(6 * MINUTE)
    expect(mostIn(sim.admittedAt, MINUTE)).toBeLessThanOrEqual(1_000)
    expect(admittedIn(sim, start + 4 * MINUTE, 2 * MINUTE)).toBeGreaterThan(0.97 * 2_000)
  })

  it('of an isolate while it waits for a lease', async () => {
    const sim = new Simulation(6, 1)
    const isolate = isolateOf(sim)
    sim.extraDelay = 200
    void sim.request(isolate, WANTS)
    await sim.run(100)
    isolate.ahead -= 3_600_000
    await sim.run(2_000)
    // The first lease was not touched, for nobody knows when it ends: the second call gives it back.
    expect(sim.admittedAt).toHaveLength(1)
    expect(sim.calls.map(({ request }) => request.report)).toEqual([
      null,
      { lease: 1, elapsed: null, spent: [] },
    ])
  })

  it('of the Meter while it is restarted, backwards', async () => {
    const sim = new Simulation(5, 3)
    const start = sim.now
    sim.load(1_500, 5 * MINUTE, WANTS)
    sim.in(70_000, () => {
      sim.meterAhead -= 3_600_000
      sim.restartMeter()
    })
    await sim.run(5 * MINUTE)
    expect(mostIn(sim.admittedAt, MINUTE)).toBeLessThanOrEqual(1_000)
    expect(admittedIn(sim, start + 3 * MINUTE, 2 * MINUTE)).toBeGreaterThan(0.97 * 2_000)
  })
})

describe('a client that leaves while its request holds the renewal', () => {
  it('hangs nobody: the next request calls itself', async () => {
    const sim = new Simulation(1, 1)
    sim.requestThatDies(isolateOf(sim), WANTS)
    for (const { verdict, took } of await timed(sim, 5)) {
      expect(verdict).toMatchObject({ admitted: true, by: 'lease' })
      expect(took).toBeLessThan(1_200)
    }
    expect(sim.calls).toHaveLength(2)
    const [next] = await timed(sim, 1)
    expect(next?.took).toBeLessThan(100)
  })

  it('leaves the others its answer, for the call outlives it', async () => {
    const sim = new Simulation(1, 1)
    const kept: Promise<unknown>[] = []
    void isolateOf(sim).limiter.admit(WANTS, (work) => kept.push(work))
    expect(kept).toHaveLength(1)
    for (const { verdict, took } of await timed(sim, 5)) {
      expect(verdict).toMatchObject({ admitted: true, by: 'lease' })
      expect(took).toBeLessThan(100)
    }
    await kept[0]
    expect(sim.calls.filter(({ request }) => request.demands.length > 0).length).toBeLessThan(3)
  })

  it('does not let the limit be passed, whatever it held', async () => {
    const sim = new Simulation(7, 3)
    const start = sim.now
    sim.load(1_500, 4 * MINUTE, WANTS)
    for (let at = 500; at < 3 * MINUTE; at += 1_700)
      sim.in(at, () => sim.requestThatDies(isolateOf(sim, at % 3), WANTS))
    await sim.run(4 * MINUTE)
    expect(mostIn(sim.admittedAt, MINUTE)).toBeLessThanOrEqual(1_000)
    expect(isolateOf(sim).counts.admitted_alone).toBe(0)
    expect(admittedIn(sim, start + 3 * MINUTE, MINUTE)).toBeGreaterThan(900)
  })
})

describe('a Meter that is silent', () => {
  it.each(['hanging', 'throwing'] as const)(
    '(%s) lets requests pass at the last rate, then by a number',
    async (how) => {
      const sim = new Simulation(2, 1)
      const isolate = isolateOf(sim)
      sim.load(600, 3 * MINUTE, WANTS)
      await sim.run(MINUTE / 2)
      const silentAt = sim.now
      sim.meterIs = how
      await sim.run(2 * MINUTE)

      // 10 a second came, and the last lease was good for that.
      expect(admittedIn(sim, silentAt, 25_000)).toBeGreaterThan(245)
      // From then on 10 a minute, each isolate.
      expect(admittedIn(sim, silentAt + 40_000, MINUTE)).toBeLessThanOrEqual(11)
      expect(admittedIn(sim, silentAt + 40_000, MINUTE)).toBeGreaterThanOrEqual(9)
      expect(sim.refusals.at(-1)?.verdict).toMatchObject({ by: 'alone', refusedBy: { name: 'minute' } })
      expect(isolate.counts.admitted_alone).toBeGreaterThan(200)
      expect(isolate.counts.refused_alone).toBeGreaterThan(500)
      expect(isolate.counts.meter_silences).toBeGreaterThan(10)

      sim.meterIs = 'well'
      const wellAt = sim.now
      await sim.run(MINUTE / 2)
      expect(admittedIn(sim, wellAt + 7_000, 20_000)).toBeGreaterThan(195)
    },
  )

  it('counts afterwards what was admitted without it, once', async () => {
    const sim = new Simulation(8, 1)
    sim.load(600, MINUTE, WANTS)
    await sim.run(15_000)
    sim.meterIs = 'hanging'
    await sim.run(20_000)
    const alone = isolateOf(sim).counts.admitted_alone
    expect(alone).toBeGreaterThan(100)
    sim.meterIs = 'well'
    await sim.run(10_000)
    sim.stop()
    await sim.run(10_000)
    const [minute] = sim.meter.look([{ name: 'minute', period: 'minute', limit: 1_000 }], sim.now)
    expect(minute?.used).toBe(sim.admittedAt.length)
  })

  it('is not waited for longer than a second, by anyone', async () => {
    const sim = new Simulation(3, 1)
    sim.meterIs = 'hanging'
    const answers = await timed(sim, 20)
    expect(answers.every(({ took }) => took <= 1_000)).toBe(true)
    // No lease was ever had: the number counts at once.
    expect(answers.filter(({ verdict }) => verdict?.admitted)).toHaveLength(10)
    const [next] = await timed(sim, 1)
    expect(next).toMatchObject({ took: 0, verdict: { admitted: false, by: 'alone' } })
  })

  it('opens no door where a window is strict', async () => {
    const sim = new Simulation(4, 1)
    const login: Want[] = [{ name: 'login', period: 'minute', limit: 60, alone: 5, strict: true }]
    sim.load(60, 10_000, login)
    await sim.run(10_000)
    sim.meterIs = 'hanging'
    sim.load(600, MINUTE / 2, login)
    // The lease at hand may be spent; then it is five.
    const before = sim.admittedAt.length
    await sim.run(MINUTE / 2)
    expect(isolateOf(sim).counts.admitted_alone).toBe(5)
    expect(sim.admittedAt.length - before).toBeLessThan(20)
  })

  it('is tried once more at once where it throws, as an object does that was replaced', async () => {
    const sim = new Simulation(5, 1)
    sim.meterIs = 'throwing'
    sim.in(16, () => {
      sim.meterIs = 'well'
    })
    const [answer] = await timed(sim, 1)
    expect(answer?.verdict).toMatchObject({ admitted: true, by: 'lease' })
    expect(answer?.took).toBeLessThan(100)
    expect(isolateOf(sim).counts).toMatchObject({ meter_calls: 2, meter_silences: 0 })
  })

  it('is heard where it answers late', async () => {
    const sim = new Simulation(6, 1)
    sim.extraDelay = 700
    const [first] = await timed(sim, 1)
    expect(first).toMatchObject({ took: 1_000, verdict: { admitted: true, by: 'alone' } })
    const [second] = await timed(sim, 1)
    expect(second).toMatchObject({ took: 0, verdict: { admitted: true, by: 'lease' } })
    expect(sim.calls).toHaveLength(1)
  })
})
