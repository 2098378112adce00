import { describe, expect, it } from 'vitest'
import { ADDRESS_SHARDS, countedAddress, shardOf } from '../../src/domains/metering/limits/addresses'
import type { Want } from '../../src/domains/metering/limits/held-window'
import { Limiters } from '../../src/domains/metering/limits/limiters'
import { newCounts } from '../../src/domains/metering/limits/ports'
import type { Verdict } from '../../src/domains/metering/limits/verdict'
import { minuteOf, Simulation } from './simulation'

const MINUTE = 60_000

async function one(sim: Simulation, wants: readonly Want[], i = 0): Promise<Verdict> {
  const isolate = sim.isolates[i]
  let verdict: Verdict | null = null
  if (isolate)
    void sim.request(isolate, wants).then((settled) => {
      verdict = settled
    })
  for (let waited = 0; verdict === null && waited < 3_000; waited += 10) await sim.run(10)
  if (!verdict) throw new Error('no verdict')
  return verdict
}

const used = (sim: Simulation, name = 'minute') =>
  sim.meter.look([{ name, period: 'minute', limit: 1_000 }], sim.now)[0]?.used

describe('what the headers say', () => {
  it('is what is left and when the next bucket leaves', async () => {
    const sim = new Simulation(1, 1)
    const wants: Want[] = [minuteOf(100), { name: 'hour', period: 'hour', limit: 5_000, alone: 10 }]
    for (let i = 1; i <= 30; i++) {
      const { windows, ...verdict } = await one(sim, wants)
      expect(verdict).toEqual({ admitted: true, refusedBy: null, by: 'lease' })
      expect(windows).toMatchObject([
        { name: 'minute', limit: 100, period: 60, remaining: 100 - i },
        { name: 'hour', limit: 5_000, period: 3_600, remaining: 5_000 - i },
      ])
      expect(windows.every(({ reset, period }) => reset >= 1 && reset <= period + 60)).toBe(true)
    }
  })

  it('names the window that refuses and when to come back, never too early', async () => {
    const sim = new Simulation(2, 1)
    const wants: Want[] = [minuteOf(1_000), { name: 'key:1', period: 'minute', limit: 3, alone: 1 }]
    const start = sim.now
    for (let i = 0; i < 3; i++) expect((await one(sim, wants)).admitted).toBe(true)
    const refusal = await one(sim, wants)
    expect(refusal).toMatchObject({
      admitted: false,
      by: 'lease',
      refusedBy: { name: 'key:1', limit: 3, remaining: 0 },
    })
    const reset = refusal.refusedBy?.reset ?? 0
    expect(sim.now + reset * 1_000 - start).toBeGreaterThanOrEqual(60_000)
    expect(reset).toBeLessThanOrEqual(61)
    expect(refusal.windows[0]?.remaining).toBe(997)

    await sim.run((reset - 1.5) * 1_000)
    expect((await one(sim, wants)).admitted).toBe(false)
    await sim.run(1_500)
    expect((await one(sim, wants)).admitted).toBe(true)
    // A refusal by one window takes nothing from the others.
    await sim.run(12_000)
    expect(used(sim)).toBe(1)
  })
})

describe('calls to the Meter', () => {
  it('are shared by all that wait', async () => {
    const sim = new Simulation(3, 1)
    const verdicts = Array.from(
      { length: 50 },
      () => sim.isolates[0] && sim.request(sim.isolates[0], [minuteOf(1_000)]),
    )
    await sim.run(500)
    expect((await Promise.all(verdicts)).every((verdict) => verdict?.admitted)).toBe(true)
    expect(sim.calls.length).toBeLessThanOrEqual(2)
  })

  it('are none while a window is spent, but for what changed', async () => {
    const sim = new Simulation(4, 1)
    sim.load(600, 40_000, [minuteOf(20)])
    await sim.run(5_000)
    const before = sim.calls.length
    await sim.run(35_000)
    expect(sim.admittedAt).toHaveLength(20)
    expect(sim.refusals.length).toBeGreaterThan(350)
    const asked = sim.calls.slice(before).filter(({ request }) => request.demands.length > 0)
    expect(asked.length).toBeGreaterThanOrEqual(3)
    expect(asked.length).toBeLessThanOrEqual(5)
  })

  it('are few where keys with windows of their own take turns', async () => {
    const sim = new Simulation(5, 1)
    for (let i = 0; i < 600; i++)
      sim.in(i * 100, () => {
        const key: Want = { name: `key:${i % 8}`, period: 'minute', limit: 200, alone: 5 }
        if (sim.isolates[0]) void sim.request(sim.isolates[0], [minuteOf(1_000), key])
      })
    await sim.run(MINUTE)
    expect(sim.admittedAt).toHaveLength(600)
    expect(sim.calls.length).toBeLessThan(40)
  })

  it('report what was used also if no request comes any more', async () => {
    const sim = new Simulation(6, 1)
    for (let i = 0; i < 3; i++) await one(sim, [minuteOf(1_000)])
    expect(used(sim)).toBeGreaterThan(3)
    await sim.run(9_600)
    expect(used(sim)).toBe(3)
    const calls = sim.calls.length
    await sim.run(10 * MINUTE)
    expect(sim.calls).toHaveLength(calls)
  })

  it('are made at once where the limit was raised', async () => {
    const sim = new Simulation(7, 1)
    for (let i = 0; i < 5; i++) await one(sim, [minuteOf(5)])
    expect((await one(sim, [minuteOf(5)])).admitted).toBe(false)
    expect((await one(sim, [minuteOf(6)])).admitted).toBe(true)
    expect((await one(sim, [minuteOf(6)])).admitted).toBe(false)
  })
})

describe('what changed', () => {
  const told = { seq: 1, kind: 'session', id: 's', until: null, data: { at: 1 } }

  it.each([
    ['admits', 1_000],
    ['refuses', 3],
  ])('is known within ten seconds to every isolate that %s', async (_, limit) => {
    const sim = new Simulation(limit, 4)
    sim.load(400, MINUTE, [minuteOf(limit)])
    await sim.run(20_000)
    sim.ledger.add(told)
    expect(sim.isolates.some(({ learned }) => learned.length > 0)).toBe(false)
    await sim.run(10_000)
    for (const { learned } of sim.isolates) expect(learned).toEqual([{ ...told, revision: 1 }])
  })

  it('is known to requests that no window counts, too', async () => {
    const sim = new Simulation(9, 1)
    const limiter = sim.isolates[0]?.limiter
    const refresh = async () => {
      const refreshed = limiter?.refresh(() => undefined)
      await sim.run(100)
      await refreshed
    }
    await refresh()
    sim.ledger.add(told)
    await refresh()
    expect(sim.calls).toHaveLength(1)
    await sim.run(8_000)
    await refresh()
    expect(sim.isolates[0]?.learned).toHaveLength(1)
    expect(sim.calls).toHaveLength(2)
  })

  it('is asked for by the time of the last asking, however long the answer took', async () => {
    const sim = new Simulation(11, 1)
    const limiter = sim.isolates[0]?.limiter
    sim.extraDelay = 450
    const refreshed = limiter?.refresh(() => undefined)
    // The Meter has answered, and the answer is on its way.
    await sim.run(500)
    sim.ledger.add(told)
    await sim.run(1_000)
    await refreshed
    expect(sim.isolates[0]?.learned).toEqual([])
    await sim.run(6_400)
    expect(limiter?.isCurrent()).toBe(true)
    await sim.run(100)
    expect(limiter?.isCurrent()).toBe(false)
  })

  it('comes in parts where it is much, without losing any', async () => {
    const sim = new Simulation(10, 1)
    for (let i = 0; i < 5_000; i++) sim.ledger.add({ ...told, id: `s${i}` })
    sim.load(600, 10_000, [minuteOf(1_000)])
    await sim.run(10_000)
    expect(new Set(sim.isolates[0]?.learned.map(({ id }) => id)).size).toBe(5_000)
  })
})

describe('the limiters of an isolate', () => {
  it('are one for each subject, and so many at most', () => {
    const limiters = new Limiters(
      () => ({
        now: () => 0,
        sleep: () => new Promise(() => undefined),
        ask: () => new Promise(() => undefined),
        learn: () => undefined,
        counts: newCounts(),
      }),
      2,
    )
    const a = limiters.of('a')
    const b = limiters.of('b')
    expect(limiters.of('a')).toBe(a)
    limiters.of('c')
    expect(limiters.size).toBe(2)
    expect(limiters.of('a')).toBe(a)
    expect(limiters.of('b')).not.toBe(b)
  })
})

describe('addresses', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    [null, 'unknown'],
    ['nonsense', 'unknown'],
  ])('%s counts as %s', (address, counted) => {
    expect(countedAddress(address)).toBe(counted)
  })

  it('share 64 Meters evenly', () => {
    const counts = new Map<string, number>()
    for (let i = 0; i < 6_400; i++) {
      const shard = shardOf(`10.0.${i >> 8}.${i & 255}`)
      counts.set(shard, (counts.get(shard) ?? 0) + 1)
    }
    expect(counts.size).toBe(ADDRESS_SHARDS)
    expect(Math.max(...counts.values())).toBeLessThan(200)
  })
})
