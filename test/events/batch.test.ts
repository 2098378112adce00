import { env } from 'cloudflare:workers'
import { sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import type { Event, SentEvents } from '../../src/domains/events/schema'
import { problem } from '../../src/lib/problem'
import { connect, deliveriesOf } from '../webhooks/deliver'
import { eventually } from '../webhooks/receiver'
import { callJson, makeWorld, type World } from '../world'

const post = (world: World, events: unknown, headers = {}) =>
  callJson<SentEvents>('POST', '/api/v1/events/batch', {
    token: world.developer.token,
    body: { events },
    headers,
  })

const listed = async (world: World) =>
  (
    await callJson<Event[]>('GET', '/api/v1/events?limit=100&type=order.shipped', {
      token: world.developer.token,
    })
  ).data

const order = (n: number, more = {}) => ({ type: 'order.shipped', data: { n }, ...more })
const LIMIT = 256 * 1024
const large = (bytes: number) => order(0, { data: { text: 'x'.repeat(bytes - '{"text":""}'.length) } })

describe('a batch of events', { timeout: 30_000 }, () => {
  it('of a hundred is taken whole, in its order, and delivered', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}])
    const sent = await post(
      world,
      Array.from({ length: 100 }, (_, n) => order(n, { subject: `s-${n}`, channels: ['c'] })),
    )
    expect(sent.status).toBe(201)
    const { events } = sent.data
    expect(events).toHaveLength(100)
    expect(events[7]).toEqual({
      ...{ id: expect.stringMatching(/^msg_/), type: 'order.shipped', channels: ['c'], subject: 's-7' },
      ...{ timestamp: events[7]?.timestamp, schema_error: null, application_id: null },
    })
    const stored = await env.DB.prepare(
      `select id, json_extract(data, '$.n') as n from events where tenant_id = ? and type = 'order.shipped' order by seq`,
    )
      .bind(world.tenant.id)
      .all<{ id: string; n: number }>()
    expect(stored.results).toEqual(events.map(({ id }, n) => ({ id, n })))
    await eventually(
      async () =>
        (await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=delivered&limit=100`)).length === 100,
      15_000,
    )
  })

  it('is made once for an idempotency key, fifty times at once', async () => {
    const world = await makeWorld()
    const body = [order(1), order(2), large(20_000)]
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => post(world, body, { 'Idempotency-Key': 'batch' })),
    )
    for (const { status } of answers) expect([201, 409]).toContain(status)
    const made = answers.filter(({ status }) => status === 201)
    expect(new Set(made.map(({ data }) => JSON.stringify(data.events))).size).toBe(1)
    const ids = (await listed(world)).map(({ id }) => id)
    expect(ids).toEqual(made[0]?.data.events.map(({ id }) => id).reverse())
    // What was put away for those that came too late is gone again.
    const kept = await eventually(async () => {
      const { objects } = await env.FILES.list({ prefix: `${world.tenant.id}/events/` })
      return objects.length === 1 && objects
    })
    expect(kept.map(({ key }) => key)).toEqual([`${world.tenant.id}/events/${ids[0]}`])
  })

  it.each<[string, unknown[], number, string[]]>([
    ['one of the service’s types', [order(1), order(2, { type: 'chat.created' })], 422, ['events.1.type']],
    [
      'two that are wrong',
      [order(1, { data: 7 }), order(2), order(3, { nope: 1 })],
      422,
      ['events.0.data', 'events.2.nope'],
    ],
    ['none', [], 422, ['events']],
    ['a hundred and one', Array.from({ length: 101 }, (_, n) => order(n)), 422, ['events']],
  ])('with %s is refused, and nothing of it kept', async (_, events, status, fields) => {
    const world = await makeWorld()
    const refused = await post(world, events)
    expect([refused.status, Object.keys(refused.error.details.fields ?? {}).sort()]).toEqual([status, fields])
    expect(await listed(world)).toEqual([])
  })

  it('with a payload of 256 KB is taken; with one byte more it is refused and says which', async () => {
    const world = await makeWorld()
    expect((await post(world, [order(1), large(LIMIT)])).status).toBe(201)
    const refused = await post(world, [large(LIMIT), large(LIMIT + 1), order(2)])
    expect(refused.error).toMatchObject({
      ...{ status: 413, code: 'payload_too_large' },
      details: { field: 'events.1.data', limit_bytes: LIMIT, size_bytes: LIMIT + 1 },
    })
    expect(await listed(world)).toHaveLength(2)
    const { objects } = await env.FILES.list({ prefix: `${world.tenant.id}/events/` })
    expect(objects).toHaveLength(1)
  })

  it('is held against the types of its events, each place named by the event it is in', async () => {
    const world = await makeWorld()
    const schema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] }
    for (const [name, validation] of [
      ['order.strict', 'enforce'],
      ['order.warned', 'warn'],
    ] as const)
      await callJson('POST', '/api/v1/webhooks/event-types', {
        token: world.developer.token,
        body: { name, schema, validation },
      })
    const refused = await post(world, [
      order(1),
      order(2, { type: 'order.strict', data: { n: 'x' } }),
      order(3, { type: 'order.warned', data: {} }),
      order(4, { type: 'order.strict', data: {} }),
    ])
    expect([refused.status, refused.error.details.fields]).toEqual([
      422,
      { 'events.1.data.n': 'must be integer', 'events.3.data.n': 'is required by the schema' },
    ])
    expect(await listed(world)).toEqual([])
    const taken = await post(world, [
      order(1, { type: 'order.strict' }),
      order(3, { type: 'order.warned', data: {} }),
    ])
    expect(taken.data.events.map(({ schema_error }) => schema_error)).toEqual([
      null,
      'data.n is required by the schema',
    ])
  })
})

describe('a payload that is put away', () => {
  const large = { type: 'order.shipped', data: { text: 'x'.repeat(20_000) } }
  const put = async ({ tenant }: World) =>
    (await env.FILES.list({ prefix: `${tenant.id}/events/` })).objects.length

  it('is dropped where its batch is refused, and stays where it stands', async () => {
    const world = await makeWorld()
    const work: Promise<unknown>[] = []
    const ctx = { ...world.ctx, defer: (one: Promise<unknown>) => void work.push(one) }
    const refused = problem('conflict', 'no')
    const statements = [{ holds: sql`0`, otherwise: refused }]
    await expect(commit(ctx, { statements, events: [large], result: undefined })).rejects.toBe(refused)
    expect(work).toHaveLength(1)
    await Promise.all(work)
    expect(await put(world)).toBe(0)
    await commit(ctx, { statements: [], events: [large], result: undefined })
    await Promise.all(work)
    expect(await put(world)).toBe(1)
  })
})
