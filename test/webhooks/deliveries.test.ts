import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Delivery } from '../../src/domains/webhooks/deliveries/schema'
import { firstIdAt, iso, newId } from '../../src/lib/ids'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld, type World } from '../world'
import { connect, deliveriesOf, makeEndpoint, readDelivery, send, settled } from './deliver'
import { eventually } from './receiver'

const URL = 'http://127.0.0.1:1025/'
const HOUR = 3600_000

const retry = (world: World, id: string) =>
  callJson<Delivery>('POST', `/api/v1/deliveries/${id}/retry`, { token: world.developer.token })

const the = async (world: World, endpointId: string): Promise<string> => {
  const [row] = await eventually(async () => {
    const rows = await deliveriesOf(world, `endpoint_id=${endpointId}`)
    return rows.length > 0 && rows
  })
  return row?.id ?? ''
}

describe('a retry by hand', { timeout: 40_000 }, () => {
  it('while an attempt is under way is not swallowed: another follows', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{ delay_ms: 800 }, {}])
    await send(world)
    const id = await the(world, endpoint.id)
    await eventually(async () => (await receiver.seen()).length === 1)
    const { status, data } = await retry(world, id)
    expect([status, data.status]).toEqual([202, 'pending'])
    await eventually(async () => (await receiver.seen()).length === 2)
    const done = await settled(
      world,
      endpoint.id,
      (one) => one.attempt_count === 2 && one.status === 'delivered',
    )
    expect(done.attempts.map(({ number }) => number)).toEqual([1, 2])
  })

  it('decides, and not the failure of the attempt that was under way', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{ status: 500, delay_ms: 800 }, {}])
    await send(world)
    const id = await the(world, endpoint.id)
    await eventually(async () => (await receiver.seen()).length === 1)
    expect((await retry(world, id)).status).toBe(202)
    const done = await settled(world, endpoint.id, (one) => one.status === 'delivered')
    expect(done.attempts.map(({ response_status }) => response_status)).toEqual([500, 200])
    expect(done.next_attempt_at).toBeNull()
  })

  it('takes the place of the attempt that is scheduled', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{ status: 500 }, {}])
    await send(world)
    const failed = await settled(world, endpoint.id)
    expect(Date.parse(failed.next_attempt_at ?? '')).toBeGreaterThan(Date.now() + 3_000)
    await retry(world, failed.id)
    await settled(world, endpoint.id, (one) => one.status === 'delivered')
    await scheduler.wait(6_000)
    expect(await receiver.seen()).toHaveLength(2)
  })

  it('by fifty at once ends delivered, with an attempt that began after the last was answered', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{}])
    await send(world)
    const { id } = await settled(world, endpoint.id, (one) => one.status === 'delivered')
    const answers = await Promise.all(Array.from({ length: 50 }, () => retry(world, id)))
    const answered = Date.now()
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 50 }, () => 202))
    const done = await settled(world, endpoint.id, (one) => {
      const last = one.attempts.at(-1)
      return one.status === 'delivered' && one.attempts.length > 1 && last?.number === one.attempts.length
    })
    const row = await env.DB.prepare('select retries, status from deliveries where tenant_id = ? and id = ?')
      .bind(world.tenant.id, id)
      .first()
    expect(row).toEqual({ retries: 50, status: 'delivered' })
    await eventually(async () => {
      const { attempts } = await readDelivery(world, id)
      return attempts.length === (await receiver.seen()).length
    })
    expect(done.attempts.length).toBeLessThanOrEqual(51)
    expect(Date.parse(done.attempts.at(-1)?.attempted_at ?? '')).toBeLessThanOrEqual(answered + 5_000)
  })

  it('with one idempotency key is one retry', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}])
    await send(world)
    const { id } = await settled(world, endpoint.id, (one) => one.status === 'delivered')
    const init = { token: world.developer.token, headers: { 'X-Idempotency-Key': 'once' } }
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => call('POST', `/api/v1/deliveries/${id}/retry`, init)),
    )
    for (const { status } of answers) expect([202, 409]).toContain(status)
    const retries = await env.DB.prepare('select retries from deliveries where tenant_id = ? and id = ?')
      .bind(world.tenant.id, id)
      .first<number>('retries')
    expect(retries).toBe(1)
  })

  it('racing with a pause or a deletion leaves nothing pending', async () => {
    const world = await makeWorld()
    for (const [method, end, after] of [
      ['POST', '/pause', 'held'],
      ['DELETE', '', 'cancelled'],
    ] as const)
      for (let round = 0; round < 4; round++) {
        const { endpoint } = await connect(world, [{ status: 500 }])
        await send(world)
        const { id } = await settled(world, endpoint.id)
        const stop = () => call(method, `/api/v1/webhooks/${endpoint.id}${end}`, { token: world.admin.token })
        const late = round * 3
        const [retried, stopped] = await Promise.all([
          scheduler.wait(late).then(() => retry(world, id)),
          scheduler.wait(9 - late).then(stop),
        ])
        expect(stopped.status).toBeLessThan(300)
        expect([202, 409]).toContain(retried.status)
        const left = await eventually(async () => {
          const row = await readDelivery(world, id)
          return row.status !== 'pending' && row
        })
        expect([after, 'delivered']).toContain(left.status)
      }
  })

  it('is refused where nobody would send it, or nothing is left to send', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}])
    await send(world)
    const { id } = await settled(world, endpoint.id, (one) => one.status === 'delivered')
    await env.DB.prepare('update events set data = null where tenant_id = ?').bind(world.tenant.id).run()
    const gone = await expectError(
      call('POST', `/api/v1/deliveries/${id}/retry`, { token: world.developer.token }),
      'delivery_not_retryable',
    )
    expect(gone.message).toBe('The event’s payload is no longer kept')
    await call('POST', `/api/v1/webhooks/${endpoint.id}/pause`, { token: world.admin.token })
    const paused = await expectError(
      call('POST', `/api/v1/deliveries/${id}/retry`, { token: world.developer.token }),
      'delivery_not_retryable',
    )
    expect(paused.details).toEqual({ endpoint_id: endpoint.id, endpoint_status: 'paused' })
    expect((await readDelivery(world, id)).status).toBe('delivered')
  })

  it('lines up with what is held where the endpoint is degraded', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}])
    await send(world)
    const { id } = await settled(world, endpoint.id, (one) => one.status === 'delivered')
    await env.DB.prepare(
      `update endpoints set status = 'degraded', not_before = ? where tenant_id = ? and id = ?`,
    )
      .bind(iso(Date.now() + HOUR), world.tenant.id, endpoint.id)
      .run()
    const { status, data } = await retry(world, id)
    expect([status, data.status, data.next_attempt_at]).toEqual([202, 'held', null])
    expect((await readDelivery(world, id)).status).toBe('held')
    const enabled = await call('POST', `/api/v1/webhooks/${endpoint.id}/enable`, { token: world.admin.token })
    expect(enabled.status).toBe(200)
    const done = await settled(
      world,
      endpoint.id,
      (one) => one.status === 'delivered' && one.attempt_count === 2,
    )
    expect(done.attempts).toHaveLength(2)
  })
})

/** The events of deliveries that were put there by hand. */
const theirEvents = ({ tenant }: World) =>
  env.DB.prepare(
    `insert into events (tenant_id, id, type, channels, data, dispatched, timestamp)
      select tenant_id, event_id, event_type, '[]', '{}', 1, created_at from deliveries where tenant_id = ?`,
  )
    .bind(tenant.id)
    .run()

describe('the list of deliveries', { timeout: 40_000 }, () => {
  /** So many deliveries of each status, type and endpoint, the newest first. */
  async function many(world: World, count: number) {
    const ends = [await makeEndpoint(world, { url: URL }), await makeEndpoint(world, { url: URL })]
    const statuses = ['delivered', 'exhausted', 'failed', 'held', 'cancelled', 'pending']
    const rows = Array.from({ length: count }, (_, i) => {
      const end = ends[i % 2]
      const event = newId(Date.now() - HOUR)
      return {
        id: event.slice(0, 30) + (end?.id.slice(-6) ?? ''),
        event_id: `msg_${event}`,
        event_type: i % 3 === 0 ? 'order.lost' : 'order.shipped',
        endpoint_id: end?.id ?? '',
        status: statuses[Math.floor(i / 2) % statuses.length] ?? '',
      }
    })
    await env.DB.prepare(
      `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, next_attempt_at, created_at)
       select ?1, value ->> 'id', value ->> 'event_id', value ->> 'event_type', value ->> 'endpoint_id',
         value ->> 'status', case value ->> 'status' when 'pending' then ?2 end, ?3 from json_each(?4)`,
    )
      .bind(world.tenant.id, iso(Date.now() + HOUR), iso(Date.now() - HOUR), JSON.stringify(rows))
      .run()
    await theirEvents(world)
    return { ends, rows: rows.reverse() }
  }

  it('is filtered by each of its fields, and by all of them together', async () => {
    const world = await makeWorld()
    const { ends, rows } = await many(world, 72)
    const wanted: Record<string, string>[] = [{}]
    for (const status of ['delivered', 'exhausted', 'held', 'pending']) wanted.push({ status })
    for (const one of [...wanted])
      wanted.push({ ...one, endpoint_id: ends[0]?.id ?? '' }, { ...one, event_type: 'order.lost' })
    wanted.push({ status: 'failed', endpoint_id: ends[1]?.id ?? '', event_type: 'order.shipped' })
    wanted.push(
      { event_id: rows[5]?.event_id ?? '' },
      { event_id: rows[5]?.event_id ?? '', status: 'delivered' },
    )
    for (const filters of wanted) {
      const expected = rows.filter((row) =>
        Object.entries(filters).every(([name, value]) => row[name as keyof typeof row] === value),
      )
      const found = await deliveriesOf(world, new URLSearchParams({ ...filters, limit: '100' }).toString())
      expect([filters, found.map(({ id }) => id)]).toEqual([filters, expected.map(({ id }) => id)])
    }
    const since = (ms: number) => deliveriesOf(world, `created_after=${iso(Date.now() - ms)}&limit=100`)
    const until = (ms: number) => deliveriesOf(world, `created_before=${iso(Date.now() - ms)}&limit=100`)
    expect([(await since(2 * HOUR)).length, (await since(HOUR / 2)).length]).toEqual([72, 0])
    expect([(await until(2 * HOUR)).length, (await until(HOUR / 2)).length]).toEqual([0, 72])
  })

  it('is paged to its end by several filters, whatever lies between, and never twice', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: URL })
    const head = firstIdAt(Date.now() - HOUR).slice(0, 13)
    await env.DB.prepare(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < 12000)
       insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, created_at)
       select ?1, ?2 || '-7000-8000-' || printf('%06x', i) || ?3,
         'msg_' || ?2 || '-7000-8000-' || printf('%06x', i) || '000000', 'order.shipped', ?4,
         case when i in (3, 4, 5999, 11999) then 'exhausted' else 'delivered' end, ?5 from n`,
    )
      .bind(world.tenant.id, head, endpoint.id.slice(-6), endpoint.id, iso(Date.now()))
      .run()
    await theirEvents(world)
    const walk = async (query: string) => {
      const found: number[] = []
      let pages = 0
      for (let cursor: string | null = ''; cursor !== null; pages++) {
        const page = await callJson<Delivery[]>(
          'GET',
          `/api/v1/deliveries?${query}${cursor ? `&cursor=${cursor}` : ''}`,
          { token: world.developer.token },
        )
        expect(page.status).toBe(200)
        found.push(...page.data.map(({ event_id }) => Number.parseInt(event_id.slice(-12, -6), 16)))
        cursor = page.meta.next_cursor as string | null
      }
      return { found, pages }
    }
    // The status leads, and few have it.
    const dead = await walk(`status=exhausted&endpoint_id=${endpoint.id}&limit=3`)
    expect(dead).toEqual({ found: [11_999, 5_999, 4, 3], pages: 2 })
    expect(await walk('event_type=order.lost&status=delivered&limit=3')).toEqual({ found: [], pages: 1 })
    const none = await walk(`event_type=order.lost&endpoint_id=${endpoint.id}&limit=3`)
    expect(none).toEqual({ found: [], pages: 1 })
    const other = await walk(`status=exhausted&event_type=order.lost&limit=3`)
    expect(other).toEqual({ found: [], pages: 1 })
    const all = `status=exhausted&event_type=order.shipped&endpoint_id=${endpoint.id}&limit=3`
    expect(await walk(all)).toEqual({ found: [11_999, 5_999, 4, 3], pages: 2 })
    // Where no index leads to those that are wanted, a page looks at five for each.
    await env.DB.prepare(
      "update deliveries set status = iif(event_id like '%000003000000', 'delivered', 'exhausted') where tenant_id = ?",
    )
      .bind(world.tenant.id)
      .run()
    const arrived = await walk(`status=delivered&endpoint_id=${endpoint.id}&limit=100`)
    expect(arrived).toEqual({ found: [3], pages: 24 })
    const shipped = await walk(`status=delivered&event_type=order.shipped&limit=100`)
    expect(shipped).toEqual({ found: [3], pages: 24 })
    // Of events that went to others a page looks at no more than that, either.
    await env.DB.prepare('update deliveries set endpoint_id = ?2 where tenant_id = ?1 and status = ?3')
      .bind(world.tenant.id, crypto.randomUUID(), 'exhausted')
      .run()
    const sent = await walk(`event_type=order.shipped&endpoint_id=${endpoint.id}&limit=100`)
    expect(sent.found).toEqual([3])
    expect(sent.pages).toBeGreaterThan(20)
    for (const table of ['deliveries', 'events'])
      await env.DB.prepare(`delete from ${table} where tenant_id = ?`).bind(world.tenant.id).run()
  })
})
