import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { callJson, makeWorld } from '../world'
import { connect, deliveriesOf, makeEndpoint, pass, readDelivery, send, settled } from './deliver'
import { eventually, makeReceiver } from './receiver'

describe('a delivery', { timeout: 20_000 }, () => {
  it('arrives signed, with the event as its body', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ body: 'grüße', headers: { 'x-answer': 'yes' } }])
    const event_id = await send(world, 'order.shipped', { order_id: 'A-1', text: 'é👋' })
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered')

    const seen = await receiver.seen()
    expect(seen).toHaveLength(1)
    const { method, headers, body } = seen[0] as (typeof seen)[0]
    expect(method).toBe('POST')
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'user-agent': 'Causeway-Webhooks/1',
      'webhook-id': event_id,
      'webhook-attempt': '1',
    })
    expect(headers.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
    const event = new Webhook(endpoint.secret).verify(body, headers)
    const data = { order_id: 'A-1', text: 'é👋' }
    expect(event).toEqual({
      ...{ id: event_id, type: 'order.shipped', tenant_id: world.tenant.id, data },
      timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
    })

    // The log says what the receiver saw.
    expect(delivery).toMatchObject({
      ...{ event_id, event_type: 'order.shipped', endpoint_id: endpoint.id, status: 'delivered' },
      ...{ attempt_count: 1, next_attempt_at: null },
    })
    const [attempt] = delivery.attempts
    expect(attempt).toMatchObject({ number: 1, response_status: 200, response_body: 'grüße', error: null })
    expect(attempt?.response_headers).toMatchObject({ 'x-answer': 'yes' })
    for (const [name, value] of Object.entries(attempt?.request_headers ?? {}))
      expect(headers[name], name).toBe(value)
    expect(Math.abs(Date.parse(attempt?.attempted_at ?? '') - (seen[0]?.at ?? 0))).toBeLessThan(2000)
  })

  it('carries the data alone where the endpoint wants that', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}], { payload: 'data' })
    await send(world, 'order.shipped', { order_id: 'A-1' })
    await settled(world, endpoint.id)
    const [seen] = await receiver.seen()
    expect(seen?.body).toBe('{"order_id":"A-1"}')
    expect(new Webhook(endpoint.secret).verify(seen?.body ?? '', seen?.headers ?? {})).toEqual({
      order_id: 'A-1',
    })
  })

  it('carries the trace of the request that caused it', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    const trace = 'c'.repeat(32)
    await callJson('POST', '/api/v1/events', {
      token: world.developer.token,
      body: { type: 'order.shipped', data: {} },
      headers: { traceparent: `00-${trace}-${'d'.repeat(16)}-01` },
    })
    await settled(world, endpoint.id)
    const [seen] = await receiver.seen()
    expect(seen?.headers.traceparent).toMatch(new RegExp(`^00-${trace}-(?!d{16})[0-9a-f]{16}-01$`))
  })

  it('carries the endpoint’s own headers, and masks what may be a credential in the log', async () => {
    const world = await makeWorld()
    const headers = { 'X-Environment': 'production', Authorization: 'Bearer hidden' }
    const { receiver, endpoint } = await connect(world, [{}], { headers })
    await send(world)
    const delivery = await settled(world, endpoint.id)
    const [seen] = await receiver.seen()
    expect(seen?.headers).toMatchObject({ 'x-environment': 'production', authorization: 'Bearer hidden' })
    const logged = delivery.attempts[0]?.request_headers
    expect(logged).toMatchObject({ 'X-Environment': 'production', Authorization: '********' })
  })

  it('sends the same bytes and id at every attempt, signed anew', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }, { status: 500 }, {}])
    await send(world, 'order.shipped', { text: 'x'.repeat(2000) })
    for (const count of [1, 2]) {
      await settled(
        world,
        endpoint.id,
        ({ attempt_count, status }) => attempt_count === count && status === 'pending',
      )
      await pass(world, endpoint.id)
    }
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    const seen = await receiver.seen()
    expect(seen.map(({ headers }) => headers['webhook-attempt'])).toEqual(['1', '2', '3'])
    expect(new Set(seen.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(new Set(seen.map(({ body }) => body)).size).toBe(1)
    for (const { body, headers } of seen)
      expect(new Webhook(endpoint.secret).verify(body, headers)).toEqual(JSON.parse(body))
    expect(delivery.attempts.map(({ response_status }) => response_status)).toEqual([500, 500, 200])
    expect(delivery.attempts.map(({ request_headers }) => request_headers['webhook-signature'])).toEqual(
      seen.map(({ headers }) => headers['webhook-signature']),
    )
  })

  it('takes its payload from where large ones are kept', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    const text = 'ü'.repeat(60_000)
    const id = await send(world, 'order.shipped', { text })
    await settled(world, endpoint.id)
    const [seen] = await receiver.seen()
    expect(JSON.parse(seen?.body ?? '').data.text).toBe(text)
    const event = await callJson<{ data: { text: string } }>('GET', `/api/v1/events/${id}`, {
      token: world.developer.token,
    })
    expect(event.data.data.text).toBe(text)
  })
})

describe('an answer', { timeout: 20_000 }, () => {
  const failing = { status: 'pending', delivered_at: null }

  it.each([
    ['400', { status: 400, body: 'no' }, 'status: answered 400'],
    ['500', { status: 500, body: 'broken' }, 'status: answered 500'],
    [
      'a redirect',
      { status: 302, headers: { location: '/hook/to?key=elsewhere' }, body: '' },
      'redirect: answered 302, which is not followed',
    ],
    ['522, the edge’s', { status: 522, body: '' }, 'network: the receiver’s edge answered 522'],
  ])('%s fails and is tried again after about 5 s', async (_, step, error) => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [step])
    await send(world)
    const delivery = await settled(
      world,
      endpoint.id,
      (one) => one.next_attempt_at !== null && one.attempt_count === 1,
    )
    expect(delivery).toMatchObject(failing)
    expect(delivery.attempts).toHaveLength(1)
    expect(delivery.attempts[0]).toMatchObject({
      ...{ response_status: step.status, response_body: step.body, error },
    })
    const wait =
      Date.parse(delivery.next_attempt_at ?? '') - Date.parse(delivery.attempts[0]?.attempted_at ?? '')
    expect(wait).toBeGreaterThan(4400)
    expect(wait).toBeLessThan(7500)
    expect(await receiver.seen()).toHaveLength(1)
  })

  it('never follows a redirect', async () => {
    const world = await makeWorld()
    const elsewhere = await makeReceiver({})
    const { endpoint } = await connect(world, [{ status: 307, headers: { location: elsewhere.url } }])
    await send(world)
    const delivery = await settled(world, endpoint.id)
    expect(delivery.attempts[0]?.response_headers).toMatchObject({ location: elsewhere.url })
    expect(await elsewhere.seen()).toEqual([])
  })

  it.each(['reset', 'reset-body'] as const)('a connection that is cut off (%s) fails', async (does) => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{ does }])
    await send(world)
    const delivery = await settled(world, endpoint.id)
    expect(delivery).toMatchObject(failing)
    expect(delivery.attempts[0]?.error).toMatch(/^network: /)
    expect(await receiver.seen()).toHaveLength(1)
    if (does === 'reset') expect(delivery.attempts[0]?.response_status).toBeNull()
    else expect(delivery.attempts[0]).toMatchObject({ response_status: 200, response_body: 'the beginning' })
  })

  it('nobody listens: fails', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: 'http://127.0.0.1:1025/' })
    await send(world)
    const delivery = await settled(world, endpoint.id)
    expect(delivery.attempts[0]).toMatchObject({
      response_status: null,
      error: expect.stringMatching(/^network: /),
    })
  })

  it.each([
    ['never comes', { does: 'hang' } as const, null],
    ['comes too late', { delay_ms: 1600 }, null],
    ['drips without an end', { does: 'drip' } as const, 200],
  ])('that %s is given up at the time-out', async (_, step, response_status) => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [step], { timeout_ms: 1000 })
    await send(world)
    const delivery = await settled(world, endpoint.id)
    const [attempt] = delivery.attempts
    expect(attempt).toMatchObject({ response_status, error: 'timeout: no complete answer within 1000 ms' })
    expect(attempt?.duration_ms).toBeGreaterThanOrEqual(990)
    expect(attempt?.duration_ms).toBeLessThan(1500)
    if (response_status) expect(attempt?.response_body).toMatch(/^\.+$/)
  })

  it.each(['huge', 'gzip-bomb'] as const)('that is %s is read no further than needed', async (does) => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{ does }])
    await send(world)
    const delivery = await settled(world, endpoint.id)
    expect(delivery.status).toBe('delivered')
    expect(delivery.attempts[0]?.response_body).toHaveLength(16 * 1024)
    expect(delivery.attempts[0]?.duration_ms).toBeLessThan(3000)
  })

  it('is kept up to 16 KiB without a torn character, and its headers within bounds', async () => {
    const world = await makeWorld()
    const headers = { 'x-long': 'y'.repeat(12_000), 'x-more': 'z'.repeat(12_000) }
    const { endpoint } = await connect(world, [{ body: `a${'é'.repeat(20_000)}`, headers }])
    await send(world)
    const [attempt] = (await settled(world, endpoint.id)).attempts
    expect(attempt?.response_body).toBe(`a${'é'.repeat(8191)}`)
    expect(JSON.stringify(attempt?.response_headers).length).toBeLessThan(17_000)
  })

  it('410 disables the endpoint, holds what waits, and tells the others', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{ status: 410 }], { uid: 'gone' })
    const other = await connect(world, [{}], { event_types: ['endpoint.*'] })
    await send(world)
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'failed')
    expect(delivery.attempts[0]).toMatchObject({ response_status: 410, error: 'gone: answered 410' })
    const read = await callJson<{ status: string }>('GET', `/api/v1/webhooks/${endpoint.id}`, {
      key: world.apiKey,
    })
    expect(read.data.status).toBe('disabled')
    const told = await eventually(async () => (await other.receiver.seen())[0])
    expect(JSON.parse(told.body)).toMatchObject({
      type: 'endpoint.disabled',
      data: { endpoint_id: endpoint.id, uid: 'gone', reason: 'gone', delivery_id: delivery.id },
    })
    await send(world)
    const held = await eventually(
      async () => (await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=held`))[0],
    )
    expect(held.next_attempt_at).toBeNull()
    expect(await receiver.seen()).toHaveLength(1)
  })

  it('with webhook-delivery: disable ends the delivery and disables the endpoint', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{ status: 500, headers: { 'webhook-delivery': 'disable' } }])
    await send(world)
    await settled(world, endpoint.id, ({ status }) => status === 'failed')
    const read = await callJson<{ status: string }>('GET', `/api/v1/webhooks/${endpoint.id}`, {
      key: world.apiKey,
    })
    expect(read.data.status).toBe('disabled')
  })

  it('with webhook-delivery: abort-message ends the delivery alone', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [
      { status: 422, headers: { 'webhook-delivery': 'abort-message' } },
      {},
    ])
    await send(world)
    await settled(world, endpoint.id, ({ status }) => status === 'failed')
    await send(world)
    await eventually(async () => (await receiver.seen()).length === 2)
  })

  it.each([429, 503])('%i with Retry-After makes the whole endpoint wait', async (status) => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{ status, headers: { 'retry-after': '3600' } }, {}])
    await send(world)
    const delivery = await settled(
      world,
      endpoint.id,
      (one) => one.next_attempt_at !== null && one.attempt_count === 1,
    )
    const until = Date.parse(delivery.next_attempt_at ?? '')
    expect(until - Date.now()).toBeGreaterThan(3_590_000)
    await send(world)
    const [second] = await eventually(async () => {
      const all = await deliveriesOf(world, `endpoint_id=${endpoint.id}`)
      return all.length === 2 && all
    })
    expect(Date.parse(second?.next_attempt_at ?? '')).toBeGreaterThanOrEqual(until - 5)
    // Not even by hand.
    await callJson('POST', `/api/v1/deliveries/${delivery.id}/retry`, { token: world.developer.token })
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(await receiver.seen()).toHaveLength(1)
  })
})

describe('the end of the schedule', { timeout: 20_000 }, () => {
  it('comes after the tenth attempt, and is told', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{ status: 500 }], {
      event_types: ['order.shipped', 'delivery.*'],
    })
    const other = await connect(world, [{ status: 500 }], { event_types: ['delivery.exhausted'] })
    await send(world)
    for (let count = 1; count < 10; count++) {
      await settled(world, endpoint.id, (one) => one.attempt_count === count && one.next_attempt_at !== null)
      await pass(world, endpoint.id)
    }
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'exhausted')
    expect(delivery).toMatchObject({ attempt_count: 10, next_attempt_at: null })
    expect(delivery.attempts.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(await receiver.seen()).toHaveLength(10)
    expect((await deliveriesOf(world, 'status=exhausted')).map(({ id }) => id)).toEqual([delivery.id])

    const told = await settled(world, other.endpoint.id)
    const [seen] = await other.receiver.seen()
    expect(JSON.parse(seen?.body ?? '')).toMatchObject({
      type: 'delivery.exhausted',
      data: { delivery_id: delivery.id, endpoint_id: endpoint.id, attempt_count: 10, response_status: 500 },
    })
    // An endpoint is not told of itself, and the end of that telling is not told again.
    expect(await deliveriesOf(world, `endpoint_id=${endpoint.id}`)).toHaveLength(1)
    for (let count = 1; count < 10; count++) {
      await eventually(async () => {
        const one = await readDelivery(world, told.id)
        return one.attempt_count === count && one.next_attempt_at !== null
      })
      await pass(world, other.endpoint.id)
    }
    await eventually(async () => (await readDelivery(world, told.id)).status === 'exhausted')
    const events = await callJson<unknown[]>('GET', '/api/v1/events?type=delivery.exhausted', {
      key: world.apiKey,
    })
    expect(events.data).toHaveLength(1)
  })
})
