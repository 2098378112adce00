import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Report } from '../../src/domains/webhooks/deliveries/attempt-log'
import { fanOut } from '../../src/domains/webhooks/deliveries/fan-out'
import { HEALTHY } from '../../src/domains/webhooks/deliveries/health'
import { report } from '../../src/domains/webhooks/deliveries/report'
import type { Verdict } from '../../src/domains/webhooks/deliveries/verdict'
import { callJson, makeWorld, requestContext, type World } from '../world'
import { deliveriesOf, makeEndpoint, send, wake } from './deliver'
import { eventually, makeReceiver } from './receiver'

/** A tenant with an endpoint whose object is never woken, and a delivery to it that is pending. */
async function makePending() {
  const world = await makeWorld()
  const endpoint = await makeEndpoint(world, { url: 'http://127.0.0.1:1025/', status: 'paused' })
  await fanOut(world.ctx, [await send(world)])
  await env.DB.batch([
    env.DB.prepare(`update endpoints set status = 'active' where id = ?`).bind(endpoint.id),
    env.DB.prepare(
      `update deliveries set status = 'pending', next_attempt_at = '2099-01-01' where endpoint_id = ?`,
    ).bind(endpoint.id),
  ])
  const [delivery] = await deliveriesOf(world, `endpoint_id=${endpoint.id}`)
  const told = (verdict: Partial<Verdict>, more: Partial<Report> = {}): Report => ({
    ...{ delivery_id: delivery?.id ?? '', event_id: delivery?.event_id ?? '', event_type: 'order.shipped' },
    ...{ number: 1, retries: 0, ended_at: Date.now(), response_status: 500, error: 'status: answered 500' },
    ...more,
    verdict: {
      ...{ status: 'pending', next_attempt_at: null, disable: null, wait_until: null, circuit: null },
      ...verdict,
    },
  })
  const tell = (...reports: Report[]) =>
    report({ ...world.ctx, ...requestContext() }, endpoint.id, reports, { health: HEALTHY, ordered: false })
  const read = async () => (await deliveriesOf(world, `endpoint_id=${endpoint.id}`))[0]
  return { world, endpoint, told, tell, read }
}

const eventsOf = async (world: World, type: string) =>
  (await callJson<{ data: unknown }[]>('GET', `/api/v1/events?type=${type}`, { key: world.apiKey })).data

describe('a report that is told twice', { timeout: 20_000 }, () => {
  it('announces the end of the schedule once', async () => {
    const { world, told, tell, read } = await makePending()
    const exhausted = told({ status: 'exhausted' }, { number: 10 })
    await tell(exhausted)
    await tell(exhausted)
    expect(await read()).toMatchObject({ status: 'exhausted', attempt_count: 10, next_attempt_at: null })
    expect(await eventsOf(world, 'delivery.exhausted')).toHaveLength(1)
  })

  it('announces the disabling of an endpoint once', async () => {
    const { world, endpoint, told, tell, read } = await makePending()
    const gone = told({ status: 'failed', disable: 'gone' }, { response_status: 410 })
    await Promise.all([tell(gone), tell(gone)])
    await tell(gone)
    expect(await read()).toMatchObject({ status: 'failed', attempt_count: 1 })
    expect(await eventsOf(world, 'endpoint.disabled')).toMatchObject([{ data: { endpoint_id: endpoint.id } }])
    const audit = await env.DB.prepare(
      `select actor_kind, before, after from audit_log where tenant_id = ? and action = 'endpoint.disable'`,
    )
      .bind(world.tenant.id)
      .all()
    expect(audit.results).toHaveLength(1)
  })

  it('gives the owner of a degraded endpoint a notice once', async () => {
    const { world, endpoint, told } = await makePending()
    await env.DB.prepare(`update endpoints set status = 'degraded' where id = ?`).bind(endpoint.id).run()
    const DAY = 86_400_000
    const health = {
      ...HEALTHY,
      failures: 20,
      failing_since: Date.now() - 2 * DAY,
      degraded: true,
      probes: 9,
    }
    const failed = told({ status: 'held', circuit: 'probe' })
    for (let n = 0; n < 2; n++)
      await report({ ...world.ctx, ...requestContext() }, endpoint.id, [failed], { health, ordered: false })
    expect(await eventsOf(world, 'endpoint.degraded')).toMatchObject([{ data: { notice: 1 } }])
    const mails = await env.DB.prepare('select id from mails where tenant_id = ?').bind(world.tenant.id).all()
    expect(mails.results).toHaveLength(1)
    // The next failure, and the next notice of the same, are others.
    for (const later of [
      { ...health, notices: 1 },
      { ...health, failing_since: Date.now() - 1.5 * DAY },
    ].map((one) => ({ ...one, failing_since: one.failing_since - 2 * DAY })))
      await report({ ...world.ctx, ...requestContext() }, endpoint.id, [failed], {
        ...{ health: later, ordered: false },
      })
    expect(await eventsOf(world, 'endpoint.degraded')).toHaveLength(3)
  })

  it('of an endpoint that is gone changes the delivery alone', async () => {
    const { world, endpoint, told, tell, read } = await makePending()
    await callJson('DELETE', `/api/v1/webhooks/${endpoint.id}`, { token: world.developer.token })
    await tell(told({ status: 'failed', disable: 'gone' }))
    expect(await read()).toMatchObject({ status: 'cancelled', attempt_count: 1 })
    expect(await eventsOf(world, 'endpoint.disabled')).toEqual([])
  })
})

describe('a report', { timeout: 20_000 }, () => {
  it('decides nothing where a retry was asked for meanwhile, but counts', async () => {
    const { world, told, tell, read } = await makePending()
    const before = await read()
    await env.DB.prepare('update deliveries set retries = 1 where tenant_id = ?').bind(world.tenant.id).run()
    await tell(told({ status: 'failed' }))
    expect(await read()).toMatchObject({
      status: 'pending',
      attempt_count: 1,
      next_attempt_at: before?.next_attempt_at,
    })
    await tell(told({ status: 'exhausted' }, { number: 2 }))
    expect(await read()).toMatchObject({ status: 'pending', attempt_count: 2 })
    expect(await eventsOf(world, 'delivery.exhausted')).toEqual([])
  })

  it('of a success delivers what was held or cancelled meanwhile', async () => {
    for (const status of ['held', 'cancelled']) {
      const { world, told, tell, read } = await makePending()
      await env.DB.prepare('update deliveries set status = ? where tenant_id = ?')
        .bind(status, world.tenant.id)
        .run()
      await tell(told({ status: 'delivered' }, { error: null, response_status: 200 }))
      expect(await read()).toMatchObject({ status: 'delivered', delivered_at: expect.any(String) })
    }
  })

  it('of several waits keeps the longest', async () => {
    const { endpoint, told, tell } = await makePending()
    const at = Date.now()
    const wait = (ms: number) => told({ next_attempt_at: at + ms, wait_until: at + ms })
    await tell(wait(60_000), wait(600_000))
    await tell(wait(120_000))
    const row = await env.DB.prepare('select not_before from endpoints where id = ?')
      .bind(endpoint.id)
      .first()
    expect(row).toEqual({ not_before: new Date(at + 600_000).toISOString() })
  })
})

describe('a payload that is no longer kept', { timeout: 20_000 }, () => {
  it('ends its delivery without a request', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver({})
    const endpoint = await makeEndpoint(world, { url: receiver.url, status: 'paused' })
    const event = await send(world, 'order.shipped', { text: 'x'.repeat(20_000) })
    await fanOut(world.ctx, [event])
    await env.FILES.delete(`${world.tenant.id}/events/${event}`)
    await callJson('POST', `/api/v1/webhooks/${endpoint.id}/enable`, { token: world.developer.token })
    await wake(world, endpoint.id)
    const [row] = await eventually(async () => {
      const rows = await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=failed`)
      return rows.length > 0 && rows
    })
    const read = await callJson<{ attempts: unknown }>('GET', `/api/v1/deliveries/${row?.id}`, {
      key: world.apiKey,
    })
    expect(read.data.attempts).toMatchObject([{ number: 1, error: 'payload: it is no longer kept' }])
    expect(await receiver.seen()).toEqual([])
    const listed = await callJson<{ id: string }[]>(
      'GET',
      `/api/v1/webhooks/${endpoint.id}/deliveries?status=failed`,
      {
        token: world.viewer.token,
      },
    )
    expect(listed.data.map(({ id }) => id)).toEqual([row?.id])
  })
})
