import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { describe, expect, it, vi } from 'vitest'
import { commit } from '../../src/data/commit'
import type { Bindings } from '../../src/env'
import { log } from '../../src/lib/log'
import { problem } from '../../src/lib/problem'
import { Isolate } from '../identity/isolates'
import { callJson, makeWorld, requestContext, type World } from '../world'
import { connect, deliveriesOf, makeEndpoint, pass, readDelivery, send, settled } from './deliver'
import { eventually, makeReceiver } from './receiver'

// What others' webhook services had to fix lately, as cases of ours. Those that have their place elsewhere:
//   racing idempotency keys                    test/events/events.test.ts, test/metering/idempotency.test.ts
//   a retry by hand that is swallowed          test/webhooks/sender.test.ts
//   a huge answer that breaks the log          test/webhooks/faults.test.ts
//   rotated-out secrets that are kept          test/webhooks/rotation.test.ts, signing-keys.test.ts
//   IPv6 forms that get past the filter        test/webhooks/addresses.test.ts, test/lib/safe-url.test.ts

const as = <T = unknown>(world: World, method: string, path: string, body?: unknown) =>
  callJson<T>(method, `/api/v1${path}`, { token: world.developer.token, body })

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe('an endpoint that was changed', { timeout: 30_000 }, () => {
  it('gets the next event as it is now, however often it changes', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    await send(world)
    await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    for (let n = 0; n < 6; n++) {
      const next = await makeReceiver({})
      const headers = { 'X-Turn': `turn ${n}` }
      const changed = await as(world, 'PATCH', `/webhooks/${endpoint.id}`, { url: next.url, headers })
      expect(changed.status).toBe(200)
      const id = await send(world)
      const [seen] = await eventually(async () => {
        const all = await next.seen()
        return all.length > 0 && all
      })
      expect(seen?.headers).toMatchObject({ 'webhook-id': id, 'x-turn': `turn ${n}` })
    }
    expect(await receiver.seen()).toHaveLength(1)
  })

  it('takes no type that it no longer wants, and every one that it wants now', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}], { event_types: ['a.one'] })
    const wanted: string[] = []
    for (const type of ['a.two', 'a.three', 'a.two']) {
      await as(world, 'PATCH', `/webhooks/${endpoint.id}`, { event_types: [type] })
      for (const sent of ['a.one', 'a.two', 'a.three']) {
        const id = await send(world, sent)
        if (sent === type) wanted.push(id)
      }
      // Who gets an event is settled a moment after it was accepted, by what the endpoint wants then.
      await eventually(async () => {
        const waiting = env.DB.prepare('select 1 from events where tenant_id = ? and dispatched = 0')
        return (await waiting.bind(world.tenant.id).first()) === null
      })
    }
    await eventually(async () => (await receiver.seen()).length >= wanted.length)
    await pause(100)
    const came = (await receiver.seen()).map(({ headers }) => headers['webhook-id'])
    expect(came.sort()).toEqual(wanted.sort())
  })
})

describe('an endpoint that was disabled or deleted', { timeout: 40_000 }, () => {
  it.each([
    ['paused', 'POST', '/pause', 200],
    ['deleted', 'DELETE', '', 204],
  ])('%s amid a stream of events gets no request after the answer', async (_, method, path, status) => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ delay_ms: 5 }])
    let on = true
    const stream = (async () => {
      while (on) await Promise.all([send(world), send(world), send(world)])
    })()
    await eventually(async () => (await receiver.seen()).length > 10)
    const stopped = await as(world, method, `/webhooks/${endpoint.id}${path}`)
    const answered = Date.now()
    expect(stopped.status).toBe(status)
    await pause(300)
    on = false
    await stream
    await pause(300)
    const after = (await receiver.seen()).filter(({ at }) => at > answered + 50)
    expect(after).toEqual([])
    const open = await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=pending`)
    expect(open).toEqual([])
  })
})

describe('an attempt', { timeout: 30_000 }, () => {
  it('either succeeded or failed, in its log, in its delivery and in what follows', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [
      { does: 'reset-body', status: 200 },
      { status: 200 },
      { status: 200, headers: { 'webhook-delivery': 'abort-message' } },
    ])
    const id = await send(world)
    await settled(world, endpoint.id, (one) => one.attempt_count === 1 && one.status === 'pending')
    await pass(world, endpoint.id)
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    expect(delivery.attempts.map(({ response_status, error }) => [response_status, error === null])).toEqual([
      [200, false],
      [200, true],
    ])
    expect(delivery).toMatchObject({ attempt_count: 2, next_attempt_at: null, event_id: id })
    expect(Date.parse(delivery.delivered_at ?? '')).toBeGreaterThan(0)
    await pass(world, endpoint.id)
    await pause(100)
    expect(await receiver.seen()).toHaveLength(2)
    // What stands is one row, and it stays: a success with words for a failure is a success.
    await as(world, 'POST', `/deliveries/${delivery.id}/retry`)
    const again = await eventually(async () => {
      const one = await readDelivery(world, delivery.id)
      return one.attempt_count === 3 && one.status !== 'pending' && one
    })
    expect([again.status, again.attempts[2]?.error]).toEqual(['delivered', null])
  })

  it('that failed after one that succeeded is not both: the delivery says how the last one ended', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}, { status: 500 }, {}])
    await send(world)
    const { id } = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    await as(world, 'POST', `/deliveries/${id}/retry`)
    const failed = await eventually(async () => {
      const one = await readDelivery(world, id)
      return one.attempt_count === 2 && one.next_attempt_at !== null && one
    })
    expect(failed.status).toBe('pending')
    expect(failed.attempts.map(({ error }) => error)).toEqual([null, 'status: answered 500'])
    await pass(world, endpoint.id)
    const done = await settled(world, endpoint.id, ({ attempt_count }) => attempt_count === 3)
    expect(done.status).toBe('delivered')
  })
})

describe('how an endpoint fares', { timeout: 30_000 }, () => {
  it('is counted for itself: another tenant’s failures, under the same name and URL, are not its own', async () => {
    const [one, other] = [await makeWorld(), await makeWorld()]
    const broken = await makeReceiver({ status: 500 })
    const [failing, same] = [
      await makeEndpoint(one, { uid: 'billing', url: broken.url }),
      await makeEndpoint(other, { uid: 'billing', url: broken.url }),
    ]
    // Nine in the one and one in the other make ten only where they are counted together.
    for (let n = 0; n < 9; n++) await send(one, 'order.shipped', { n })
    await eventually(async () => (await broken.seen()).length === 9)
    await send(other)
    await settled(other, same.id, ({ attempt_count }) => attempt_count === 1)
    const statusOf = async (world: World, id: string) =>
      (await as<{ status: string }>(world, 'GET', `/webhooks/${id}`)).data.status
    expect(await statusOf(other, same.id)).toBe('active')
    expect(await statusOf(one, failing.id)).toBe('active')
    // The tenth is its own.
    await send(one)
    await eventually(async () => (await statusOf(one, failing.id)) === 'degraded')
    expect(await statusOf(other, same.id)).toBe('active')
    const told = async (world: World) =>
      (await as<unknown[]>(world, 'GET', '/events?type=endpoint.degraded')).data.length
    expect([await told(one), await told(other)]).toEqual([1, 0])
  })
})

describe('an event', { timeout: 20_000 }, () => {
  it('is in the queue only after it is in the database, and never where its change was refused', async () => {
    const world = await makeWorld()
    const order: string[] = []
    const EVENTS_QUEUE = {
      send: async ({ event_ids }: { event_ids: string[] }) => {
        for (const id of event_ids) {
          const row = await env.DB.prepare('select id from events where id = ?').bind(id).first()
          order.push(row ? 'there' : 'not there')
        }
      },
      sendBatch: async (all: { body: { event_ids: string[] } }[]) => {
        for (const { body } of all) await EVENTS_QUEUE.send(body)
      },
    }
    const bindings = { ...env, EVENTS_QUEUE } as unknown as Bindings
    const deferred: Promise<unknown>[] = []
    const ctx = {
      ...world.ctx,
      ...requestContext({ env: bindings, defer: (work) => void deferred.push(work) }),
    }
    // What other tests have sent may take along what is sent beside it.
    await pause(600)
    const event = { type: 'order.shipped', data: { n: 1 } }
    const refusal = problem('conflict', 'refused')
    const refused = commit(ctx, {
      statements: [{ holds: sql`1 = 0`, otherwise: refusal }],
      events: [event],
      result: null,
    })
    await expect(refused).rejects.toBe(refusal)
    expect([deferred.length, order]).toEqual([0, []])
    await commit(ctx, { statements: [], events: [event, event], result: null })
    await Promise.all(deferred)
    expect(order).toEqual(['there', 'there'])
  })
})

describe('the log of the service', { timeout: 20_000 }, () => {
  it('holds no secret and no word of a payload, whatever goes wrong', async () => {
    const world = await makeWorld()
    const lines: string[] = []
    const spies = (['log', 'warn', 'error'] as const).map((name) =>
      vi.spyOn(console, name).mockImplementation((line) => void lines.push(String(line))),
    )
    try {
      const isolate = new Isolate({ LOG_LEVEL: 'debug' } as object)
      const { token } = world.developer
      const receiver = await makeReceiver({ does: 'reset' }, { status: 500 })
      const url = `${receiver.url}&token=word-of-the-url`
      const headers = { Authorization: 'Bearer word-of-the-header' }
      const made = await isolate.ask('POST', '/api/v1/webhooks', {
        ...{ token, body: { url, headers, event_types: ['order.shipped'] } },
      })
      const { data } = (await made.json()) as { data: { id: string; secret: string } }
      const body = { type: 'order.shipped', data: { text: 'word-of-the-payload' } }
      const attempts = () =>
        env.DB.prepare('select sum(attempt_count) as n from deliveries where tenant_id = ?')
          .bind(world.tenant.id)
          .first<number>('n')
      for (let n = 1; n <= 2; n++) {
        await isolate.ask('POST', '/api/v1/events', { token, body })
        await eventually(async () => (await attempts()) === n)
      }
      // What was sealed for nobody can't be opened, and that is logged.
      await env.DB.prepare(
        `update endpoints set secrets = '[{"sealed":"v1.x.y"}]', version = version + 1 where id = ?`,
      )
        .bind(data.id)
        .run()
      await isolate.ask('POST', '/api/v1/events', { token, body })
      await eventually(async () => lines.some((line) => line.includes('drain_failed')))
      const all = lines.join('\n')
      expect(lines.length).toBeGreaterThan(2)
      for (const word of [data.secret, data.secret.slice(6), 'word-of-the', token])
        expect(all).not.toContain(word)
    } finally {
      for (const spy of spies) spy.mockRestore()
      log.setLevel('silent')
      // What can't be opened would be found by who seals everything anew.
      for (const table of ['deliveries', 'endpoints'])
        await env.DB.prepare(`delete from ${table} where tenant_id = ?`).bind(world.tenant.id).run()
    }
  })
})
