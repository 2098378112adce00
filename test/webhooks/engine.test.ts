import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { loadDue } from '../../src/domains/webhooks/deliveries/due'
import type { EndpointSender } from '../../src/domains/webhooks/deliveries/object'
import type { Endpoint } from '../../src/domains/webhooks/endpoints/schema'
import { callJson, makeWorld, requestContext, type World } from '../world'
import { connect, deliveriesOf, makeEndpoint, readDelivery, send, settled, wake } from './deliver'
import { eventually } from './receiver'

const senderOf = (world: World, endpointId: string): DurableObjectStub<EndpointSender> =>
  env.ENDPOINTS.getByName(`${world.tenant.id}/${endpointId}`)

const as = <T = unknown>(world: World, method: string, path: string, body?: unknown) =>
  callJson<T>(method, `/api/v1${path}`, { token: world.developer.token, body })

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const readEndpoint = async (world: World, id: string) =>
  (await as<Endpoint>(world, 'GET', `/webhooks/${id}`)).data

const eventsOf = async (world: World, type: string) =>
  (await as<{ data: Record<string, unknown> }[]>(world, 'GET', `/events?type=${type}`)).data

const healthOf = (world: World, id: string) =>
  runInDurableObject(senderOf(world, id), (object) => {
    const { log } = object as unknown as { log: { health: Record<string, unknown> } }
    return log.health
  })

/** Sets back when it began to fail, and when its owner was told. */
const setBack = (world: World, id: string, change: Record<string, number>) =>
  runInDurableObject(senderOf(world, id), (object) => {
    const { log } = object as unknown as { log: { health: object; fare: (health: object) => void } }
    log.fare({ ...log.health, ...change })
  })

/** Has the endpoint's probe be due now, and waits until it was made. */
async function probe(world: World, id: string, seen: () => Promise<unknown[]>) {
  const before = (await seen()).length
  await env.DB.prepare('update endpoints set not_before = ? where id = ?')
    .bind(new Date().toISOString(), id)
    .run()
  await wake(world, id)
  await eventually(async () => (await seen()).length > before)
}

/** An endpoint that failed ten times in a row, with `count` events. */
async function degraded(count: number, input: Record<string, unknown> = {}) {
  const world = await makeWorld()
  const { receiver, endpoint } = await connect(world, [{ status: 500 }], input)
  const ids: string[] = []
  for (let n = 0; n < count; n++) ids.push(await send(world, 'order.shipped', { n }))
  await eventually(async () => (await receiver.seen()).length >= 10)
  await eventually(async () => (await readEndpoint(world, endpoint.id)).status === 'degraded')
  return { world, receiver, endpoint, ids }
}

describe('the circuit of an endpoint', { timeout: 30_000 }, () => {
  it('is open after ten failures in a row: the rest is held, and one event tells of it', async () => {
    const { world, receiver, endpoint } = await degraded(14)
    await pause(200)
    // Those that were under way ended; nothing else went out.
    const seen = (await receiver.seen()).length
    expect(seen).toBeLessThan(14)
    const all = await eventually(async () => {
      const found = await deliveriesOf(world, `endpoint_id=${endpoint.id}&limit=100`)
      return found.length === 14 && found.every(({ status }) => status === 'held') && found
    })
    expect(all.every(({ next_attempt_at }) => next_attempt_at === null)).toBe(true)
    const told = await eventsOf(world, 'endpoint.degraded')
    expect(told).toHaveLength(1)
    expect(told[0]?.data).toMatchObject({ endpoint_id: endpoint.id, notice: 0 })
    // Attempts that end at the same moment are counted together.
    expect(told[0]?.data.failures).toBeGreaterThanOrEqual(10)
    expect(told[0]?.data.failures).toBeLessThan(14)
    await send(world)
    await eventually(async () => (await deliveriesOf(world, 'status=held&limit=100')).length === 15)
    expect(await receiver.seen()).toHaveLength(seen)
  })

  it('probes with one at a time, after 30 s and then twice as long each, and another delivery each time', async () => {
    const { world, receiver, endpoint, ids } = await degraded(12)
    const notBefore = async () => {
      const row = await env.DB.prepare('select not_before from endpoints where id = ?')
        .bind(endpoint.id)
        .first<{ not_before: string }>()
      return Date.parse(row?.not_before ?? '') - Date.now()
    }
    expect(await notBefore()).toBeGreaterThan(28_000)
    expect(await notBefore()).toBeLessThanOrEqual(30_000)
    const before = (await receiver.seen()).length
    for (const wait of [60_000, 120_000, 240_000, 480_000, 900_000, 900_000]) {
      await probe(world, endpoint.id, receiver.seen)
      await eventually(async () => (await notBefore()) > wait - 5_000)
      expect(await notBefore()).toBeLessThanOrEqual(wait)
    }
    const probes = (await receiver.seen()).slice(before).map(({ headers }) => headers['webhook-id'])
    expect(probes).toEqual(ids.slice(0, 6))
    const alarm = await runInDurableObject(senderOf(world, endpoint.id), (_, state) =>
      state.storage.getAlarm(),
    )
    expect(alarm).toBeGreaterThan(Date.now())
    // Their own schedules stood still: what failed as a probe has all its attempts before it.
    expect(await deliveriesOf(world, 'status=exhausted')).toEqual([])
  })

  it('is closed by a success, and all goes out, the oldest first', async () => {
    const { world, receiver, endpoint, ids } = await degraded(20)
    await pause(200)
    await receiver.plan({})
    const before = (await receiver.seen()).length
    await probe(world, endpoint.id, receiver.seen)
    await eventually(async () => (await deliveriesOf(world, 'status=delivered&limit=100')).length === 20)
    expect((await readEndpoint(world, endpoint.id)).status).toBe('active')
    const order = (await receiver.seen()).slice(before).map(({ headers }) => headers['webhook-id'] ?? '')
    expect(order[0]).toBe(ids[0])
    expect([...order].sort()).toEqual([...ids].sort())
    // Four go out at a time.
    for (const [at, id] of order.entries()) expect(Math.abs(ids.indexOf(id) - at)).toBeLessThan(6)
    expect(await healthOf(world, endpoint.id)).toMatchObject({ failures: 0, degraded: false })
  })

  it('survives a crash, and the sweep makes a probe whose alarm was lost', async () => {
    const { world, receiver, endpoint } = await degraded(11)
    await pause(200)
    await abortAllDurableObjects()
    expect(await healthOf(world, endpoint.id)).toMatchObject({ degraded: true })
    await runInDurableObject(senderOf(world, endpoint.id), (_, state) => state.storage.deleteAlarm())
    const before = (await receiver.seen()).length
    await receiver.plan({})
    await env.DB.prepare('update endpoints set not_before = ? where id = ?')
      .bind(new Date(Date.now() - 5_000).toISOString(), endpoint.id)
      .run()
    // The next event keeps the sweeper awake.
    await send(world)
    await eventually(async () => (await receiver.seen()).length > before, 12_000)
    await eventually(async () => (await deliveriesOf(world, 'status=delivered&limit=100')).length === 12)
  })

  it('sends no probe beside what is under way still', async () => {
    const { world, endpoint } = await degraded(11)
    await env.DB.prepare('update endpoints set not_before = null where id = ?').bind(endpoint.id).run()
    const ctx = { ...world.ctx, ...requestContext() }
    const beside = await loadDue(ctx, endpoint.id, ['another'], 4)
    expect(beside.due).toEqual([])
    expect(beside.next_at).toBeGreaterThan(Date.now())
    const alone = await loadDue(ctx, endpoint.id, [], 4)
    expect(alone.due.map(({ probe }) => probe)).toEqual([true])
  })

  it('begins anew where a person enables the endpoint', async () => {
    const { world, receiver, endpoint } = await degraded(11)
    await pause(200)
    await receiver.plan({ status: 500 })
    await as(world, 'POST', `/webhooks/${endpoint.id}/enable`)
    await eventually(async () => (await readEndpoint(world, endpoint.id)).status === 'degraded')
    expect(await eventsOf(world, 'endpoint.degraded')).toHaveLength(2)
  })

  it('gives the owner two notices, and then disables the endpoint', async () => {
    const { world, receiver, endpoint } = await degraded(11)
    await pause(200)
    const DAY = 86_400_000
    const mails = async () => {
      const { results } = await env.DB.prepare(
        'select subject, "to" from mails where tenant_id = ? order by id',
      )
        .bind(world.tenant.id)
        .all<{ subject: string; to: string }>()
      return results
    }
    const since = Date.now()
    await setBack(world, endpoint.id, { failing_since: since - 6 * DAY })
    await probe(world, endpoint.id, receiver.seen)
    await eventually(async () => (await mails()).length === 1)
    expect(await mails()).toEqual([
      { subject: 'A webhook endpoint does not answer', to: world.admin.user.email },
    ])
    // However long it has been: the second a day later at the earliest.
    await probe(world, endpoint.id, receiver.seen)
    await pause(200)
    expect(await mails()).toHaveLength(1)
    await setBack(world, endpoint.id, { noticed_at: since - DAY - 1 })
    await probe(world, endpoint.id, receiver.seen)
    await eventually(async () => (await mails()).length === 2)
    expect((await readEndpoint(world, endpoint.id)).status).toBe('degraded')
    await eventually(async () => (await healthOf(world, endpoint.id)).notices === 2)
    await setBack(world, endpoint.id, { noticed_at: since - DAY - 1 })
    await probe(world, endpoint.id, receiver.seen)
    await eventually(async () => (await readEndpoint(world, endpoint.id)).status === 'disabled')
    expect((await mails()).map(({ subject }) => subject)[2]).toBe('A webhook endpoint was disabled')
    const told = await eventsOf(world, 'endpoint.degraded')
    expect(told.map(({ data }) => data.notice).sort()).toEqual([0, 1, 2])
    expect(await eventsOf(world, 'endpoint.disabled')).toMatchObject([{ data: { reason: 'failing' } }])
    expect(await deliveriesOf(world, 'status=held&limit=100')).toHaveLength(11)
    const seen = (await receiver.seen()).length
    await wake(world, endpoint.id)
    await pause(100)
    expect(await receiver.seen()).toHaveLength(seen)
  })
})

describe('an endpoint’s own rate', { timeout: 60_000 }, () => {
  it('is not exceeded while a backlog drains', async () => {
    const world = await makeWorld({ rate_limits: { deliveries_per_second: 100_000 } })
    const rate = 50
    const { receiver, endpoint } = await connect(world, [{}], { rate_limit: rate, status: 'paused' })
    for (let n = 0; n < 40; n++)
      await Promise.all(Array.from({ length: 5 }, (_, i) => send(world, 'order.shipped', { n: n * 5 + i })))
    await eventually(async () => {
      const { results } = await env.DB.prepare(
        `select count(*) as n from deliveries where tenant_id = ? and status = 'held'`,
      )
        .bind(world.tenant.id)
        .all<{ n: number }>()
      return results[0]?.n === 200
    }, 10_000)
    await as(world, 'POST', `/webhooks/${endpoint.id}/enable`)
    await eventually(async () => (await receiver.seen()).length === 200, 20_000)
    // As they went out: a receiver that stands still for a moment sees what came meanwhile all at once.
    const { results } = await env.DB.prepare('select id from deliveries where tenant_id = ?')
      .bind(world.tenant.id)
      .all<{ id: string }>()
    const details = await Promise.all(results.map(({ id }) => readDelivery(world, id)))
    const at = details
      .map(({ attempts }) => Date.parse(attempts[0]?.attempted_at ?? ''))
      .sort((a, b) => a - b)
    expect(at).toHaveLength(200)
    for (const from of at)
      expect(at.filter((time) => time >= from && time < from + 1_000).length).toBeLessThanOrEqual(rate)
  })

  it('survives a crash: the second in which it happened counts as full', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ delay_ms: 30 }], { rate_limit: 5 })
    for (let n = 0; n < 12; n++) await send(world)
    await eventually(async () => (await receiver.seen()).length >= 3)
    await abortAllDurableObjects()
    await wake(world, endpoint.id)
    await eventually(
      async () => (await deliveriesOf(world, 'status=delivered&limit=100')).length === 12,
      15_000,
    )
    const at = (await receiver.seen()).map((request) => request.at).sort((a, b) => a - b)
    for (const from of at)
      expect(at.filter((time) => time >= from && time < from + 980).length).toBeLessThanOrEqual(6)
  })
})

describe('an ordered endpoint', { timeout: 30_000 }, () => {
  const numbersOf = (seen: { body: string }[]): number[] =>
    seen.map(({ body }) => (JSON.parse(body) as { data: { n: number } }).data.n)

  it('sends what is of one subject one after the other, by the order of acceptance', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ delay_ms: 5 }], { ordered: true })
    const subjects = ['a', 'b', 'c']
    for (let n = 0; n < 30; n++) await send(world, 'order.shipped', { n }, { subject: subjects[n % 3] })
    await eventually(async () => (await receiver.seen()).length === 30, 15_000)
    const numbers = numbersOf(await receiver.seen())
    for (const [i] of subjects.entries()) {
      const own = numbers.filter((n) => n % 3 === i)
      expect(own).toEqual([...own].sort((a, b) => a - b))
    }
    await eventually(
      async () =>
        (await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=delivered&limit=100`)).length === 30,
    )
  })

  it('holds what is behind one that fails, not what is of another subject, until it is delivered', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }, {}], { ordered: true })
    for (let n = 0; n < 4; n++) await send(world, 'order.shipped', { n }, { subject: 'a' })
    await eventually(async () => (await receiver.seen()).length === 1)
    await send(world, 'order.shipped', { n: 10 }, { subject: 'b' })
    await eventually(async () => (await receiver.seen()).length === 2)
    await pause(300)
    expect(numbersOf(await receiver.seen())).toEqual([0, 10])
    await eventually(async () => {
      const waiting = await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=pending`)
      return waiting.filter(({ next_attempt_at }) => next_attempt_at === null).length === 3
    })
    await eventually(async () => (await receiver.seen()).length === 6, 12_000)
    expect(numbersOf(await receiver.seen())).toEqual([0, 10, 0, 1, 2, 3])
  })

  it('goes on behind one that is cancelled, and without a subject all is one line', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }, {}], { ordered: true })
    for (let n = 0; n < 3; n++) await send(world, 'order.shipped', { n })
    await eventually(async () => (await receiver.seen()).length === 1)
    await pause(200)
    expect(numbersOf(await receiver.seen())).toEqual([0])
    const [failing] = (await deliveriesOf(world, `endpoint_id=${endpoint.id}`)).filter(
      ({ attempt_count }) => attempt_count === 1,
    )
    const cancelled = await as(world, 'POST', `/deliveries/${failing?.id}/cancel`)
    expect(cancelled.status).toBe(200)
    expect(cancelled.data).toMatchObject({ status: 'cancelled', next_attempt_at: null })
    await eventually(async () => (await receiver.seen()).length === 3)
    expect(numbersOf(await receiver.seen())).toEqual([0, 1, 2])
    expect((await as(world, 'POST', `/deliveries/${failing?.id}/cancel`)).status).toBe(409)
  })

  it('waits for an event before it whose delivery is not made yet', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}], { ordered: true })
    const row = (n: number, dispatched: number) =>
      env.DB.prepare(
        `insert into events (tenant_id, id, type, channels, data, timestamp, subject, dispatched)
         values (?, ?, 'order.shipped', '[]', ?, ?, 'a', ?) returning id`,
      ).bind(
        world.tenant.id,
        // Another of the future, so that no sweep takes it up.
        `msg_0${(Date.now() + 600_000).toString(16).slice(0, 7)}-${(Date.now() + 600_000).toString(16).slice(7).padEnd(4, '0')}-7000-8000-00000000000${n}`,
        JSON.stringify({ n }),
        new Date().toISOString(),
        dispatched,
      )
    await row(1, 0).run()
    await send(world, 'order.shipped', { n: 2 }, { subject: 'a' })
    await pause(500)
    expect(await receiver.seen()).toEqual([])
    await env.DB.prepare('update events set dispatched = 1 where tenant_id = ?').bind(world.tenant.id).run()
    await eventually(async () => (await receiver.seen()).length === 1)
    expect((await readDelivery(world, (await deliveriesOf(world))[0]?.id ?? '')).endpoint_id).toBe(
      endpoint.id,
    )
  })

  it('that is so no longer sends what waited', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }, {}], { ordered: true })
    for (let n = 0; n < 3; n++) await send(world, 'order.shipped', { n }, { subject: 'a' })
    await eventually(async () => (await receiver.seen()).length === 1)
    await pause(200)
    expect((await as(world, 'PATCH', `/webhooks/${endpoint.id}`, { ordered: false })).status).toBe(200)
    await eventually(async () => (await receiver.seen()).length >= 3)
    const changed = await as<Endpoint>(world, 'PATCH', `/webhooks/${endpoint.id}`, { ordered: true })
    expect(changed.data).toMatchObject({ ordered: true })
  })
})

describe('an endpoint’s own schedule', { timeout: 20_000 }, () => {
  it('is followed, and then the delivery is exhausted', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }], { retry_schedule: [1, 2] })
    await send(world)
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'exhausted', 8_000)
    expect(delivery.attempt_count).toBe(3)
    const at = (await receiver.seen()).map((request) => request.at)
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeGreaterThan(890)
    expect((at[1] ?? 0) - (at[0] ?? 0)).toBeLessThan(1_400)
    expect((at[2] ?? 0) - (at[1] ?? 0)).toBeGreaterThan(1_790)
    expect((at[2] ?? 0) - (at[1] ?? 0)).toBeLessThan(2_500)
  })

  it('has bounds', async () => {
    const world = await makeWorld()
    const wrong = async (input: Record<string, unknown>) => {
      const body = { url: 'https://example.com/', event_types: ['a.b'], ...input }
      const answer = await callJson('POST', '/api/v1/webhooks', { token: world.developer.token, body })
      expect(answer.status).toBe(422)
      return Object.keys(answer.error.details.fields ?? {})[0]
    }
    expect(await wrong({ retry_schedule: [0] })).toBe('retry_schedule.0')
    expect(await wrong({ retry_schedule: [1, 86_401] })).toBe('retry_schedule.1')
    expect(await wrong({ retry_schedule: Array.from({ length: 21 }, () => 1) })).toBe('retry_schedule')
    expect(await wrong({ retry_schedule: 5 })).toBe('retry_schedule')
    expect(await wrong({ rate_limit: 0 })).toBe('rate_limit')
    expect(await wrong({ rate_limit: 1.5 })).toBe('rate_limit')
    expect(await wrong({ rate_limit: 1001 })).toBe('rate_limit')
    expect(await wrong({ ordered: 'yes' })).toBe('ordered')
    const made = await makeEndpoint(world, {
      url: 'http://127.0.0.1:1025/',
      retry_schedule: [],
      rate_limit: 1000,
    })
    expect(made).toMatchObject({ retry_schedule: [], rate_limit: 1000, ordered: false })
  })
})

describe('what stops an endpoint', { timeout: 30_000 }, () => {
  it.each(['pause', 'delete'])(
    '%s: once it is answered nothing that was read before begins',
    async (verb) => {
      const world = await makeWorld()
      const { receiver, endpoint } = await connect(world, [{ delay_ms: 40 }])
      for (let n = 0; n < 30; n++) await send(world)
      await eventually(async () => (await receiver.seen()).length >= 4)
      const answer =
        verb === 'pause'
          ? await as(world, 'POST', `/webhooks/${endpoint.id}/pause`)
          : await as(world, 'DELETE', `/webhooks/${endpoint.id}`)
      expect(answer.status).toBe(verb === 'pause' ? 200 : 204)
      const stopped = Date.now()
      await pause(400)
      const late = (await receiver.seen()).filter(({ at }) => at > stopped + 10)
      expect(late).toEqual([])
    },
  )
})
