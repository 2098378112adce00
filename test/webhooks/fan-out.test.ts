import { createExecutionContext, createMessageBatch, getQueueResult } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import { fanOut } from '../../src/domains/webhooks/deliveries/fan-out'
import { consume } from '../../src/domains/webhooks/deliveries/queue'
import { matches } from '../../src/domains/webhooks/endpoints/subscription'
import type { EventNudge } from '../../src/env'
import worker from '../../src/index'
import { newId } from '../../src/lib/ids'
import { makeWorld, requestContext, type World } from '../world'
import { connect, deliveriesOf, makeEndpoint } from './deliver'

/** An event that no queue message speaks of. */
async function silentEvent(
  world: World,
  event: { type: string; channels?: string[]; data?: unknown },
): Promise<string> {
  const id = `msg_${newId(Date.now())}`
  const EVENTS_QUEUE = { send: async () => {} } as never
  const request = requestContext({ env: { ...env, EVENTS_QUEUE } })
  const ctx = { ...world.ctx, ...request }
  return commit(ctx, { statements: [], events: [{ data: {}, ...event, id }], result: id })
}

const URL = 'http://127.0.0.1:1025/'
const paused = (world: World, input: Record<string, unknown>) =>
  makeEndpoint(world, { url: URL, status: 'paused', ...input })

const reached = async (world: World, eventId: string) =>
  (await deliveriesOf(world, `event_id=${eventId}`)).map(({ endpoint_id }) => endpoint_id).sort()

describe('fan-out', { timeout: 20_000 }, () => {
  it('goes to the endpoints whose patterns take the type', async () => {
    const world = await makeWorld()
    const patterns = ['*', 'a.b', 'a.*', 'a.b.*', 'a.b.c', 'ab.*', 'b.*', 'A.B', 'a.bc']
    const made = new Map<string, string>()
    for (const pattern of patterns)
      made.set(pattern, (await paused(world, { event_types: ['x.y', pattern] })).id)
    for (const type of ['a.b', 'a.b.c', 'a', 'ab.c', 'b.x.y']) {
      const id = await silentEvent(world, { type })
      await fanOut(world.ctx, [id])
      const wanted = patterns.filter((pattern) => matches(pattern, type)).map((pattern) => made.get(pattern))
      expect(await reached(world, id), type).toEqual(wanted.sort())
    }
    expect(patterns.filter((pattern) => matches(pattern, 'a.b'))).toEqual(['*', 'a.b', 'a.*'])
    expect(patterns.filter((pattern) => matches(pattern, 'a.b.c'))).toEqual(['*', 'a.*', 'a.b.*', 'a.b.c'])
  })

  it('goes to endpoints of a channel only if the event is of it', async () => {
    const world = await makeWorld()
    const all = await paused(world, { event_types: ['*'] })
    const x = await paused(world, { event_types: ['*'], channels: ['x', 'z'] })
    const of = async (channels: string[]) => {
      const id = await silentEvent(world, { type: 'a.b', channels })
      await fanOut(world.ctx, [id])
      return reached(world, id)
    }
    expect(await of([])).toEqual([all.id])
    expect(await of(['y'])).toEqual([all.id])
    expect(await of(['y', 'x'])).toEqual([all.id, x.id].sort())
    expect(await of(['x', 'z'])).toEqual([all.id, x.id].sort())
  })

  it('makes a delivery once for an event and an endpoint, however often and at once it runs', async () => {
    const world = await makeWorld()
    const endpoint = await paused(world, { event_types: ['a.*'] })
    const ids = await Promise.all([1, 2, 3].map(() => silentEvent(world, { type: 'a.b' })))
    await Promise.all(Array.from({ length: 8 }, () => fanOut(world.ctx, ids)))
    // A repeat after a crash between the deliveries and the mark finds the event not dispatched.
    await env.DB.prepare('update events set dispatched = 0 where tenant_id = ?').bind(world.tenant.id).run()
    await fanOut(world.ctx, ids)
    for (const id of ids) expect(await reached(world, id)).toEqual([endpoint.id])
    const all = await deliveriesOf(world)
    expect(all).toHaveLength(3)
    expect(new Set(all.map(({ id }) => id)).size).toBe(3)
  })

  it('makes no delivery anew for an endpoint that came after the event was dispatched', async () => {
    const world = await makeWorld()
    const id = await silentEvent(world, { type: 'a.b' })
    await fanOut(world.ctx, [id])
    await paused(world, { event_types: ['a.*'] })
    expect(await fanOut(world.ctx, [id])).toEqual([])
    expect(await reached(world, id)).toEqual([])
  })

  it('names the endpoints that have something to send, also when it is repeated', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{ does: 'hang' }])
    await paused(world, {})
    const id = await silentEvent(world, { type: 'order.shipped' })
    expect(await fanOut(world.ctx, [id])).toEqual([endpoint.id])
    expect(await fanOut(world.ctx, [id])).toEqual([endpoint.id])
  })

  it('does not tell an endpoint of itself', async () => {
    const world = await makeWorld()
    const itself = await paused(world, { event_types: ['endpoint.*'] })
    const other = await paused(world, { event_types: ['endpoint.*'] })
    const id = await silentEvent(world, { type: 'endpoint.disabled', data: { endpoint_id: itself.id } })
    await fanOut(world.ctx, [id])
    expect(await reached(world, id)).toEqual([other.id])
  })

  it('reaches no endpoint of another tenant, whatever a message says', async () => {
    const mine = await makeWorld()
    const theirs = await makeWorld()
    await paused(theirs, { event_types: ['a.*'] })
    const id = await silentEvent(mine, { type: 'a.b' })
    await fanOut(theirs.ctx, [id])
    expect(await deliveriesOf(theirs)).toEqual([])
    const row = await env.DB.prepare('select dispatched from events where id = ?').bind(id).first()
    expect(row).toEqual({ dispatched: 0 })
  })
})

describe('the queue', { timeout: 20_000 }, () => {
  const batch = (queue: string, bodies: EventNudge[]) =>
    createMessageBatch<EventNudge>(
      queue,
      bodies.map((body, i) => ({ id: String(i), timestamp: new Date(), attempts: 1, body })),
    )

  it('takes nudges of several tenants at once', async () => {
    const worlds = [await makeWorld(), await makeWorld()]
    const nudges: EventNudge[] = []
    for (const world of worlds) {
      await paused(world, { event_types: ['a.*'] })
      for (let i = 0; i < 3; i++)
        nudges.push({ tenant_id: world.tenant.id, event_ids: [await silentEvent(world, { type: 'a.b' })] })
    }
    const messages = batch('causeway-events', nudges)
    const ctx = createExecutionContext()
    await worker.queue(messages, env, ctx)
    expect((await getQueueResult(messages, ctx)).explicitAcks).toHaveLength(6)
    for (const world of worlds) expect(await deliveriesOf(world)).toHaveLength(3)
  })

  it('takes the nudges of a tenant again where that failed, and of none other', async () => {
    const world = await makeWorld()
    await paused(world, { event_types: ['a.*'] })
    const good = { tenant_id: world.tenant.id, event_ids: [await silentEvent(world, { type: 'a.b' })] }
    const bad = { tenant_id: 'broken', event_ids: ['msg_1'] }
    const DB = new Proxy(env.DB, {
      get: (target, name) =>
        name === 'prepare'
          ? (sql: string) => {
              const statement = target.prepare(sql)
              const bind = (...params: unknown[]) => {
                if (params.includes('broken')) throw new Error('D1 is away')
                return statement.bind(...params)
              }
              return { bind }
            }
          : Reflect.get(target, name).bind(target),
    })
    const messages = batch('causeway-events', [bad, good])
    const ctx = createExecutionContext()
    await consume(messages, { ...env, DB }, ctx)
    const result = await getQueueResult(messages, ctx)
    expect(result.explicitAcks).toEqual(['1'])
    expect(result.retryMessages).toMatchObject([{ msgId: '0' }])
    expect(await deliveriesOf(world)).toHaveLength(1)
  })

  it('records dead letters and lets them go', async () => {
    const messages = batch('causeway-events-dead', [{ tenant_id: 't', event_ids: ['msg_1'] }])
    const ctx = createExecutionContext()
    await worker.queue(messages, env, ctx)
    expect((await getQueueResult(messages, ctx)).ackAll).toBe(true)
  })
})
