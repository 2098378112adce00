import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import { fanOut } from '../../src/domains/webhooks/deliveries/fan-out'
import type { FilterTested } from '../../src/domains/webhooks/endpoints/filter-schema'
import type { Endpoint } from '../../src/domains/webhooks/endpoints/schema'
import { newId } from '../../src/lib/ids'
import { callJson, makeWorld, requestContext, type World } from '../world'
import { connect, deliveriesOf, makeEndpoint, send, settled } from './deliver'

const URL = 'http://127.0.0.1:1025/'
const paused = (world: World, input: Record<string, unknown>) =>
  makeEndpoint(world, { url: URL, status: 'paused', ...input })
const atLeast = (gte: number) => ({ path: 'n', compare: { gte } })

/** An event that no queue message speaks of. */
async function silent(world: World, data: unknown, more: object = {}): Promise<string> {
  // Too young for any sweep, also for one of another test that is hours ahead: it would make its deliveries too.
  const id = `msg_${newId(Date.now() + 365 * 86_400_000)}`
  const EVENTS_QUEUE = { send: async () => {} } as never
  const ctx = { ...world.ctx, ...requestContext({ env: { ...env, EVENTS_QUEUE } }) }
  return commit(ctx, {
    ...{ statements: [], result: id },
    events: [{ type: 'order.shipped', data, ...more, id }],
  })
}

const reached = async (world: World, eventId: string) =>
  (await deliveriesOf(world, `event_id=${eventId}`)).map(({ endpoint_id }) => endpoint_id).sort()
const isDispatched = (id: string) =>
  env.DB.prepare('select dispatched from events where id = ?').bind(id).first<number>('dispatched')

/** The tenant's context with an R2, or a D1, of which something goes otherwise. */
const withEnv = (world: World, changed: object) => ({
  ...world.ctx,
  ...requestContext({ env: { ...world.ctx.env, ...changed } }),
})

describe('an endpoint with a filter', { timeout: 30_000 }, () => {
  it('gets the events that it lets pass, wherever their payloads are kept', async () => {
    const world = await makeWorld()
    const all = await paused(world, {})
    const some = await paused(world, {
      filter: { and: [atLeast(5), { not: { path: 'skip', equals: true } }] },
    })
    const text = 'x'.repeat(40_000)
    const cases: [object, boolean][] = [
      [{ n: 5 }, true],
      [{ n: 4 }, false],
      [{ n: 7, skip: true }, false],
      [{ n: 6, text }, true],
      [{ n: 1, text }, false],
      [{ text, n: 9, skip: false }, true],
    ]
    const ids: string[] = []
    for (const [data] of cases) ids.push(await silent(world, data))
    const kept = await env.DB.prepare('select count(data_key) as large from events where tenant_id = ?')
      .bind(world.tenant.id)
      .first('large')
    expect(kept).toBe(3)
    await fanOut(world.ctx, ids)
    for (const [i, [, passes]] of cases.entries()) {
      expect(await reached(world, ids[i] ?? '')).toEqual(passes ? [all.id, some.id].sort() : [all.id])
      expect(await isDispatched(ids[i] ?? '')).toBe(1)
    }
    expect(await fanOut(world.ctx, ids)).toEqual([])
    expect(await deliveriesOf(world, 'limit=100')).toHaveLength(9)
  })

  it('really gets them, and no others', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}], {
      filter: { path: 'country', in: ['DE', 'FR'] },
    })
    for (const country of ['US', 'DE', 'GB']) await send(world, 'order.shipped', { country })
    await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    const seen = (await receiver.seen()).map(({ body }) => (JSON.parse(body) as { data: unknown }).data)
    expect(seen).toEqual([{ country: 'DE' }])
  })

  it('is asked by the filter that it has when the delivery is made, not by one that was read before', async () => {
    const world = await makeWorld()
    const one = await paused(world, { filter: atLeast(5) })
    const id = await silent(world, { n: 3, text: 'x'.repeat(20_000) })
    let looks = 0
    // While the payload is fetched to ask the filter, the filter changes.
    const FILES = {
      get: async (key: string) => {
        looks += 1
        if (looks === 1) {
          const body = { filter: atLeast(2) }
          const changed = await callJson<Endpoint>('PATCH', `/api/v1/webhooks/${one.id}`, {
            ...{ token: world.developer.token, body },
          })
          expect(changed.data.filter).toEqual(atLeast(2))
          await paused(world, { uid: 'new', filter: atLeast(3) })
          await paused(world, { uid: 'other', filter: atLeast(4) })
          await paused(world, { uid: 'free' })
        }
        return env.FILES.get(key)
      },
    }
    await fanOut(withEnv(world, { FILES }), [id])
    expect(looks).toBe(2)
    const uids = await callJson<Endpoint[]>('GET', '/api/v1/webhooks', { token: world.developer.token })
    const byId = new Map(uids.data.map((each) => [each.id, each.uid]))
    const found = (await reached(world, id)).map((each) => byId.get(each))
    expect(found.sort()).toEqual(['free', 'new', null])
    expect(await isDispatched(id)).toBe(1)
  })

  it('whose filter changes all the time keeps the event for the sweep, and nobody else’s delivery', async () => {
    const world = await makeWorld()
    const free = await paused(world, {})
    const one = await paused(world, { filter: atLeast(5) })
    const id = await silent(world, { n: 9, text: 'x'.repeat(20_000) })
    const FILES = {
      get: async (key: string) => {
        await env.DB.prepare('update endpoints set version = version + 1 where id = ?').bind(one.id).run()
        return env.FILES.get(key)
      },
    }
    await fanOut(withEnv(world, { FILES }), [id])
    expect(await reached(world, id)).toEqual([free.id])
    expect(await isDispatched(id)).toBe(0)
    await fanOut(world.ctx, [id])
    expect(await reached(world, id)).toEqual([free.id, one.id].sort())
    expect(await isDispatched(id)).toBe(1)
  })

  it('waits while payloads can’t be read, and the others do not', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{ does: 'hang' }])
    const one = await paused(world, { filter: atLeast(5) })
    const id = await silent(world, { n: 9, text: 'x'.repeat(20_000) })
    const FILES = { get: () => Promise.reject(new Error('R2 is away')) }
    expect(await fanOut(withEnv(world, { FILES }), [id])).toEqual([endpoint.id])
    expect(await isDispatched(id)).toBe(0)
    await fanOut(world.ctx, [id])
    expect(await reached(world, id)).toEqual([endpoint.id, one.id].sort())
  })

  it('gets nothing of which the payload is gone, which holds nothing up', async () => {
    const world = await makeWorld()
    const free = await paused(world, {})
    await paused(world, { filter: { path: 'n', exists: false } })
    const id = await silent(world, { n: 9 })
    await env.DB.prepare('update events set data = null where id = ?').bind(id).run()
    await fanOut(world.ctx, [id])
    expect(await reached(world, id)).toEqual([free.id])
    expect(await isDispatched(id)).toBe(1)
  })

  it('is one of many, before many events: each pair is decided once', async () => {
    const world = await makeWorld()
    const made: Endpoint[] = []
    for (let i = 0; i < 12; i++) made.push(await paused(world, { filter: atLeast(i) }))
    const ids = await Promise.all(Array.from({ length: 60 }, (_, n) => silent(world, { n: n % 14 })))
    await Promise.all([fanOut(world.ctx, ids), fanOut(world.ctx, ids)])
    const { results } = await env.DB.prepare(
      'select endpoint_id, count(*) as count from deliveries where tenant_id = ? group by endpoint_id',
    )
      .bind(world.tenant.id)
      .all<{ endpoint_id: string; count: number }>()
    const counts = new Map(results.map(({ endpoint_id, count }) => [endpoint_id, count]))
    const wanted = (least: number) =>
      Array.from({ length: 60 }, (_, n) => n % 14).filter((n) => n >= least).length
    expect(made.map(({ id }) => counts.get(id))).toEqual(made.map((_, i) => wanted(i)))
    const left = await env.DB.prepare(
      `select count(*) as left from events where tenant_id = ? and dispatched = 0
       and id in (select value from json_each(?))`,
    )
      .bind(world.tenant.id, JSON.stringify(ids))
      .first('left')
    expect(left).toBe(0)
  })

  it('costs a tenant that has none not one statement more', async () => {
    const world = await makeWorld()
    await paused(world, {})
    const id = await silent(world, { n: 1 })
    let batches = 0
    const DB = new Proxy(env.DB, {
      get: (target, name) =>
        name === 'batch'
          ? (list: D1PreparedStatement[]) => {
              batches += 1
              return target.batch(list)
            }
          : Reflect.get(target, name).bind(target),
    })
    const { tenantDatabase } = await import('../../src/data/database')
    const ctx = withEnv(world, { DB })
    await fanOut({ ...ctx, db: tenantDatabase(ctx.env, world.tenant.id) }, [id])
    expect(batches).toBe(1)
    expect(await isDispatched(id)).toBe(1)
  })
})

describe('a filter on its way in', { timeout: 20_000 }, () => {
  const create = (world: World, filter: unknown) =>
    callJson<Endpoint>('POST', '/api/v1/webhooks', {
      ...{ token: world.developer.token, body: { url: 'https://example.com/', event_types: ['*'], filter } },
    })

  it.each([
    [{ path: 'a', matches: 'x' }, ['filter.matches']],
    [
      {
        and: [
          { path: 'a', equals: 1 },
          { path: '', in: [] },
        ],
      },
      ['filter.and.1.path', 'filter.and.1.in'],
    ],
    [[], ['filter']],
    ['a > 1', ['filter']],
    [{}, ['filter']],
  ])('is refused where it is none, by its place: %j', async (filter, places) => {
    const world = await makeWorld()
    const refused = await create(world, filter)
    expect(refused.status).toBe(422)
    expect(Object.keys(refused.error.details.fields ?? {})).toEqual(places)
    const { id } = await makeEndpoint(world, { url: URL })
    const changed = await callJson('PATCH', `/api/v1/webhooks/${id}`, {
      token: world.developer.token,
      body: { filter },
    })
    expect(Object.keys(changed.error.details.fields ?? {})).toEqual(places)
  })

  it('is shown, on record, and taken away by null', async () => {
    const world = await makeWorld()
    const filter = { path: ['a.b', 'c'], equals: 'x' }
    const { data } = await create(world, filter)
    expect(data.filter).toEqual(filter)
    const token = world.developer.token
    const gone = await callJson<Endpoint>('PATCH', `/api/v1/webhooks/${data.id}`, {
      token,
      body: { filter: null },
    })
    expect(gone.data.filter).toBe(null)
    const { results } = await env.DB.prepare(
      "select after from audit_log where tenant_id = ? and action like 'endpoint.%' order by seq",
    )
      .bind(world.tenant.id)
      .all<{ after: string }>()
    expect(results.map(({ after }) => (JSON.parse(after) as Endpoint).filter)).toEqual([filter, null])
  })
})

describe('a filter that is tried', { timeout: 20_000 }, () => {
  const test = (world: World, path: string, body: unknown, token = world.viewer.token) =>
    callJson<FilterTested>('POST', `/api/v1/webhooks${path}/filter/test`, { token, body })

  it('says which of the last events it would let pass, and where it says no', async () => {
    const world = await makeWorld()
    const ids: string[] = []
    for (const n of [1, 9]) ids.unshift(await send(world, 'order.shipped', { n, text: 'x'.repeat(n * 3000) }))
    ids.unshift(await send(world, 'order.lost', { n: 7 }))
    const filter = { and: [{ path: 'n', exists: true }, atLeast(5)] }
    const { data } = await test(world, '', { filter, limit: 3 })
    expect(data).toMatchObject({ looked_at: 3, passed: 2 })
    expect(
      data.events.map(({ id, passes, refused_by, refused_at }) => [id, passes, refused_by, refused_at]),
    ).toEqual([
      [ids[0], true, null, null],
      [ids[1], true, null, null],
      [ids[2], false, 'filter', 'filter.and.1'],
    ])
    const ofType = await test(world, '', { filter, type: 'order.shipped' })
    expect(ofType.data).toMatchObject({ looked_at: 2, passed: 1 })
    expect((await test(world, '', { filter, limit: 1 })).data).toMatchObject({ looked_at: 1, passed: 1 })
  })

  it('says of an endpoint what it takes: by types, channels, its own filter, or another', async () => {
    const world = await makeWorld()
    const { id } = await makeEndpoint(world, { url: URL, channels: ['x'], filter: atLeast(5) })
    await send(world, 'order.lost', { n: 7 })
    await send(world, 'order.shipped', { n: 7 })
    await send(world, 'order.shipped', { n: 7 }, { channels: ['x'] })
    await send(world, 'order.shipped', { n: 1 }, { channels: ['x'] })
    const reasons = async (body: unknown) =>
      (await test(world, `/${id}`, { limit: 4, ...(body as object) })).data.events.map(
        ({ refused_by }) => refused_by,
      )
    expect(await reasons({})).toEqual(['filter', null, 'channels', 'event_types'])
    expect(await reasons({ filter: null })).toEqual([null, null, 'channels', 'event_types'])
    expect(await reasons({ filter: atLeast(8) })).toEqual(['filter', 'filter', 'channels', 'event_types'])
    const empty = await test(world, `/${id}`, undefined)
    expect(empty.data.events.map(({ refused_by }) => refused_by).slice(0, 2)).toEqual(['filter', null])
    const { data } = await callJson<Endpoint>('GET', `/api/v1/webhooks/${id}`, { token: world.viewer.token })
    expect(data.filter).toEqual(atLeast(5))
  })

  it.each([
    [{}, 'filter'],
    [{ filter: null }, 'filter'],
    [{ filter: { path: 'a' } }, 'filter'],
    [{ filter: atLeast(1), limit: 51 }, 'limit'],
    [{ filter: atLeast(1), type: 'a..b' }, 'type'],
  ])('is refused with %j', async (body, field) => {
    const world = await makeWorld()
    const refused = await test(world, '', body)
    expect([refused.status, Object.keys(refused.error.details.fields ?? {})]).toEqual([422, [field]])
  })
})
