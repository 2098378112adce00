import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Polled } from '../../src/domains/webhooks/polling/schema'
import { iso, newId } from '../../src/lib/ids'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld, type World } from '../world'
import { connect, makeEndpoint, send } from './deliver'
import { eventually } from './receiver'

const URL = 'http://127.0.0.1:1025/'

async function poll(world: World, endpointId: string, query = ''): Promise<Polled> {
  const answer = await callJson<Polled>('GET', `/api/v1/webhooks/${endpointId}/poll?${query}`, {
    key: world.apiKey,
  })
  expect(answer.status, JSON.stringify(answer.error)).toBe(200)
  return answer.data
}

const ids = ({ events }: Polled) => events.map(({ id }) => id)

/** Events straight into D1, as their batches would write them; `at` is when their ids were made. */
async function insert(world: World, count: number, { at = Date.now(), type = 'order.shipped' } = {}) {
  const made = Array.from({ length: count }, () => `msg_${newId(at)}`)
  await env.DB.prepare(
    `insert into events (tenant_id, id, type, channels, data, dispatched, timestamp)
     select ?1, value, ?2, '[]', '{}', 1, ?3 from json_each(?4)`,
  )
    .bind(world.tenant.id, type, iso(at), JSON.stringify(made))
    .run()
  return made
}

describe('polling an endpoint', { timeout: 60_000 }, () => {
  it('answers with what an attempt would carry, from the endpoint’s first event on, and goes on by the cursor', async () => {
    const world = await makeWorld()
    await send(world)
    // What is not dispatched yet goes to an endpoint that is made meanwhile.
    await eventually(async () => {
      const open = env.DB.prepare('select 1 from events where tenant_id = ? and dispatched = 0')
      return (await open.bind(world.tenant.id).first()) === null
    })
    const { endpoint, receiver } = await connect(world, [{}])
    const empty = await poll(world, endpoint.id)
    expect(empty).toMatchObject({ events: [], done: true })
    const first = await send(
      world,
      'order.shipped',
      { n: 1, ü: '\u{1F600}' },
      { channels: ['a'], subject: 's-1' },
    )
    const large = await send(world, 'order.shipped', { text: 'x'.repeat(20_000) })
    const both = await poll(world, endpoint.id, `cursor=${empty.cursor}`)
    expect(ids(both)).toEqual([first, large])
    expect(both.done).toBe(true)
    expect(both.events[0]).toMatchObject({ type: 'order.shipped', channels: ['a'], subject: 's-1' })
    await eventually(async () => (await receiver.seen()).length === 2)
    for (const seen of await receiver.seen()) {
      const polled = both.events.find(({ id }) => id === seen.headers['webhook-id'])
      expect(JSON.stringify(polled?.payload)).toBe(seen.body)
    }
    expect(await poll(world, endpoint.id, `cursor=${both.cursor}`)).toMatchObject({ events: [], done: true })
    expect(ids(await poll(world, endpoint.id))).toEqual([first, large])
  })

  it('has the data alone where the endpoint wants that', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: URL, payload: 'data', status: 'paused' })
    await send(world, 'order.shipped', { n: 2 })
    expect((await poll(world, endpoint.id)).events[0]?.payload).toEqual({ n: 2 })
  })

  it('chooses as a push would: by type, channel and filter, for an endpoint that is paused too', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, {
      ...{ url: URL, status: 'paused', event_types: ['order.*'], channels: ['eu'] },
      filter: { path: 'n', compare: { gt: 1 } },
    })
    await send(world, 'invoice.paid', { n: 2 }, { channels: ['eu'] })
    await send(world, 'order.shipped', { n: 2 }, { channels: ['us'] })
    await send(world, 'order.shipped', { n: 1 }, { channels: ['eu'] })
    const wanted = await send(
      world,
      'order.lost',
      { n: 2, text: 'x'.repeat(20_000) },
      { channels: ['eu', 'us'] },
    )
    expect(ids(await poll(world, endpoint.id))).toEqual([wanted])
  })

  it('misses nothing that is committed late, whatever its id says', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: URL, status: 'paused' })
    const [early = '', late = ''] = [`msg_${newId(Date.now())}`, `msg_${newId(Date.now() + 5)}`]
    const put = (id: string) =>
      env.DB.prepare(
        `insert into events (tenant_id, id, type, channels, data, dispatched, timestamp) values (?, ?, 'order.shipped', '[]', '{}', 1, ?)`,
      )
        .bind(world.tenant.id, id, iso(Date.now()))
        .run()
    await put(late)
    const before = await poll(world, endpoint.id)
    expect(ids(before)).toEqual([late])
    await put(early)
    expect(ids(await poll(world, endpoint.id, `cursor=${before.cursor}`))).toEqual([early])
  })

  it('misses and repeats none while sixteen write and one polls', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: URL, status: 'paused' })
    const sent: string[] = []
    let writing = true
    const writers = Array.from({ length: 16 }, async () => {
      for (let n = 0; n < 10; n++) sent.push(await send(world, 'order.shipped', { n }))
    })
    const all = Promise.all(writers).finally(() => {
      writing = false
    })
    const got: string[] = []
    let cursor: string | null = null
    for (let last = false; !last; ) {
      last = !writing
      for (let done = false; !done; ) {
        const page: Polled = await poll(world, endpoint.id, `limit=7${cursor ? `&cursor=${cursor}` : ''}`)
        got.push(...ids(page))
        cursor = page.cursor
        done = page.done
      }
    }
    await all
    expect(got).toHaveLength(160)
    expect([...got].sort()).toEqual([...sent].sort())
  })

  it('goes on through what others take, a hundred events at a time, and reads no more for a longer past', async () => {
    const world = await makeWorld()
    // Its key’s event came before what is of yesterday here.
    await env.DB.prepare('delete from events where tenant_id = ?').bind(world.tenant.id).run()
    await insert(world, 3_000, { at: Date.now() - 24 * 3600_000 })
    const endpoint = await makeEndpoint(world, { url: URL, status: 'paused', event_types: ['order.lost'] })
    await insert(world, 2_500)
    const [wanted = ''] = await insert(world, 1, { type: 'order.lost' })
    let pages = 0
    const found: string[] = []
    for (let cursor = '', done = false; !done; pages++) {
      const page: Polled = await poll(world, endpoint.id, cursor)
      found.push(...ids(page))
      done = page.done
      cursor = `cursor=${page.cursor}`
    }
    expect([found, pages]).toEqual([[wanted], 26])
    expect(await poll(world, endpoint.id, `since=${iso(Date.now() - 48 * 3600_000)}`)).toMatchObject({
      events: [],
      done: false,
    })
  })

  it('reads a hundred payloads at most, and goes on behind those that its filter refuses', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, {
      ...{ url: URL, status: 'paused', filter: { path: 'wanted', equals: true } },
    })
    await insert(world, 250)
    const [wanted = ''] = await insert(world, 1)
    await env.DB.prepare(`update events set data = '{"wanted":true}' where id = ?`).bind(wanted).run()
    const first = await poll(world, endpoint.id)
    expect(first).toMatchObject({ events: [], done: false })
    const second = await poll(world, endpoint.id, `cursor=${first.cursor}`)
    expect(second).toMatchObject({ events: [], done: false })
    const third = await poll(world, endpoint.id, `cursor=${second.cursor}`)
    expect([ids(third), third.done]).toEqual([[wanted], true])
  })

  it('begins where it is told to, and shows without data what is no longer kept', async () => {
    const world = await makeWorld()
    const [old = ''] = await insert(world, 1, { at: Date.now() - 3600_000 })
    await env.DB.prepare('update events set data = null where tenant_id = ? and id = ?')
      .bind(world.tenant.id, old)
      .run()
    const endpoint = await makeEndpoint(world, { url: URL, status: 'paused' })
    expect(ids(await poll(world, endpoint.id))).toEqual([])
    const page = await poll(world, endpoint.id, `since=${iso(Date.now() - 7200_000)}`)
    expect(page.events).toMatchObject([{ id: old, payload: { id: old, type: 'order.shipped', data: null } }])
  })

  it('ends an answer at a megabyte', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: URL, status: 'paused' })
    const text = 'x'.repeat(240_000)
    const sent: string[] = []
    for (let n = 0; n < 6; n++) sent.push(await send(world, 'order.shipped', { text }))
    const first = await poll(world, endpoint.id)
    expect([first.events.length, first.done]).toEqual([5, false])
    const second = await poll(world, endpoint.id, `cursor=${first.cursor}`)
    expect([...ids(first), ...ids(second)]).toEqual(sent)
    expect(second.done).toBe(true)
  })

  it('refuses a cursor of another endpoint, and one with a beginning', async () => {
    const world = await makeWorld()
    const [one, other] = [await makeEndpoint(world, { url: URL }), await makeEndpoint(world, { url: URL })]
    const { cursor } = await poll(world, one.id)
    const ask = (query: string) =>
      expectError(
        call('GET', `/api/v1/webhooks/${other.id}/poll?${query}`, { key: world.apiKey }),
        'validation_failed',
      )
    expect(Object.keys((await ask(`cursor=${cursor}`)).details.fields ?? {})).toEqual(['cursor'])
    expect(Object.keys((await ask('cursor=nonsense')).details.fields ?? {})).toEqual(['cursor'])
    expect(Object.keys((await ask('since=yesterday')).details.fields ?? {})).toEqual(['since'])
    const own = (await poll(world, other.id)).cursor
    expect((await ask(`cursor=${own}&since=${iso(0)}`)).details.fields).toEqual({
      since: 'goes without a cursor, which says where to go on',
    })
  })

  it('is confined: the numbers of other tenants’ events lie between', async () => {
    const [a, b] = [await makeWorld(), await makeWorld()]
    const endpoint = await makeEndpoint(a, { url: URL, status: 'paused', event_types: ['*'] })
    const mine: string[] = []
    for (let n = 0; n < 3; n++) {
      mine.push(await send(a))
      await send(b)
    }
    const got = ids(await poll(a, endpoint.id))
    expect(got.filter((id) => mine.includes(id))).toEqual(mine)
    const theirs = await env.DB.prepare('select id from events where tenant_id = ?').bind(b.tenant.id).all()
    for (const { id } of theirs.results) expect(got).not.toContain(id)
  })
})
