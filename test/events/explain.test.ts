import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Explanation } from '../../src/domains/webhooks/explain/schema'
import { connect, deliveriesOf, makeEndpoint, send, settled } from '../webhooks/deliver'
import { eventually } from '../webhooks/receiver'
import { callJson, makeWorld, type World } from '../world'

const DEAD = 'http://127.0.0.1:1025/'

const explain = (world: World, id: string, query = '') =>
  callJson<Explanation[]>('GET', `/api/v1/events/${id}/explain${query}`, { token: world.viewer.token })

const reasons = async (world: World, id: string) =>
  Object.fromEntries((await explain(world, id)).data.map((one) => [one.endpoint_id, one.reason]))

const dispatched = (id: string) =>
  eventually(
    async () =>
      (await env.DB.prepare('select dispatched from events where id = ?').bind(id).first('dispatched')) === 1,
  )

describe('why an event went where, and not elsewhere', { timeout: 30_000 }, () => {
  it('names what said no, and how each delivery stands', async () => {
    const world = await makeWorld()
    const arrived = (await connect(world, [{}], { uid: 'billing' })).endpoint
    const failing = (await connect(world, [{ status: 500 }])).endpoint
    const gone = (await connect(world, [{ status: 410 }])).endpoint
    const busy = (await connect(world, [{ status: 429, headers: { 'retry-after': '3600' } }])).endpoint
    const paused = await makeEndpoint(world, { url: DEAD, status: 'paused' })
    const other = await makeEndpoint(world, { url: DEAD, event_types: ['order.lost', 'chat.*'] })
    const channel = await makeEndpoint(world, { url: DEAD, channels: ['elsewhere'] })
    const filter = await makeEndpoint(world, {
      ...{
        url: DEAD,
        filter: {
          and: [
            { path: 'n', equals: 1 },
            { path: 'country', equals: 'NO' },
          ],
        },
      },
    })
    const deleted = await makeEndpoint(world, { url: DEAD, status: 'paused' })
    const id = await send(world, 'order.shipped', { n: 1 }, { channels: ['here'] })
    for (const endpoint of [arrived, failing, gone, busy]) await settled(world, endpoint.id)
    await eventually(async () => (await deliveriesOf(world, `event_id=${id}`)).length === 6)
    await callJson('DELETE', `/api/v1/webhooks/${deleted.id}`, { token: world.developer.token })
    const late = await makeEndpoint(world, { url: DEAD })

    const { status, data, meta } = await explain(world, id)
    expect([status, meta.next_cursor]).toEqual([200, null])
    const by = new Map(data.map((one) => [one.endpoint_id, one]))
    const matched = { matched: true, at: null }
    const refused = { matched: false, delivery: null }
    expect(by.get(arrived.id)).toMatchObject({
      ...{ ...matched, uid: 'billing', reason: 'delivered', endpoint_status: 'active' },
      delivery: { status: 'delivered', attempt_count: 1, next_attempt_at: null },
    })
    expect(by.get(failing.id)).toMatchObject({
      ...matched,
      reason: 'retrying',
      delivery: { attempt_count: 1 },
    })
    expect(by.get(failing.id)?.why).toContain(by.get(failing.id)?.delivery?.next_attempt_at)
    expect(by.get(gone.id)).toMatchObject({ ...matched, reason: 'failed', endpoint_status: 'disabled' })
    const wait = by.get(busy.id)
    expect(wait).toMatchObject({ ...matched, reason: 'asked_to_wait', delivery: { status: 'pending' } })
    expect(Date.parse(wait?.delivery?.next_attempt_at ?? '')).toBeGreaterThan(Date.now() + 3_500_000)
    expect(by.get(paused.id)).toMatchObject({
      ...matched,
      reason: 'held',
      why: expect.stringContaining('is paused'),
    })
    expect(by.get(deleted.id)).toMatchObject({
      ...{ ...matched, reason: 'cancelled', endpoint_status: 'deleted', why: 'The endpoint was deleted.' },
    })
    expect(by.get(other.id)).toMatchObject({ ...refused, reason: 'event_types', at: null })
    expect(by.get(channel.id)).toMatchObject({ ...refused, reason: 'channels' })
    expect(by.get(filter.id)).toMatchObject({ ...refused, reason: 'filter', at: expect.stringMatching(/1$/) })
    expect(by.get(late.id)).toMatchObject({ ...refused, reason: 'made_later' })
    expect(by.size).toBe(data.length)
    expect(data).toHaveLength(10)
  })

  it('tells what was changed since, and what is not dispatched yet', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: DEAD, event_types: ['order.lost'], status: 'paused' })
    const id = await send(world)
    await dispatched(id)
    expect(await reasons(world, id)).toEqual({ [endpoint.id]: 'event_types' })
    await callJson('PATCH', `/api/v1/webhooks/${endpoint.id}`, {
      token: world.developer.token,
      body: { event_types: ['order.*'] },
    })
    expect(await reasons(world, id)).toEqual({ [endpoint.id]: 'changed_since' })
    await env.DB.prepare('update events set dispatched = 0 where id = ?').bind(id).run()
    expect(await reasons(world, id)).toEqual({ [endpoint.id]: 'not_dispatched' })
    await env.DB.prepare('update events set dispatched = 1 where id = ?').bind(id).run()
  })

  it('tells that an earlier event of the subject has not arrived', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{ status: 500 }], { ordered: true })
    const first = await send(world, 'order.shipped', {}, { subject: 's' })
    await settled(world, endpoint.id)
    const second = await send(world, 'order.shipped', {}, { subject: 's' })
    await dispatched(second)
    expect(await reasons(world, first)).toEqual({ [endpoint.id]: 'retrying' })
    await eventually(async () => (await reasons(world, second))[endpoint.id] === 'behind_another')
    expect((await explain(world, second)).data[0]?.delivery?.next_attempt_at).toBeNull()
  })

  it('goes page by page, through each endpoint once, and knows the tenant’s own events alone', async () => {
    const world = await makeWorld()
    const made: string[] = []
    for (let i = 0; i < 5; i++)
      made.unshift(
        (await makeEndpoint(world, { url: DEAD, status: i % 2 ? 'paused' : 'active', event_types: ['x'] }))
          .id,
      )
    const id = await send(world)
    const paged: string[] = []
    for (let cursor = ''; ; ) {
      const page = await explain(world, id, `?limit=2${cursor}`)
      paged.push(...page.data.map(({ endpoint_id }) => endpoint_id))
      if (page.meta.next_cursor === null) break
      cursor = `&cursor=${page.meta.next_cursor}`
    }
    expect(paged).toEqual(made)
    const other = await makeWorld()
    expect((await explain(other, id)).status).toBe(404)
    expect((await explain(world, 'msg_1')).status).toBe(422)
  })
})
