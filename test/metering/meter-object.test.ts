import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { Limiter } from '../../src/domains/metering/limits/limiter'
import { newCounts } from '../../src/domains/metering/limits/ports'
import type { LeaseRequest } from '../../src/domains/metering/meter/lease'
import type { Change } from '../../src/domains/metering/meter/ledger'
import { minuteOf } from './simulation'

const MINUTE = [{ name: 'minute', period: 'minute' as const, limit: 1_000 }]
let commits = 0
const revoked = (id = 's1') => ({ seq: ++commits, kind: 'session', id, until: null, data: { by: 'test' } })

const asking = (isolate: string, sequence: number, over: Partial<LeaseRequest> = {}): LeaseRequest => ({
  isolate,
  sequence,
  revision: 0,
  demands: [{ name: 'minute', period: 'minute', limit: 1_000, rate: 10, wanted: 1 }],
  report: null,
  unleased: null,
  ...over,
})

const newMeter = () => env.METERS.getByName(crypto.randomUUID())

/** A limiter as an isolate has it, with real time and a real Meter. */
function limiterOf(stub: ReturnType<typeof newMeter>) {
  const learned: Change[] = []
  const deferred: Promise<unknown>[] = []
  const limiter = new Limiter(crypto.randomUUID(), {
    now: Date.now,
    sleep: (ms) => scheduler.wait(ms),
    ask: (request) => stub.lease(request),
    learn: (changes) => learned.push(...changes),
    counts: newCounts(),
  })
  return { limiter, learned, admit: () => limiter.admit([minuteOf(1_000)], (work) => deferred.push(work)) }
}

describe('the Meter', () => {
  it('lends, and takes reports', async () => {
    const meter = newMeter()
    const { grants, life } = await meter.lease(asking('a', 1))
    expect(grants).toMatchObject([{ name: 'minute', limit: 1_000, count: 100, later: [], left: 900 }])
    expect(life).toBe(8_000)
    expect(await meter.look(MINUTE)).toMatchObject([{ used: 100, remaining: 900, limit: 1_000 }])
    const report = {
      lease: 1,
      elapsed: 5,
      spent: [{ name: 'minute', spells: [{ ms: 1, count: 4 }] }],
    }
    await meter.lease(asking('a', 2, { report, demands: [] }))
    expect(await meter.look(MINUTE)).toMatchObject([{ used: 4, remaining: 996 }])
  })

  it('has on disk what it lent before it answered, so that a new start forgets nothing', async () => {
    const meter = newMeter()
    await meter.lease(asking('a', 1))
    await meter.lease(asking('b', 1))
    await evictDurableObject(meter)
    const [minute] = await meter.look(MINUTE)
    expect(minute?.used).toBeGreaterThanOrEqual(200)
    expect(minute?.used).toBeLessThanOrEqual(220)
    // It knows whom it lent to, too.
    expect((await meter.lease(asking('a', 1))).grants).toEqual([])
    expect((await meter.lease(asking('a', 2))).grants).toHaveLength(1)
  })

  it('keeps the leases of thousands of keys with limits of their own, in rows that no database refuses', async () => {
    const meter = newMeter()
    const demands = Array.from({ length: 1_500 }, (_, n) => ({
      ...{ name: `api_key_minute:${crypto.randomUUID()}-${n}`, period: 'minute' as const },
      ...{ limit: 100, rate: 1, wanted: 1 },
    }))
    for (const isolate of ['a', 'b', 'c', 'd', 'e', 'f'])
      expect((await meter.lease(asking(isolate, 1, { demands }))).grants).toHaveLength(demands.length)
    const rows = () =>
      runInDurableObject(meter, (_, { storage }) =>
        storage.sql
          .exec<{ key: string; length: number }>(
            "SELECT key, length(value) AS length FROM state WHERE key GLOB 'lending*' ORDER BY key",
          )
          .toArray(),
      )
    const kept = await rows()
    expect(kept.length).toBeGreaterThan(1)
    expect(Math.max(...kept.map(({ length }) => length))).toBeLessThanOrEqual(2_000_000 / 3)
    await evictDurableObject(meter)
    // It knows whom it lent what.
    expect((await meter.lease(asking('a', 1, { demands }))).grants).toEqual([])
    const spent = demands.map(({ name }) => ({ name, spells: [{ ms: 0, count: 1 }] }))
    await meter.lease(asking('a', 2, { demands: [], report: { lease: 1, elapsed: 1, spent } }))
    const [first] = demands
    if (first) {
      const [before] = await meter.look([first])
      await meter.lease(asking('b', 2, { demands: [], report: { lease: 1, elapsed: 1, spent: [] } }))
      const [after] = await meter.look([first])
      expect(after?.used).toBeLessThan(before?.used ?? 0)
    }
    // Less is kept again once the leases were reported.
    for (const isolate of ['c', 'd', 'e', 'f'])
      await meter.lease(asking(isolate, 2, { demands: [], report: { lease: 1, elapsed: 1, spent } }))
    await meter.lease(asking('a', 3, { demands: demands.slice(0, 1) }))
    await evictDurableObject(meter)
    expect((await meter.lease(asking('a', 4))).grants).toHaveLength(1)
    expect(await rows()).toHaveLength(1)
  })

  it('tells each isolate what changed since it asked last, also after a new start', async () => {
    const meter = newMeter()
    const empty = await meter.lease(asking('a', 1))
    expect(empty.changes).toEqual([])
    const [first, second] = [revoked('s1'), revoked('s2')]
    const told = await meter.tell([first, second])
    expect(told).toBe(empty.revision + 2)
    const news = await meter.lease(asking('a', 2, { revision: empty.revision }))
    expect(news).toMatchObject({
      revision: told,
      more: false,
      changes: [
        { ...first, revision: told - 1 },
        { ...second, revision: told },
      ],
    })
    expect((await meter.lease(asking('a', 3, { revision: told }))).changes).toEqual([])
    await evictDurableObject(meter)
    expect(await meter.tell([{ ...revoked('s1'), data: 'again' }])).toBe(told + 1)
    const { changes } = await meter.lease(asking('b', 1))
    expect(changes.map(({ id, revision, data }) => [id, revision - told, data])).toEqual([
      ['s2', 0, { by: 'test' }],
      ['s1', 1, 'again'],
    ])
  })

  it('never gives a revision twice, and keeps no change that is over', async () => {
    const meter = newMeter()
    const first = await meter.tell([{ ...revoked(), until: Date.now() - 1 }])
    await meter.tell([])
    await evictDurableObject(meter)
    expect(await meter.tell([revoked()])).toBe(first + 1)
    const rows = await runInDurableObject(meter, (_, state) =>
      state.storage.sql.exec('SELECT id, revision FROM changes').toArray(),
    )
    expect(rows).toEqual([{ id: 's1', revision: first + 1 }])
  })

  it('shortens the lease of an isolate that has yet to hear the rest', async () => {
    const meter = newMeter()
    await meter.tell(Array.from({ length: 2_001 }, (_, i) => revoked(`s${i}`)))
    const first = await meter.lease(asking('a', 1))
    expect([first.changes.length, first.more, first.life]).toEqual([2_000, true, 2_000])
    const second = await meter.lease(asking('a', 2, { revision: first.revision }))
    expect([second.changes.length, second.more, second.revision]).toEqual([1, false, first.revision + 1])
  })

  it('admits 1,000 of 1,500 by 16 connections of one isolate, and as many of two', async () => {
    for (const isolates of [1, 2]) {
      const meter = newMeter()
      const limiters = Array.from({ length: isolates }, () => limiterOf(meter))
      let [sent, admitted] = [0, 0]
      const connect = async (i: number) => {
        while (sent < 1_500) {
          sent += 1
          if ((await limiters[i % isolates]?.admit())?.admitted) admitted += 1
        }
      }
      await Promise.all(Array.from({ length: 16 }, (_, i) => connect(i)))
      expect(admitted).toBe(1_000)
    }
  })

  it('is heard by limiters: what changed comes with the lease', async () => {
    const meter = newMeter()
    const change = revoked()
    const revision = await meter.tell([change])
    const { admit, learned } = limiterOf(meter)
    expect(await admit()).toMatchObject({ admitted: true, by: 'lease', windows: [{ remaining: 999 }] })
    expect(learned).toEqual([{ ...change, revision }])
  })
})

describe('a Meter that was erased', () => {
  it('begins with nothing for who still asks', async () => {
    const meter = newMeter()
    await meter.lease(asking('a', 1))
    await meter.tell([revoked()])
    await meter.erase()
    expect(await meter.look(MINUTE)).toMatchObject([{ used: 0, remaining: 1_000 }])
    expect((await meter.lease(asking('a', 2))).changes).toEqual([])
    expect(await meter.tell([revoked()])).toBeGreaterThan(0)
    expect(await meter.openStream({ holder: 'h', life: 'l', sequence: 1, open: 1 })).toMatchObject({
      open: 1,
    })
    expect(await meter.usageSamples(null, 10)).toEqual([])
  })
})

describe('the Meters of addresses', () => {
  it('count each address in the windows it is asked for', async () => {
    const meter = env.ADDRESS_METERS.getByName('addresses-1')
    const login = { name: 'login', period: 'minute' as const, limit: 5, rate: 1, wanted: 3 }
    const lease = (address: string, isolate: string) =>
      meter.lease(address, asking(isolate, 1, { demands: [login], revision: 7 }))
    expect(await lease('192.0.2.1', 'a')).toMatchObject({ grants: [{ count: 3 }], revision: 7, changes: [] })
    expect((await lease('192.0.2.1', 'b')).grants[0]?.count).toBe(2)
    expect((await lease('192.0.2.1', 'c')).grants[0]?.count).toBe(0)
    expect((await lease('192.0.2.2', 'c')).grants[0]?.count).toBe(3)
  })

  it('keep nothing: one that is gone begins anew', async () => {
    const meter = env.ADDRESS_METERS.getByName('addresses-2')
    const login = { name: 'login', period: 'minute' as const, limit: 5, rate: 1, wanted: 5 }
    const lease = (isolate: string) =>
      meter.lease('192.0.2.9', asking(isolate, 1, { demands: [login], revision: 1 }))
    expect((await lease('a')).grants[0]?.count).toBe(5)
    expect((await lease('b')).grants[0]?.count).toBe(0)
    await evictDurableObject(meter)
    expect((await lease('c')).grants[0]?.count).toBe(5)
  })
})
