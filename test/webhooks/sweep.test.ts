import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { allSweeps, onClock, onSweep } from '../../src/data/sweeping'
import { sweep } from '../../src/domains/webhooks/deliveries/sweep'
import type { Sweeper } from '../../src/domains/webhooks/deliveries/sweeper'
import type { Bindings } from '../../src/env'
import { iso, newId } from '../../src/lib/ids'
import { makeWorld, type World } from '../world'
import { connect, deliveriesOf, makeEndpoint, send, settled } from './deliver'
import { eventually } from './receiver'

const waits = { waitUntil: () => {} }
const LATER = 3000

/** An event as a crash right after its commit leaves it: no queue message speaks of it. */
async function strandedEvent(world: World, at = Date.now()): Promise<string> {
  const id = `msg_${newId(at)}`
  await env.DB.prepare(
    `insert into events (tenant_id, id, type, channels, data, timestamp) values (?, ?, 'order.shipped', '[]', '{}', ?)`,
  )
    .bind(world.tenant.id, id, new Date().toISOString())
    .run()
  return id
}

describe('the sweep', { timeout: 60_000 }, () => {
  it('dispatches events that were left behind, not those on their ordinary way', async () => {
    const world = await makeWorld()
    const { receiver } = await connect(world, [{}])
    // What other tests left behind comes before it, hundreds of events, of which a sweep takes the oldest alone.
    await env.DB.prepare('update events set dispatched = 1 where dispatched = 0').run()
    // Of the next minute, so that the service's own sweeper, which looks meanwhile, leaves it alone.
    const at = Date.now() + 60_000
    const id = await strandedEvent(world, at)
    expect(await sweep(env, waits, at)).toBeGreaterThan(0)
    expect(await deliveriesOf(world)).toEqual([])
    // As often as it takes: others may leave events behind meanwhile, and a sweep takes the oldest.
    await eventually(async () => {
      await sweep(env, waits, at + LATER)
      return (await deliveriesOf(world)).length > 0
    }, 30_000)
    expect(await deliveriesOf(world)).toHaveLength(1)
    await eventually(async () => (await receiver.seen()).length === 1)
    const [seen] = await receiver.seen()
    expect(seen?.headers['webhook-id']).toBe(id)
  })

  it('wakes endpoints whose deliveries are overdue, each once, whatever their backlog', async () => {
    const world = await makeWorld()
    const made = await Promise.all([connect(world, [{}]), connect(world, [{}]), connect(world, [{}])])
    for (let n = 0; n < 3; n++) await strandedEvent(world)
    // The deliveries stand, but nobody was told: a crash between the batch and the wake.
    for (const { endpoint } of made)
      await env.DB.prepare(
        `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, next_attempt_at, created_at)
         select tenant_id, substr(id, 5, 30) || ?1, id, type, ?2, 'pending', ?3, ?3 from events
         where tenant_id = ?4 and type = 'order.shipped'`,
      )
        .bind(endpoint.id.slice(-6), endpoint.id, new Date().toISOString(), world.tenant.id)
        .run()
    await env.DB.prepare('update events set dispatched = 1 where tenant_id = ?').bind(world.tenant.id).run()
    const woken: string[] = []
    const ENDPOINTS = {
      getByName: (name: string) => {
        woken.push(name)
        return env.ENDPOINTS.getByName(name)
      },
    }
    await sweep({ ...env, ENDPOINTS: ENDPOINTS as never }, waits)
    expect(woken.filter((name) => name.startsWith(world.tenant.id))).toEqual([])
    await sweep({ ...env, ENDPOINTS: ENDPOINTS as never }, waits, Date.now() + LATER)
    const names = made.map(({ endpoint }) => `${world.tenant.id}/${endpoint.id}`)
    expect(woken.filter((name) => name.startsWith(world.tenant.id)).sort()).toEqual(names.sort())
    for (const { receiver } of made) await eventually(async () => (await receiver.seen()).length === 3)
  })

  it('leaves endpoints alone that wait, are paused or gone', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{ status: 503, headers: { 'retry-after': '600' } }])
    await send(world)
    await settled(world, endpoint.id, (one) => one.attempt_count === 1 && one.next_attempt_at !== null)
    await send(world)
    await eventually(async () => (await deliveriesOf(world)).length === 2)
    const woken: string[] = []
    const ENDPOINTS = { getByName: (name: string) => woken.push(name) }
    await sweep({ ...env, ENDPOINTS: ENDPOINTS as never }, waits, Date.now() + LATER)
    expect(woken.filter((name) => name.startsWith(world.tenant.id))).toEqual([])
  })
})

describe('an object that hangs', { timeout: 20_000 }, () => {
  it('holds up neither what others are owed nor the next sweep for long', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: 'http://127.0.0.1:1025/' })
    await env.DB.prepare(
      `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, next_attempt_at, created_at)
       values (?1, '01970000-0000-7000-8000-000000000001', 'msg_1', 'a.b', ?2, 'pending', ?3, ?3)`,
    )
      .bind(world.tenant.id, endpoint.id, iso(Date.now() - 60_000))
      .run()
    const hangs = { wake: () => new Promise(() => {}), hand: () => new Promise(() => {}) }
    const ENDPOINTS = { idFromName: () => 'id', get: () => hangs, getByName: () => hangs }
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      const sweeping = sweep({ ...env, ENDPOINTS } as unknown as Bindings, { waitUntil: () => {} })
      let undone: number | null = null
      void sweeping.then((count) => {
        undone = count
      })
      for (let n = 0; n < 200 && undone === null; n++) {
        vi.advanceTimersByTime(n > 100 ? 1_000 : 0)
        await scheduler.wait(10)
      }
      expect(undone).toBeGreaterThan(0)
    } finally {
      vi.useRealTimers()
      await env.DB.prepare('delete from deliveries where tenant_id = ?').bind(world.tenant.id).run()
    }
  })
})

describe('the sweeper', { timeout: 20_000 }, () => {
  const alarmOf = (stub: DurableObjectStub<Sweeper>) =>
    runInDurableObject(stub, (_, state) => state.storage.getAlarm())

  /** When something is due by the clock. */
  let due: number | null = null
  onClock(async () => due)

  // What others look at has tests of its own, with a database that knows their tables.
  const others = [...allSweeps()]
  beforeAll(() => (allSweeps() as Map<string, unknown>).clear())
  afterAll(() => {
    for (const [name, look] of others) onSweep(name, look)
  })

  /** A sweeper of one's own whose database answers with `rows`, or throws. */
  async function makeSweeper(rows: () => unknown[]) {
    const stub = env.SWEEPER.getByName(crypto.randomUUID())
    const bound = { raw: async () => rows(), all: async () => ({ results: rows() }) }
    await runInDurableObject(stub, (instance) => {
      const holder = instance as unknown as { env: object }
      holder.env = { ...holder.env, DB: { prepare: () => ({ bind: () => bound }) } }
    })
    return stub
  }

  it('looks again and again while it was told to, then sleeps', async () => {
    const stub = await makeSweeper(() => [])
    expect(await alarmOf(stub)).toBeNull()
    await stub.watch()
    const first = await alarmOf(stub)
    expect(first).toBeGreaterThan(Date.now())
    expect(first).toBeLessThan(Date.now() + 5100)
    expect(await runDurableObjectAlarm(stub)).toBe(true)
    expect(await alarmOf(stub)).not.toBeNull()
    await runInDurableObject(stub, (_, state) => state.storage.put('until', Date.now() - 1))
    expect(await runDurableObjectAlarm(stub)).toBe(true)
    expect(await alarmOf(stub)).toBeNull()
  })

  it('sleeps until something is due by the clock, and is woken before that', async () => {
    const stub = await makeSweeper(() => [])
    await stub.watch()
    await runInDurableObject(stub, (_, state) => state.storage.put('until', Date.now() - 1))
    due = Date.now() + 90_000
    expect(await runDurableObjectAlarm(stub)).toBe(true)
    expect(await alarmOf(stub)).toBe(due)
    await stub.watch()
    expect(await alarmOf(stub)).toBeLessThan(Date.now() + 5_100)
    await runInDurableObject(stub, (_, state) => state.storage.put('until', Date.now() - 1))
    // What is overdue, and can't be done, is looked at each second and not all the time.
    due = Date.now() - 5_000
    expect(await runDurableObjectAlarm(stub)).toBe(true)
    expect(await alarmOf(stub)).toBeGreaterThan(Date.now() + 500)
    due = null
  })

  it('writes a promise down once, however many ask for it, and again before it is too short', async () => {
    const stub = await makeSweeper(() => [])
    const promised = () => runInDurableObject(stub, (_, state) => state.storage.get<number>('until'))
    const promise = (until: number) =>
      runInDurableObject(stub, (_, state) => state.storage.put('until', until))
    const good = Date.now() + 55_000
    await promise(good)
    await stub.watch()
    expect(await promised()).toBe(good)
    expect(await alarmOf(stub)).not.toBeNull()
    await promise(Date.now() + 44_000)
    await stub.watch()
    expect(await promised()).toBeGreaterThan(Date.now() + 55_000)
  })

  it('stays awake while D1 is away, and never throws', async () => {
    const stub = await makeSweeper(() => {
      throw new Error('D1 is away')
    })
    await stub.watch()
    await runInDurableObject(stub, (_, state) => state.storage.put('until', Date.now() - 1))
    for (let n = 0; n < 10; n++) expect(await runDurableObjectAlarm(stub)).toBe(true)
    expect(await alarmOf(stub)).not.toBeNull()
  })
})
