import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { knowRegion } from '../../src/data/objects'
import { OpenStreams } from '../../src/domains/metering/limits/open-streams'
import { Hosts } from '../../src/domains/metering/meter/guests'
import { audit, Streams } from '../../src/domains/metering/meter/streams'
import type { Bindings } from '../../src/env'
import { chatWith } from '../chat/kit'
import { call, callJson, makeWorld, type World } from '../world'

const report = (holder: string, open: number, sequence = 1, life = 'a') => ({ holder, life, sequence, open })
const meterOf = (world: World) => env.METERS.getByName(world.tenant.id)

/** Asks until it is so. */
async function eventually(is: () => Promise<boolean>, ms = 5_000): Promise<void> {
  const until = Date.now() + ms
  while (!(await is())) {
    if (Date.now() > until) throw new Error('in vain')
    await scheduler.wait(20)
  }
}

/** Runs `work` with a gauge in a SQLite of its own. */
const withGauge = (work: (sql: SqlStorage) => void | Promise<void>): Promise<void> =>
  runInDurableObject(env.METERS.getByName(crypto.randomUUID()), (_, state) => work(state.storage.sql))

describe('the gauge', () => {
  it('believes the newest word of a holder, and any of its next life', () =>
    withGauge((sql) => {
      const streams = new Streams(sql)
      streams.take(report('x', 3, 2), 0)
      streams.take(report('x', 9, 1), 0)
      streams.take(report('y', 1), 0)
      expect(streams.open).toBe(4)
      streams.take(report('x', 1, 1, 'b'), 0)
      expect(streams.open).toBe(2)
      streams.take(report('x', 0, 2, 'b'), 0)
      streams.take(report('y', 0, 2), 0)
      expect(streams.open).toBe(0)
      expect(sql.exec('SELECT * FROM streams').toArray()).toEqual([])
    }))

  it('lets a holder have fewer, whatever the limit', () =>
    withGauge((sql) => {
      const streams = new Streams(sql)
      streams.take(report('x', 5), 0)
      expect(streams.fits(report('x', 4, 2), 1)).toBe(true)
      expect(streams.fits(report('x', 6, 2), 6)).toBe(true)
      expect(streams.fits(report('x', 7, 2), 6)).toBe(false)
      expect(streams.fits(report('y', 1), 5)).toBe(false)
    }))

  it('is there after a new start', () =>
    withGauge((sql) => {
      new Streams(sql).take(report('x', 5), 0)
      const again = new Streams(sql)
      expect(again.open).toBe(5)
      again.take(report('x', 4, 2), 0)
      expect(new Streams(sql).open).toBe(4)
    }))

  it('asks who was silent, believes the answer, and those who do not answer as before', () =>
    withGauge(async (sql) => {
      const streams = new Streams(sql)
      for (const holder of ['gone', 'hangs', 'throws', 'fresh']) streams.take(report(holder, 10), 0)
      streams.take(report('fresh', 10, 2), 50_000)
      const asked: string[] = []
      const ask = (holder: string) => {
        asked.push(holder)
        if (holder === 'throws') return Promise.reject(new Error('no'))
        if (holder === 'hangs') return new Promise<never>(() => {})
        return Promise.resolve(report(holder, 0, 1, 'b'))
      }
      await audit(streams, ask, 60_000)
      expect(asked.sort()).toEqual(['gone', 'hangs', 'throws'])
      expect(streams.open).toBe(30)
      asked.length = 0
      await audit(streams, ask, 60_000, 'hangs')
      expect(asked).toEqual(['throws'])
    }))
})

describe('who has guests from a tenant', () => {
  it('is kept over a new start, the latest thousand, until nobody is there any more', () =>
    withGauge((sql) => {
      const hosts = new Hosts(sql)
      for (let i = 0; i < 1_005; i++) hosts.note({ holder: `t/${i}`, tenant_id: 't' }, i)
      hosts.note({ holder: 't/10', tenant_id: 't' }, 2_000)
      const kept = new Hosts(sql)
      expect(kept.all()).toHaveLength(1_000)
      expect(kept.all().some(({ holder }) => holder === 't/4')).toBe(false)
      // Somebody came after it was asked.
      kept.forget('t/10', 1_999)
      kept.forget('t/11', 1_999)
      const left = kept.all().map(({ holder }) => holder)
      expect([left.length, left.includes('t/10'), left.includes('t/11')]).toEqual([999, true, false])
    }))
})

describe('what a holder says', () => {
  /** A Meter that takes what the test lets it, and what it was told. */
  function holding(limit: number) {
    const told: number[] = []
    let open = 0
    const note = (one: { open: number }) => {
      told.push(one.open)
      open = one.open
    }
    const meter = {
      openStream: async (one: { open: number }) => {
        await scheduler.wait(1)
        const admitted = one.open <= limit
        if (admitted) note(one)
        return { admitted, open, limit }
      },
      noteStreams: async (one: { open: number }) => note(one),
    }
    let count = 0
    const bindings = { METERS: { getByName: () => meter } } as unknown as Bindings
    knowRegion(bindings, 't', null)
    const streams = new OpenStreams(bindings, 't', 't/c', () => count)
    const opening = () =>
      streams.admit(() => {
        count += 1
      })
    return { told, streams, opening, known: () => open, count: () => count, close: () => (count -= 1) }
  }

  it('counts in those who are just coming, so that many at once are not too many', async () => {
    const { opening, count, known } = holding(5)
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, opening))
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(5)
    expect(count()).toBe(5)
    await eventually(async () => known() === 5)
  })

  it('is put right where one that was counted in was refused', async () => {
    const { streams, opening, known, count, close } = holding(1)
    await opening()
    await expect(opening()).rejects.toMatchObject({ code: 'rate_limited', status: 429 })
    close()
    await streams.tell()
    expect([known(), count()]).toEqual([0, 0])
    await opening()
    expect(known()).toBe(1)
  })

  it('refuses nobody where the Meter throws or hangs', async () => {
    for (const openStream of [() => Promise.reject(new Error('away')), () => new Promise<never>(() => {})]) {
      const bindings = { METERS: { getByName: () => ({ openStream }) } } as unknown as Bindings
      knowRegion(bindings, 't', null)
      const streams = new OpenStreams(bindings, 't', 't/c', () => 0)
      expect(await streams.admit(() => 'open')).toBe('open')
    }
  })
})

describe('open streams of a tenant', { timeout: 30_000 }, () => {
  const echo = { name: 'Echo', kind: 'echo' }
  const use = async (world: World, window: string) => {
    const { data } = await callJson<{ windows: { window: string }[] }>('GET', '/api/v1/usage/limits', {
      token: world.admin.token,
    })
    return data.windows.find((one) => one.window === window)
  }
  const openUse = async (world: World) => (await meterOf(world).streamUse()).open

  it('are as many as the plan says, over all chats, streams and sockets', async () => {
    const world = await makeWorld({ rate_limits: { open_streams: 3, requests_per_minute: 40 } })
    const chats = [await chatWith(world, echo), await chatWith(world, echo)]
    const [first, second] = chats
    if (!first || !second) throw new Error('no chats')
    const stream = await first.follow()
    const socket = await first.socket()
    const other = await second.follow()
    await Promise.all([stream.next(), socket.until('snapshot'), other.next()])
    expect(await openUse(world)).toBe(3)

    const before = await use(world, 'minute')
    const refused = await callJson('GET', `${second.path}/stream`, { token: world.admin.token })
    expect([refused.status, refused.error.code, refused.error.details]).toEqual([
      429,
      'rate_limited',
      { window: 'open_streams', limit: 3, remaining: 0, retry_after: 10 },
    ])
    const fields = [
      'Retry-After',
      'X-RateLimit-Limit',
      'X-RateLimit-Remaining',
      'X-RateLimit-Reset',
      'RateLimit',
    ]
    expect(fields.map((name) => refused.headers.get(name))).toEqual([
      ...['10', '3', '0', '10'],
      '"open_streams";r=0;t=10',
    ])
    expect(refused.headers.get('RateLimit-Policy')).toBe('"open_streams";q=3;qu="concurrent-requests"')
    const wss = await call('GET', `${second.path}/ws`, {
      token: world.admin.token,
      headers: { Upgrade: 'websocket' },
    })
    expect(wss.status).toBe(429)
    // Opening is no request of the minute.
    expect(await use(world, 'minute')).toEqual({ ...before, resets: expect.any(Number) })
    expect(await use(world, 'open_streams')).toMatchObject({ limit: 3, used: 3, remaining: 0 })

    // One that leaves makes room for another.
    socket.ws.close()
    await eventually(async () => (await openUse(world)) === 2)
    const again = await second.follow()
    await again.next()
    expect(await openUse(world)).toBe(3)
  })

  it('do not leak when their object crashes', async () => {
    const world = await makeWorld({ rate_limits: { open_streams: 2 } })
    const chat = await chatWith(world, echo)
    // What a room said that was killed with its sockets, and a Meter that has heard nothing since.
    await meterOf(world).noteStreams(report(chat.name, 2, 7, 'a life that ended'))
    await evictDurableObject(meterOf(world))
    const other = await chatWith(world, echo)
    const stream = await other.follow()
    expect((await stream.next())?.type).toBe('snapshot')
    expect(await openUse(world)).toBe(1)
  })

  it('survive a new start of the Meter, and of the room that holds them', async () => {
    const world = await makeWorld({ rate_limits: { open_streams: 1 } })
    const chat = await chatWith(world, echo)
    const socket = await chat.socket()
    await socket.until('snapshot')
    await evictDurableObject(meterOf(world))
    await evictDurableObject(env.CHATS.getByName(chat.name))
    expect(await openUse(world)).toBe(1)
    const refused = await call('GET', `${chat.path}/stream`, { token: world.admin.token })
    expect(refused.status).toBe(429)
    await refused.arrayBuffer()
  })
})
