import { beforeEach, describe, expect, it } from 'vitest'
import { Addresses } from '../../src/domains/metering/meter/addresses'
import { Grants } from '../../src/domains/metering/meter/grants'
import type { Demand, LeaseRequest, Report } from '../../src/domains/metering/meter/lease'
import { MemoryStore } from './simulation'

const T = 1_700_000_000_000

const demand = (over: Partial<Demand> = {}): Demand => ({
  name: 'minute',
  period: 'minute',
  limit: 1_000,
  rate: 10,
  wanted: 1,
  ...over,
})

const asking = (isolate: string, sequence: number, over: Partial<LeaseRequest> = {}): LeaseRequest => ({
  isolate,
  sequence,
  revision: 0,
  demands: [demand()],
  report: null,
  unleased: null,
  ...over,
})

const spent = (lease: number, elapsed: number | null, ...spells: [number, number][]): Report => ({
  lease,
  elapsed,
  spent: [{ name: 'minute', spells: spells.map(([ms, count]) => ({ ms, count })) }],
})

let store: MemoryStore
let meter: Grants
beforeEach(() => {
  store = new MemoryStore()
  meter = new Grants(store, T)
})

const used = (of: Grants, now: number, name = 'minute') =>
  of.look([{ name, period: 'minute', limit: 1_000 }], now)[0]?.used

/** Lends all there is. */
function fill(name: string, limit: number): void {
  const demands = [demand({ name, limit, wanted: limit })]
  for (let i = 1; (meter.lease(asking(`filler${i}`, 1, { demands }), T).grants[0]?.count ?? 0) > 0; ) i += 1
}

describe('a lease', () => {
  it('is booked whole, and its report gives back what is left', () => {
    const { grants, life } = meter.lease(asking('a', 1), T)
    expect([grants[0]?.count, life, grants[0]?.left]).toEqual([100, 8_000, 900])
    expect(used(meter, T)).toBe(100)
    meter.lease(asking('a', 2, { report: spent(1, 5_000, [100, 20], [4_000, 10]), demands: [] }), T + 5_000)
    expect(used(meter, T + 5_000)).toBe(30)
    // Each leaves 60 s after it was spent.
    expect(used(meter, T + 60_249)).toBe(30)
    expect(used(meter, T + 60_250)).toBe(10)
    expect(used(meter, T + 64_250)).toBe(0)
  })

  it('that is not reported counts as spent, at its end', () => {
    meter.lease(asking('a', 1), T)
    expect(used(meter, T + 68_000)).toBe(100)
    expect(used(meter, T + 68_250)).toBe(0)
  })

  it('whose answer was lost lent nothing', () => {
    meter.lease(asking('a', 1), T)
    meter.lease(asking('a', 2, { report: spent(1, 1_000, [500, 7]) }), T + 1_000)
    // The isolate did not get the second answer: it reports the first lease again.
    meter.lease(asking('a', 3, { report: spent(1, 3_000, [500, 7]), demands: [] }), T + 3_000)
    expect(used(meter, T + 3_000)).toBe(7)
    meter.lease(asking('b', 1), T)
    meter.lease(asking('b', 2, { demands: [] }), T + 3_000)
    expect(used(meter, T + 3_000)).toBe(7)
  })

  it('is settled once, and what comes late is not answered', () => {
    meter.lease(asking('a', 1), T)
    const second = asking('a', 2, { report: spent(1, 1_000, [500, 7]), demands: [] })
    expect(meter.lease(second, T + 1_000).fresh).toBe(true)
    expect(meter.lease(second, T + 1_001)).toMatchObject({ fresh: false, grants: [], life: 0 })
    expect(used(meter, T + 1_001)).toBe(7)
  })

  it('cannot be reported as more than it was', () => {
    meter.lease(asking('a', 1), T)
    meter.lease(asking('a', 2, { report: spent(1, 1_000, [500, 700]), demands: [] }), T + 1_000)
    expect(used(meter, T + 1_000)).toBe(100)
  })

  it('counts as spent at its report where the isolate’s clock went back', () => {
    meter.lease(asking('a', 1), T)
    meter.lease(asking('a', 2, { report: spent(1, null, [500, 7]), demands: [] }), T + 9_000)
    expect(used(meter, T + 69_000)).toBe(7)
    expect(used(meter, T + 69_250)).toBe(0)
  })

  it('counts as spent later where the isolate’s clock was set back unnoticed', () => {
    meter.lease(asking('a', 1), T)
    meter.lease(asking('b', 1, { demands: [] }), T + 4_000)
    // Two of four seconds are missing, and the Meter has told others of all four: it may have been spent two later.
    meter.lease(asking('a', 2, { report: spent(1, 2_010, [1_000, 7]), demands: [] }), T + 4_010)
    expect(used(meter, T + 63_000)).toBe(7)
    expect(used(meter, T + 63_300)).toBe(0)
  })

  it('is refused with the time when a bucket leaves', () => {
    fill('minute', 1_000)
    const [refusal] = meter.lease(asking('x', 1), T + 100).grants
    expect(refusal).toMatchObject({ count: 0, later: [], left: 0, limit: 1_000 })
    expect(refusal?.next).toBe(refusal?.reset)
    // The fuller the window got, the shorter the leases were: the shortest leave first.
    expect(refusal?.next).toBeGreaterThan(62_000)
    expect(refusal?.next).toBeLessThan(64_000)
  })

  it('lives as long as its fullest window allows, each window granted its own', () => {
    fill('key:1', 100)
    const demands = [
      demand(),
      demand({ name: 'key:1', limit: 100 }),
      demand({ name: 'hour', period: 'hour', limit: 50_000 }),
    ]
    const { life, grants } = meter.lease(asking('x', 1, { demands }), T)
    expect(life).toBeLessThan(3_000)
    expect(grants.map(({ name, count }) => [name, count > 0])).toEqual([
      ['minute', true],
      ['key:1', false],
      ['hour', true],
    ])
  })

  it('is shared with those who still ask', () => {
    const of = (rate: number) => [demand({ limit: 100, rate })]
    for (let i = 1; i <= 4; i++) meter.lease(asking(`i${i}`, 1, { demands: of(50) }), T)
    const [shared] = meter.lease(asking('x', 1, { demands: of(10) }), T + 1_000).grants
    const [alone] = meter.lease(asking('x', 2, { demands: of(10) }), T + 20_000).grants
    expect(shared?.count).toBe(1)
    expect(alone?.count).toBeGreaterThan(5)
  })

  it('takes in what was admitted while the Meter was silent, once', () => {
    const unleased = {
      sequence: 4,
      spent: [
        {
          name: 'minute',
          period: 'minute' as const,
          spells: [
            { ms: 30_000, count: 40 },
            { ms: 2_000, count: 5 },
          ],
        },
      ],
    }
    meter.lease(asking('a', 4, { unleased, demands: [] }), T)
    meter.lease(asking('a', 5, { unleased, demands: [] }), T + 10)
    expect(used(meter, T + 10)).toBe(45)
    expect(used(meter, T + 31_000)).toBe(5)
  })
})

describe('a Meter that restarts', () => {
  it('counts too much, by two hundredths of the limit at most, and never too little', () => {
    let worst = 0
    for (let i = 1; i <= 200; i++) {
      const now = T + i * 100
      const report = i > 1 ? spent(i - 1, 100, [50, 1]) : null
      meter.lease(asking(`i${i % 3}`, i, { demands: [demand({ rate: 0.3 })], report }), now)
      const before = used(meter, now) ?? 0
      const after = used(new Grants(store, now), now) ?? 0
      expect(after).toBeGreaterThanOrEqual(before)
      worst = Math.max(worst, after - before)
    }
    expect(worst).toBeGreaterThan(0)
    expect(worst).toBeLessThanOrEqual(20)
    expect(store.writes).toBeLessThan(100)
  })

  it('still knows leases, and takes their reports', () => {
    meter.lease(asking('a', 1), T)
    const again = new Grants(store, T + 1_000)
    expect(again.lease(asking('a', 1), T + 1_000).fresh).toBe(false)
    again.lease(asking('a', 2, { report: spent(1, 2_000, [100, 20]), demands: [] }), T + 2_000)
    // A block of ten might have been granted since it was written.
    expect(used(again, T + 2_000)).toBe(20 + 10)
  })

  it('counts exactly after all leases were reported', () => {
    meter.lease(asking('a', 1), T)
    meter.lease(asking('a', 2, { report: spent(1, 2_000, [100, 20]), demands: [] }), T + 2_000)
    expect(used(new Grants(store, T + 3_000), T + 3_000)).toBe(20)
  })

  it('does not take the time back', () => {
    meter.lease(asking('a', 1), T)
    const again = new Grants(store, T - 3_600_000)
    expect(used(again, T - 3_600_000 + 60_000)).toBe(100 + 10)
    expect(used(again, T - 3_600_000 + 70_000)).toBe(0)
  })

  it('does not forget that its clock jumped', () => {
    meter.lease(asking('a', 1), T)
    fill('minute', 1_000)
    const report = spent(1, 1_500, [100, 100])
    // An hour passed by its own clock, a second by the isolate's; nothing is lent that would have to be written.
    meter.lease(asking('a', 2, { report, demands: [] }), T + 3_601_500)
    expect(used(meter, T + 3_602_000)).toBe(1_000)
    expect(used(new Grants(store, T + 3_602_000), T + 3_602_000)).toBe(1_000)
  })

  it('forgets windows that are empty', () => {
    for (let i = 0; i < 20; i++)
      meter.lease(asking(`i${i}`, 1, { demands: [demand({ name: `key:${i}` })] }), T)
    expect(store.read().windows).toHaveLength(20)
    meter.lease(asking('x', 1), T + 200_000)
    expect(store.read().windows.map(({ name }) => name)).toEqual(['minute'])
    expect(store.read().leases.map(([isolate]) => isolate)).toEqual(['x'])
  })
})

describe('the Meters of addresses', () => {
  const login = demand({ name: 'login', limit: 5, rate: 1 })

  it('count each address by itself', () => {
    const addresses = new Addresses()
    const ask = (address: string, sequence: number) =>
      addresses.lease(
        address,
        asking('a', sequence, {
          demands: [login],
          report: {
            lease: sequence - 1,
            elapsed: 10,
            spent: [{ name: 'login', spells: [{ ms: 1, count: 1 }] }],
          },
        }),
        T,
      )
    const counts = [1, 2, 3, 4, 5, 6].map((sequence) => ask('192.0.2.1', sequence).grants[0]?.count)
    expect(counts).toEqual([1, 1, 1, 1, 1, 0])
    expect(ask('192.0.2.2', 1).grants[0]?.count).toBe(1)
  })

  it('forget who is idle', () => {
    const addresses = new Addresses()
    for (let i = 0; i < 100; i++) addresses.lease(`192.0.2.${i}`, asking('a', 1, { demands: [login] }), T)
    expect(addresses.size).toBe(100)
    addresses.lease('198.51.100.1', asking('a', 1, { demands: [login] }), T + 40_000)
    expect(addresses.size).toBe(101)
    addresses.lease('198.51.100.1', asking('a', 2, { demands: [login] }), T + 75_000)
    expect(addresses.size).toBe(1)
  })

  it('hold so many and no more, the least lately seen goes', () => {
    const addresses = new Addresses(3)
    const ask = (address: string, sequence: number) =>
      addresses.lease(address, asking('a', sequence, { demands: [demand({ limit: 5, wanted: 5 })] }), T)
    for (const address of ['a', 'b', 'c']) ask(address, 1)
    ask('a', 2)
    ask('d', 1)
    expect(addresses.size).toBe(3)
    expect(ask('a', 3).fresh).toBe(true)
    // Forgotten: it begins anew, under a sequence number it had already.
    expect(ask('b', 1).fresh).toBe(true)
  })
})

describe('several taken at once', () => {
  it('are taken all or none, whatever isolates hold, and survive a restart', () => {
    expect(meter.take('files', 'minute', 20, 12, T)).toEqual({ left: 8, reset: 60_250, wait: null })
    expect(meter.take('files', 'minute', 20, 9, T + 10_000)).toEqual({ left: 8, reset: 50_250, wait: 50_250 })
    expect(meter.take('files', 'minute', 20, 8, T + 10_000)).toEqual({ left: 0, reset: 50_250, wait: null })
    const again = new Grants(store, T + 11_000)
    expect(again.take('files', 'minute', 20, 1, T + 11_000)).toEqual({ left: 0, reset: 49_250, wait: 49_250 })
    expect(again.take('files', 'minute', 20, 12, T + 60_250)).toEqual({ left: 0, reset: 10_000, wait: null })
    // What is lent counts until it is reported.
    const demands = [demand({ name: 'files', limit: 20, wanted: 8 })]
    expect(again.lease(asking('a', 1, { demands }), T + 70_250).grants[0]?.count).toBe(8)
    expect(again.take('files', 'minute', 20, 1, T + 70_250).wait).not.toBeNull()
  })
})
