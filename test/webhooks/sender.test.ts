import { abortAllDurableObjects, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { loadDue } from '../../src/domains/webhooks/deliveries/due'
import type { EndpointSender } from '../../src/domains/webhooks/deliveries/object'
import { callJson, makeWorld, type World } from '../world'
import { connect, deliveriesOf, pass, readDelivery, send, settled, wake } from './deliver'
import { eventually } from './receiver'

const senderOf = (world: World, endpointId: string) =>
  env.ENDPOINTS.getByName(`${world.tenant.id}/${endpointId}`)

const as = (world: World, method: string, path: string, body?: unknown) =>
  callJson(method, `/api/v1${path}`, { token: world.developer.token, body })

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Exchanges what the object reaches outside for `change`, until what is answered is called. */
async function withEnv(
  stub: DurableObjectStub<EndpointSender>,
  change: object,
): Promise<() => Promise<void>> {
  const before = await runInDurableObject(stub, (instance) => {
    const holder = instance as unknown as { env: object }
    const old = holder.env
    holder.env = { ...old, ...change }
    return () => {
      holder.env = old
    }
  })
  return () => runInDurableObject(stub, before)
}

describe('a sender', { timeout: 20_000 }, () => {
  it('keeps no alarm when nothing is pending, and one for the next attempt when something is', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}, { status: 500 }, {}])
    const stub = senderOf(world, endpoint.id)
    const alarm = () => runInDurableObject(stub, (_, state) => state.storage.getAlarm())
    await send(world)
    await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    // The alarm that would have brought it back after a crash finds nothing, once.
    expect(await runDurableObjectAlarm(stub)).toBe(true)
    expect(await alarm()).toBeNull()

    await send(world)
    const failed = await eventually(async () => (await deliveriesOf(world, 'status=pending'))[0])
    const due = await eventually(
      async () => (await readDelivery(world, failed.id)).attempt_count === 1 && failed.id,
    )
    const { next_attempt_at } = await readDelivery(world, due)
    await eventually(async () => (await alarm()) === Date.parse(next_attempt_at ?? ''))
    // The alarm itself makes the attempt.
    await env.DB.prepare('update deliveries set next_attempt_at = ? where id = ?')
      .bind(new Date().toISOString(), failed.id)
      .run()
    await runDurableObjectAlarm(stub)
    expect((await readDelivery(world, failed.id)).status).toBe('delivered')
    expect(await alarm()).toBeNull()
  })

  it('tries again by itself after about five seconds', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ does: 'reset' }, {}])
    await send(world)
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered', 8000)
    const [first, second] = await receiver.seen()
    const wait = (second?.at ?? 0) - (first?.at ?? 0)
    expect(wait).toBeGreaterThan(4400)
    expect(wait).toBeLessThan(7000)
    expect(delivery.attempts).toMatchObject([
      { number: 1, response_status: null },
      { number: 2, response_status: 200 },
    ])
  })

  it('holds one connection to a receiver that hangs, and sends the rest when its time is over', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ does: 'hang' }, {}], { timeout_ms: 3000 })
    const other = await connect(world, [{}])
    for (let n = 0; n < 7; n++) await send(world)
    await eventually(async () => (await other.receiver.seen()).length === 7, 2500)
    expect(await receiver.seen()).toHaveLength(1)
    await eventually(
      async () => (await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=delivered`)).length === 6,
      10_000,
    )
    const [hung, ...rest] = await receiver.seen()
    expect(rest).toHaveLength(6)
    expect((rest[0]?.at ?? 0) - (hung?.at ?? 0)).toBeGreaterThan(2900)
    expect(await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=pending`)).toHaveLength(1)
  })

  it('sends a burst, each event once', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    const ids = await Promise.all(Array.from({ length: 60 }, (_, n) => send(world, 'order.shipped', { n })))
    await eventually(async () => (await receiver.seen()).length >= 60)
    const seen = (await receiver.seen()).map(({ headers }) => headers['webhook-id'])
    expect(seen.sort()).toEqual(ids.sort())
    await eventually(
      async () =>
        (await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=delivered&limit=100`)).length === 60,
    )
  })

  it('leaves out what is under way, however much that is', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{ status: 500 }])
    await send(world)
    const { id } = await settled(world, endpoint.id, ({ next_attempt_at }) => next_attempt_at !== null)
    // As many results as a slow D1 has still to be told of.
    const others = Array.from({ length: 300 }, () => crypto.randomUUID())
    const next = async (except: string[]) => (await loadDue(world.ctx, endpoint.id, except, 4)).next_at
    expect(await next(others)).toBeGreaterThan(Date.now())
    expect(await next([...others, id])).toBeNull()
  })

  it('goes to the new URL with what is under way', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }])
    const other = await connect(world, [{}], { event_types: ['nothing'] })
    await send(world)
    await settled(world, endpoint.id, (one) => one.attempt_count === 1 && one.next_attempt_at !== null)
    await as(world, 'PATCH', `/webhooks/${endpoint.id}`, { url: other.receiver.url })
    await pass(world, endpoint.id)
    await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    expect(await receiver.seen()).toHaveLength(1)
    expect(await other.receiver.seen()).toHaveLength(1)
  })

  it('refuses an address that is no longer allowed, without a request', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{ status: 500 }])
    await send(world)
    await settled(world, endpoint.id, (one) => one.attempt_count === 1 && one.next_attempt_at !== null)
    await env.DB.prepare('update endpoints set url = ?, version = version + 1 where id = ?')
      .bind('http://169.254.169.254/latest/meta-data', endpoint.id)
      .run()
    await pass(world, endpoint.id)
    const delivery = await settled(world, endpoint.id, ({ attempt_count }) => attempt_count === 2)
    expect(delivery.attempts[1]).toMatchObject({
      response_status: null,
      error: expect.stringMatching(/^address: .*metadata/),
    })
  })
})

describe('a crash', { timeout: 60_000 }, () => {
  it('in the middle of an attempt: it is told so in the log, and made again', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ does: 'hang' }, {}])
    await send(world)
    await eventually(async () => (await receiver.seen()).length === 1)
    await abortAllDurableObjects()
    await wake(world, endpoint.id)
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered', 30_000)
    expect(delivery.attempts).toMatchObject([
      { number: 1, response_status: null, error: expect.stringMatching(/^interrupted: /) },
      { number: 2, response_status: 200, error: null },
    ])
    expect(delivery.attempt_count).toBe(2)
    expect((await receiver.seen()).map(({ headers }) => headers['webhook-attempt'])).toEqual(['1', '2'])
  })

  it('takes no place in the schedule: what fails next has the wait after a first failure', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ does: 'hang' }, { status: 500 }], {
      retry_schedule: [3_600],
    })
    await send(world)
    await eventually(async () => (await receiver.seen()).length === 1)
    await abortAllDurableObjects()
    await wake(world, endpoint.id)
    const failed = await settled(world, endpoint.id, ({ attempt_count }) => attempt_count === 2, 30_000)
    expect(failed.status).toBe('pending')
    expect(Date.parse(failed.next_attempt_at ?? '')).toBeGreaterThan(Date.now() + 3_000_000)
  })

  it('between an answer and D1’s knowing of it: the attempt is not made again', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ delay_ms: 200 }])
    const stub = senderOf(world, endpoint.id)
    await send(world)
    await eventually(async () => (await receiver.seen()).length === 1)
    const DB = { prepare: () => ({ bind: () => ({}) }), batch: () => Promise.reject(new Error('D1 is away')) }
    const REPORTERS = { getByName: () => ({ tell: () => Promise.reject(new Error('the reporter is away')) }) }
    await withEnv(stub, { DB, REPORTERS })
    await pause(400)
    const [row] = await deliveriesOf(world, `endpoint_id=${endpoint.id}`)
    expect(row).toMatchObject({ status: 'pending', attempt_count: 0 })
    await abortAllDurableObjects()
    await wake(world, endpoint.id)
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    expect(delivery).toMatchObject({ attempt_count: 1, attempts: [{ number: 1, response_status: 200 }] })
    expect(await receiver.seen()).toHaveLength(1)
  })

  it('of D1: the sender tries it again later, by an alarm', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    const stub = senderOf(world, endpoint.id)
    await wake(world, endpoint.id)
    const away = () => Promise.reject(new Error('D1 is away'))
    const restore = await withEnv(stub, { DB: { prepare: () => ({ bind: () => ({}) }), batch: away } })
    await send(world)
    await pause(200)
    expect(await receiver.seen()).toEqual([])
    const alarm = await runInDurableObject(stub, (_, state) => state.storage.getAlarm())
    expect(alarm).toBeGreaterThan(Date.now())
    expect(alarm).toBeLessThan(Date.now() + 2100)
    // However often it fails, the alarm stays, and comes within half a minute.
    for (let n = 0; n < 10; n++) expect(await runDurableObjectAlarm(stub)).toBe(true)
    const later = await runInDurableObject(stub, (_, state) => state.storage.getAlarm())
    expect(later).toBeGreaterThan(Date.now() + 25_000)
    expect(later).toBeLessThan(Date.now() + 30_100)
    await restore()
    await runDurableObjectAlarm(stub)
    await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    expect(await receiver.seen()).toHaveLength(1)
  })
})

describe('a retry by hand', { timeout: 20_000 }, () => {
  const retry = (world: World, id: string) => as(world, 'POST', `/deliveries/${id}/retry`)

  it('takes the place of the attempt that is scheduled', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }, {}])
    await send(world)
    const { id } = await settled(
      world,
      endpoint.id,
      (one) => one.attempt_count === 1 && one.next_attempt_at !== null,
    )
    const retried = await retry(world, id)
    expect(retried.status).toBe(202)
    expect(retried.data).toMatchObject({ id, status: 'pending' })
    await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    await wake(world, endpoint.id)
    await pause(100)
    expect(await receiver.seen()).toHaveLength(2)
  })

  it('sends what was delivered once more', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    await send(world)
    const { id } = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    await retry(world, id)
    await settled(
      world,
      endpoint.id,
      ({ status, attempt_count }) => status === 'delivered' && attempt_count === 2,
    )
    const seen = await receiver.seen()
    expect(seen.map(({ headers }) => headers['webhook-attempt'])).toEqual(['1', '2'])
    expect(seen[0]?.body).toBe(seen[1]?.body)
  })

  it('is not swallowed by an attempt that is under way', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ delay_ms: 300, status: 500 }, {}])
    await send(world)
    await eventually(async () => (await receiver.seen()).length === 1)
    const [row] = await deliveriesOf(world, `endpoint_id=${endpoint.id}`)
    await retry(world, row?.id ?? '')
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered', 2000)
    expect(delivery.attempts.map(({ response_status }) => response_status)).toEqual([500, 200])
  })

  it('of an exhausted delivery makes one attempt', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }])
    await send(world)
    const { id } = await settled(
      world,
      endpoint.id,
      (one) => one.attempt_count === 1 && one.next_attempt_at !== null,
    )
    await env.DB.prepare(`update deliveries set attempt_count = 10, status = 'exhausted' where id = ?`)
      .bind(id)
      .run()
    await retry(world, id)
    await eventually(async () => (await receiver.seen()).length === 2)
    const delivery = await eventually(async () => {
      const one = await readDelivery(world, id)
      return one.attempt_count === 11 && one.status === 'exhausted' && one
    })
    expect(delivery.attempts.map(({ number }) => number)).toEqual([1, 11])
  })

  it('is refused where the endpoint takes nothing', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    await send(world)
    const { id } = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    await as(world, 'POST', `/webhooks/${endpoint.id}/pause`)
    const refused = await retry(world, id)
    expect(refused.status).toBe(409)
    expect(refused.error).toMatchObject({
      code: 'delivery_not_retryable',
      details: { endpoint_status: 'paused' },
    })
    expect((await readDelivery(world, id)).status).toBe('delivered')
    expect(await receiver.seen()).toHaveLength(1)
    const member = await callJson('POST', `/api/v1/deliveries/${id}/retry`, { token: world.member.token })
    expect(member.status).toBe(403)
    const stranger = await makeWorld()
    expect((await retry(stranger, id)).status).toBe(404)
    expect((await as(stranger, 'GET', `/deliveries/${id}`)).status).toBe(404)
  })
})

describe('what happens while an attempt is under way', { timeout: 20_000 }, () => {
  it('deleting the endpoint: what arrived is told, nothing more is sent', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ delay_ms: 200, status: 500 }, {}])
    await send(world)
    await eventually(async () => (await receiver.seen()).length === 1)
    await as(world, 'DELETE', `/webhooks/${endpoint.id}`)
    const [row] = await deliveriesOf(world, '')
    const delivery = await eventually(async () => {
      const one = await readDelivery(world, row?.id ?? '')
      return one.attempt_count === 1 && one
    })
    expect(delivery).toMatchObject({ status: 'cancelled', attempts: [{ response_status: 500 }] })
    await wake(world, endpoint.id)
    await pause(100)
    expect(await receiver.seen()).toHaveLength(1)
  })

  it('pausing the endpoint: a failure leaves the delivery held, a success delivers it', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ delay_ms: 200, status: 500 }, { delay_ms: 200 }])
    await send(world)
    await send(world)
    await eventually(async () => (await receiver.seen()).length === 2)
    await as(world, 'POST', `/webhooks/${endpoint.id}/pause`)
    await eventually(async () => {
      const all = await deliveriesOf(world, `endpoint_id=${endpoint.id}`)
      return all.every(({ attempt_count }) => attempt_count === 1)
    })
    const statuses = (await deliveriesOf(world, `endpoint_id=${endpoint.id}`)).map(({ status }) => status)
    expect(statuses.sort()).toEqual(['delivered', 'held'])
  })
})
