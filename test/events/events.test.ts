import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { CATALOGUE } from '../../src/domains/events/catalogue'
import type { Event } from '../../src/domains/events/schema'
import type { Delivery } from '../../src/domains/webhooks/deliveries/schema'
import { newId } from '../../src/lib/ids'
import { connect, send, settled } from '../webhooks/deliver'
import { callJson, makeWorld, type World } from '../world'

const post = (world: World, body: unknown, headers = {}) =>
  callJson<Event>('POST', '/api/v1/events', { token: world.developer.token, body, headers })

const list = (world: World, query: string) =>
  callJson<Event[]>('GET', `/api/v1/events?${query}`, { token: world.developer.token })

const nextOf = ({ next_cursor: next }: Record<string, unknown>): string | null =>
  typeof next === 'string' ? next : null

describe('the catalogue', { timeout: 20_000 }, () => {
  it('is what the service sends; types of what it does not do yet are not in it', async () => {
    const world = await makeWorld()
    const listed = await callJson<{ name: string }[]>('GET', '/api/v1/webhooks/event-types?built_in=true', {
      token: world.viewer.token,
    })
    expect(listed.meta.next_cursor).toBeNull()
    expect(listed.data.map(({ name }) => name)).toEqual([
      ...['alert.raised', 'alert.resolved', 'api_key.created', 'api_key.revoked'],
      ...['billing.checkout.completed', 'billing.checkout.refunded', 'billing.invoice.issued'],
      ...['billing.subscription.updated'],
      ...['call.ended', 'call.started', 'campaign.cancelled', 'campaign.completed', 'campaign.paused'],
      ...['campaign.started', 'chat.created', 'chat.message.created', 'chat.message.rated'],
      ...['chat.run.completed', 'chat.run.failed'],
      ...['delivery.exhausted', 'endpoint.degraded', 'endpoint.disabled', 'interaction.created'],
      ...['item.updated', 'job.completed', 'job.failed', 'team.created', 'team.deleted'],
      ...['team.member.added', 'team.member.removed', 'team.updated'],
      ...['ticket.commented', 'ticket.created', 'ticket.updated', 'user.created', 'user.deleted'],
    ])
  })

  it.each(Object.entries(CATALOGUE))(
    '%s has an example of its own shape',
    (_, { data, example, description }) => {
      expect(data.strict().parse(example)).toEqual(example)
      expect(description).toMatch(/\.$/)
    },
  )

  it('describes what is sent', async () => {
    const world = await makeWorld()
    const { data } = await list(world, 'type=api_key.created')
    const [event] = data
    expect(CATALOGUE['api_key.created'].data.strict().parse(event?.data)).toEqual(event?.data)
  })
})

describe('an event of one’s own', { timeout: 20_000 }, () => {
  it('is kept as it was sent, and reads back with where it stands', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}])
    const body = {
      ...{ type: 'order.shipped', data: { order_id: 'A-1', deep: { list: [1, null, 'é'] } } },
      ...{ channels: ['project-7'], subject: 'customer-42', occurred_at: '2026-01-31T11:00:00+01:00' },
    }
    const sent = await post(world, body)
    expect(sent.status).toBe(201)
    expect(sent.headers.get('Location')).toBe(`/api/v1/events/${sent.data.id}`)
    expect(sent.data).toEqual({
      ...{
        id: expect.stringMatching(/^msg_[0-9a-f-]{36}$/),
        tenant_id: world.tenant.id,
        type: 'order.shipped',
      },
      ...{ data: body.data, channels: ['project-7'], subject: 'customer-42' },
      timestamp: '2026-01-31T10:00:00.000Z',
      schema_error: null,
      application_id: null,
    })
    const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    const read = await callJson<Event & { deliveries: Delivery[] }>('GET', `/api/v1/events/${sent.data.id}`, {
      token: world.viewer.token,
    })
    expect(read.data).toMatchObject(sent.data)
    expect(read.data.deliveries).toMatchObject([
      { id: delivery.id, endpoint_id: endpoint.id, status: 'delivered' },
    ])
    const { status } = await callJson('GET', `/api/v1/events/${sent.data.id}`, {
      token: world.viewer.token,
      headers: { 'If-None-Match': read.headers.get('ETag') ?? '' },
    })
    expect(status).toBe(304)
  })

  it('is made once for an idempotency key, whatever runs at once', async () => {
    const world = await makeWorld()
    const body = { type: 'order.shipped', data: { n: 1 } }
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => post(world, body, { 'Idempotency-Key': 'k' })),
    )
    const made = answers.filter(({ status }) => status === 201)
    expect(made.length).toBeGreaterThan(0)
    for (const { status } of answers) expect([201, 409]).toContain(status)
    expect(new Set(made.map(({ data }) => data.id)).size).toBe(1)
    expect((await list(world, 'type=order.shipped')).data).toHaveLength(1)
  })

  it('is listed by type, channel and time, newest first, page by page', async () => {
    const world = await makeWorld()
    const ids: string[] = []
    for (const [type, channels] of [
      ['a.one', ['x']],
      ['a.two', ['x', 'y']],
      ['a.one', []],
    ] as const) {
      ids.unshift((await post(world, { type, data: {}, channels })).data.id)
      // The runtime's clock stands still while code runs; the next event must have a later time.
      for (const posted = Date.now(); Date.now() < posted + 3; )
        await new Promise((resolve) => setTimeout(resolve, 3))
    }
    const found = async (query: string) => {
      const all = (await list(world, query)).data.map(({ id }) => id)
      return all.filter((id) => ids.includes(id))
    }
    expect(await found('')).toEqual(ids)
    expect(await found('type=a.one')).toEqual([ids[0], ids[2]])
    expect(await found('channel=x')).toEqual([ids[1], ids[2]])
    const middle = (await list(world, 'limit=100')).data.find(({ id }) => id === ids[1])
    const at = middle?.timestamp ?? ''
    expect(await found(`created_after=${at}`)).toEqual(ids.slice(0, 2))
    expect(await found(`created_before=${at}`)).toEqual(ids.slice(2))
    const first = await list(world, 'limit=2')
    expect(first.data.map(({ id }) => id)).toEqual(ids.slice(0, 2))
    const second = await list(world, `limit=2&cursor=${first.meta.next_cursor}`)
    expect(second.data[0]?.id).toBe(ids[2])
    expect((await list(world, `type=a.one&cursor=${first.meta.next_cursor}`)).status).toBe(422)
  })

  it('is found by its channel among thousands of others, by its type and by what is wrong with it as well', async () => {
    const world = await makeWorld()
    const wanted = (await post(world, { type: 'a.one', data: {}, channels: ['rare'] })).data.id
    const others = Array.from({ length: 2_000 }, () => `msg_${newId(Date.now() + 60_000)}`).sort()
    await env.DB.prepare(
      `insert into events (tenant_id, id, type, channels, data, dispatched, timestamp, schema_error)
       select ?1, value, iif(key < 2, 'a.rare', 'a.two'), '["common"]', '{}', 1, 'x', iif(key in (1, 5), 'y', null)
       from json_each(?2)`,
    )
      .bind(world.tenant.id, JSON.stringify(others))
      .run()
    const only = async (query: string) => {
      const page = await list(world, query)
      expect([page.status, nextOf(page.meta)]).toEqual([200, null])
      return page.data.map(({ id }) => others.indexOf(id))
    }
    expect((await list(world, 'channel=rare')).data.map(({ id }) => id)).toEqual([wanted])
    expect(await only('channel=common&type=a.rare')).toEqual([1, 0])
    expect(await only('channel=common&schema_error=true')).toEqual([5, 1])
    expect(await only('channel=common&schema_error=true&type=a.rare')).toEqual([1])
    expect(await only('channel=rare&type=a.rare')).toEqual([])
    expect(await only('schema_error=true&type=a.two')).toEqual([5])
    // What is frequent fills its pages, and none is left out where one ends.
    const found: string[] = []
    for (let cursor: string | null = ''; cursor !== null && found.length < 1_200; ) {
      const page = await list(world, `channel=common&type=a.two&limit=100${cursor && `&cursor=${cursor}`}`)
      expect(page.data).toHaveLength(100)
      for (const { id } of page.data) found.push(id)
      cursor = nextOf(page.meta)
    }
    expect(found).toEqual(others.toReversed().slice(0, found.length))
  })

  it('keeps a payload of 256 KB, and refuses one byte more', async () => {
    const world = await makeWorld()
    const limit = 256 * 1024
    const text = 'x'.repeat(limit - '{"text":""}'.length)
    const taken = await post(world, { type: 'big.one', data: { text } })
    expect(taken.status).toBe(201)
    expect((await list(world, 'type=big.one')).data[0]?.data).toBeNull()
    const read = await callJson<Event>('GET', `/api/v1/events/${taken.data.id}`, { key: world.apiKey })
    expect(read.data.data).toEqual({ text })
    const stored = await env.DB.prepare('select data, data_key from events where id = ?')
      .bind(taken.data.id)
      .first()
    expect(stored).toEqual({ data: null, data_key: `${world.tenant.id}/events/${taken.data.id}` })
    const refused = await post(world, { type: 'big.one', data: { text: `${text}x` } })
    expect(refused.status).toBe(413)
    expect(refused.error).toMatchObject({ code: 'payload_too_large', details: { limit_bytes: limit } })
    expect((await list(world, 'type=big.one')).data).toHaveLength(1)
  })

  it.each([
    ['a built-in type', { type: 'interaction.created' }, 'type'],
    ['a type that is kept for the service', { type: 'call.ended' }, 'type'],
    ['a type with a space', { type: 'a b' }, 'type'],
    ['a type with an empty word', { type: 'a..b' }, 'type'],
    ['data that is no object', { data: [1] }, 'data'],
    ['a channel with a slash', { channels: ['a/b'] }, 'channels.0'],
    ['a time without an offset', { occurred_at: '2026-01-31T10:00:00' }, 'occurred_at'],
    ['an unknown field', { id: 'msg_1' }, 'id'],
  ])('%s is 422 and names the field', async (_, change, field) => {
    const world = await makeWorld()
    const refused = await post(world, { type: 'order.shipped', data: {}, ...change })
    expect(refused.status).toBe(422)
    expect(Object.keys(refused.error.details.fields ?? {})).toEqual([field])
  })

  it('needs the scope, and is nobody else’s', async () => {
    const mine = await makeWorld()
    const theirs = await makeWorld()
    const refused = await callJson('POST', '/api/v1/events', {
      token: mine.member.token,
      body: { type: 'a.b', data: {} },
    })
    expect(refused.error.code).toBe('insufficient_scope')
    const id = await send(mine)
    const read = (world: World, path = id) =>
      callJson('GET', `/api/v1/events/${path}`, { token: world.developer.token })
    expect((await read(mine)).status).toBe(200)
    expect((await read(theirs)).status).toBe(404)
    expect((await list(theirs, 'type=order.shipped')).data).toEqual([])
    expect((await read(mine, 'msg_1')).status).toBe(422)
    expect((await read(mine, id.slice(4))).status).toBe(422)
  })
})
