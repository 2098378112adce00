import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Attempt } from '../../src/domains/webhooks/deliveries/schema'
import { addCounts, HOUR_MS, noCounts, Tally } from '../../src/domains/webhooks/deliveries/tally'
import type { EndpointStats } from '../../src/domains/webhooks/endpoints/stats-schema'
import { newId } from '../../src/lib/ids'
import { callJson, makeWorld, type World } from '../world'
import { connect, deliveriesOf, makeEndpoint, send } from './deliver'
import { eventually } from './receiver'

const stats = (world: World, id: string, period = 'day') =>
  callJson<EndpointStats>('GET', `/api/v1/webhooks/${id}/stats?period=${period}`, {
    token: world.viewer.token,
  })

const attempt = (more: Partial<Attempt> = {}): Attempt => ({
  ...{ number: 1, attempted_at: '2026-01-31T10:00:00.000Z', duration_ms: 20, response_status: 200 },
  ...{ response_body: '', response_headers: {}, request_headers: {}, error: null, ...more },
})

describe('what an endpoint’s attempts came to', { timeout: 20_000 }, () => {
  it('is nothing at first, hour by hour', async () => {
    const world = await makeWorld()
    const { id } = await makeEndpoint(world, { url: 'https://example.com/' })
    const { status, data } = await stats(world, id)
    expect(status).toBe(200)
    expect(data).toMatchObject({
      ...{ period: 'day', attempts: 0, succeeded: 0, success_rate: null, outcomes: {} },
      ...{ deliveries: { delivered: 0, failed: 0, exhausted: 0 }, waiting: { pending: 0, held: 0 } },
      latency_ms: { p50: null, p95: null, p99: null },
    })
    expect(data.steps).toHaveLength(24)
    expect((await stats(world, id, 'week')).data.steps).toHaveLength(168)
    const month = (await stats(world, id, 'month')).data
    expect(month.steps).toHaveLength(30)
    expect(month.steps.map(({ since }) => since.slice(10))).toEqual(Array(30).fill('T00:00:00.000Z'))
    expect((await stats(world, id, 'year')).error.details.fields).toEqual({
      period: 'must be day, week or month',
    })
  })

  it('is counted by what was answered, and as deliveries end', async () => {
    const world = await makeWorld()
    const steps = [{}, { status: 500 }, { status: 404 }, { status: 204 }]
    const { endpoint } = await connect(world, steps)
    for (let n = 1; n <= steps.length; n++) {
      await send(world, 'order.shipped', { n })
      await eventually(async () => {
        const rows = await deliveriesOf(world, `endpoint_id=${endpoint.id}`)
        return rows.filter(({ attempt_count }) => attempt_count > 0).length === n
      })
    }
    const { data } = await stats(world, endpoint.id)
    expect(data).toMatchObject({
      ...{ attempts: 4, succeeded: 2, success_rate: 0.5, outcomes: { 200: 1, 204: 1, 404: 1, 500: 1 } },
      ...{ deliveries: { delivered: 2, failed: 0, exhausted: 0 }, waiting: { pending: 2, held: 0 } },
    })
    expect(data.latency_ms.p50).toBeGreaterThanOrEqual(0)
    expect(data.latency_ms.p50).toBeLessThanOrEqual(data.latency_ms.p99 ?? -1)
    expect(data.steps.reduce((sum, { attempts }) => sum + attempts, 0)).toBe(4)
    await callJson('POST', `/api/v1/webhooks/${endpoint.id}/pause`, { token: world.developer.token })
    expect((await stats(world, endpoint.id)).data.waiting).toEqual({ pending: 0, held: 2 })
  })

  it('is another tenant’s matter no more than the endpoint is', async () => {
    const [mine, theirs] = [await makeWorld(), await makeWorld()]
    const { id } = await makeEndpoint(mine, { url: 'https://example.com/' })
    expect((await stats(theirs, id)).status).toBe(404)
  })

  it('costs no more where ten thousands wait', async () => {
    const world = await makeWorld()
    const { id, tenant_id } = await makeEndpoint(world, { url: 'https://example.com/', status: 'paused' })
    await env.DB.prepare(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < 12000)
       insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, created_at)
       select ?1, printf('01970000-0000-7000-8000-%012x', i), 'msg_' || i, 'a.b', ?2, 'held', ?3 from n`,
    )
      .bind(tenant_id, id, '2026-01-31T10:00:00.000Z')
      .run()
    expect((await stats(world, id)).data.waiting).toEqual({ pending: 0, held: 100 })
    await env.DB.prepare('delete from deliveries where tenant_id = ?').bind(tenant_id).run()
  })
})

describe('the tally', () => {
  const inObject = <T>(work: (sql: SqlStorage) => T): Promise<T> =>
    runInDurableObject(env.ENDPOINTS.getByName(`tally/${newId(Date.now())}`), (_, { storage }) =>
      work(storage.sql),
    )
  const at = (hour: number) => hour * HOUR_MS + 1000

  it('adds up by the hour, over a restart too, and names why there was no answer', async () => {
    const hours = await inObject((sql) => {
      const tally = new Tally(sql)
      tally.add(attempt(), { status: 'delivered' }, at(500_000))
      tally.add(
        attempt({ response_status: 503, error: 'status: answered 503' }),
        { status: 'pending' },
        at(500_000),
      )
      const again = new Tally(sql)
      const none = { response_status: null, response_body: null }
      again.add(attempt({ ...none, error: 'network: reset' }), { status: 'exhausted' }, at(500_000))
      again.add(attempt({ error: 'timeout: no complete answer' }), { status: 'pending' }, at(500_001))
      again.add(
        attempt({ response_status: 410, error: 'gone: answered 410' }),
        { status: 'failed' },
        at(500_001),
      )
      return again.since(500_000)
    })
    expect(hours).toMatchObject([
      {
        hour: 500_000,
        counts: {
          ...{ attempts: 3, succeeded: 1, delivered: 1, failed: 0, exhausted: 1 },
          outcomes: { 200: 1, 503: 1, network: 1 },
        },
      },
      {
        hour: 500_001,
        counts: { attempts: 2, succeeded: 0, delivered: 0, failed: 1, outcomes: { timeout: 1, 410: 1 } },
      },
    ])
    const answered = Object.values(hours[0]?.counts.latency ?? {}).reduce((sum, n) => sum + n, 0)
    expect(answered).toBe(2)
  })

  it('keeps a month of hours, however long the endpoint lives', async () => {
    const kept = await inObject((sql) => {
      const tally = new Tally(sql)
      for (let hour = 0; hour < 2_000; hour++) tally.add(attempt(), { status: 'delivered' }, at(hour))
      return tally.since(0).map(({ hour }) => hour)
    })
    expect(kept).toHaveLength(745)
    expect([kept[0], kept.at(-1)]).toEqual([1_255, 1_999])
  })

  it('adds counts of several hours', () => {
    const sum = noCounts()
    addCounts(sum, { ...noCounts(), attempts: 2, succeeded: 1, outcomes: { 200: 2 }, latency: { 3: 2 } })
    addCounts(sum, {
      ...noCounts(),
      attempts: 1,
      failed: 1,
      outcomes: { 200: 1, timeout: 4 },
      latency: { 3: 1, 5: 1 },
    })
    expect(sum).toEqual({
      ...{ attempts: 3, succeeded: 1, delivered: 0, failed: 1, exhausted: 0 },
      ...{ outcomes: { 200: 3, timeout: 4 }, latency: { 3: 3, 5: 1 } },
    })
  })
})
