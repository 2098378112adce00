import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { onWaiting } from '../../src/data/waiting'
import { MOST } from '../../src/domains/tenancy/plans'
import { eventsWaiting } from '../../src/domains/webhooks/now/service'
import { newId } from '../../src/lib/ids'
import { eventually, makeReceiver } from '../webhooks/receiver'
import { call, callJson, makeWorld, type World } from '../world'

type Latency = { p50: number | null; p95: number | null; p99: number | null }
type Status = {
  status: string
  requests: {
    status: string
    requests: number
    errors: number
    server_errors: number
    refused: number
    error_rate: number | null
    latency_ms: Latency
  }
  deliveries: {
    status: string
    pending: number
    held: number
    overdue_seconds: number
    endpoints: Record<string, number>
  }
  jobs: { status: string; queued: number; running: number; failed_last_day: number }
  interactions: { service_enabled: boolean }
}

async function read<T>(world: World, path: string): Promise<T> {
  const answer = await callJson<T>('GET', `/api/v1/monitoring/${path}`, { token: world.admin.token })
  expect(answer.status).toBe(200)
  return answer.data
}

const quietly = { headers: { 'CF-Connecting-IP': '203.0.113.9' } }

/** Deliveries as they stand in D1, without anything that would see to them. */
async function deliver(world: World, endpoint_id: string, status: string, next_attempt_at: string | null) {
  const id = newId(Date.now())
  await env.DB.prepare(
    `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, next_attempt_at, created_at)
      values (?1, ?2, 'msg_' || ?2, 'order.lost', ?3, ?4, ?5, '2026-01-31T10:00:00.000Z')`,
  )
    .bind(world.tenant.id, id, endpoint_id, status, next_attempt_at)
    .run()
}

async function makeEndpoint(world: World, status: string): Promise<string> {
  const receiver = await makeReceiver({ status: 200 })
  const body = { url: receiver.url, event_types: ['order.lost'] }
  const made = await callJson<{ id: string }>('POST', '/api/v1/webhooks', { token: world.admin.token, body })
  await env.DB.prepare('update endpoints set status = ? where tenant_id = ? and id = ?')
    .bind(status, world.tenant.id, made.data.id)
    .run()
  return made.data.id
}

const ago = (seconds: number) => new Date(Date.now() - seconds * 1_000).toISOString()

async function makeJob(world: World, status: string): Promise<void> {
  const at = ago(30)
  await env.DB.prepare(
    `insert into jobs (tenant_id, id, kind, status, input, state, created_at, updated_at)
      values (?1, ?2, 'webhooks.recover', ?3, '{}', 'null', ?4, ?4)`,
  )
    .bind(world.tenant.id, newId(Date.now() - 30_000), status, at)
    .run()
}

describe('status', () => {
  it('is healthy where nothing is wrong', async () => {
    const world = await makeWorld()
    await call('GET', '/api/v1/agents', { token: world.admin.token })
    const found = await read<Status>(world, 'status')
    expect(found.status).toBe('healthy')
    expect(found.requests).toMatchObject({ status: 'healthy', errors: 0, server_errors: 0, error_rate: 0 })
    expect(found.requests.requests).toBeGreaterThanOrEqual(1)
    expect(found.requests.latency_ms.p95).toBeGreaterThanOrEqual(0)
    expect(found.deliveries).toEqual({
      ...{ status: 'healthy', pending: 0, held: 0, overdue_seconds: 0 },
      endpoints: { active: 0, degraded: 0, paused: 0, disabled: 0 },
    })
    expect(found.interactions).toEqual({ service_enabled: true })
  })

  it('is degraded by an endpoint that is, and fails where deliveries are late', async () => {
    const world = await makeWorld()
    await makeEndpoint(world, 'degraded')
    expect(await read<Status>(world, 'status')).toMatchObject({
      ...{ status: 'degraded', requests: { status: 'healthy' } },
      deliveries: { status: 'degraded', endpoints: { active: 0, degraded: 1 } },
    })
    const late = await makeEndpoint(world, 'active')
    await deliver(world, late, 'pending', ago(601))
    const { status, deliveries } = await read<Status>(world, 'status')
    expect([status, deliveries.status, deliveries.pending]).toEqual(['failing', 'failing', 1])
    expect(deliveries.overdue_seconds).toBeGreaterThanOrEqual(601)
  })

  it('does not take for late what waits for its receiver, or is not to be sent', async () => {
    const world = await makeWorld()
    const [waits, paused] = [await makeEndpoint(world, 'active'), await makeEndpoint(world, 'paused')]
    await env.DB.prepare('update endpoints set not_before = ? where tenant_id = ? and id = ?')
      .bind(ago(-3_600), world.tenant.id, waits)
      .run()
    await deliver(world, waits, 'pending', ago(3_600))
    await deliver(world, paused, 'pending', ago(3_600))
    expect(await read<Status>(world, 'status')).toMatchObject({
      ...{ status: 'healthy', deliveries: { pending: 2, overdue_seconds: 0 } },
    })
  })

  it('is degraded by a job that failed within a day', async () => {
    const world = await makeWorld()
    await makeJob(world, 'failed')
    await makeJob(world, 'queued')
    expect(await read<Status>(world, 'status')).toMatchObject({
      ...{ status: 'degraded', jobs: { status: 'degraded', queued: 1, failed_last_day: 1 } },
    })
  })
})

describe('errors and latency', () => {
  it('tell the tenant’s own requests by status, category, endpoint and one by one', async () => {
    const world = await makeWorld({ rate_limits: MOST })
    const { token } = world.admin
    for (let n = 0; n < 3; n++)
      await call('GET', `/api/v1/agents/${crypto.randomUUID()}`, { token, ...quietly })
    await call('POST', '/api/v1/agents', { token, body: {}, ...quietly })
    await call('GET', '/api/v1/agents', { token, ...quietly })
    type Errors = {
      requests: number
      errors: number
      server_errors: number
      error_rate: number
      by_category: Record<string, number>
      by_status: { status: number; requests: number }[]
      by_endpoint: Record<string, unknown>[]
      recent: { status: number; endpoint: string }[]
    }
    const found = await read<Errors>(world, 'errors?minutes=5')
    expect(found).toMatchObject({
      ...{ requests: 5, errors: 4, server_errors: 0, error_rate: 0.8 },
      by_category: { not_found: 3, validation: 1 },
      by_status: [
        { status: 404, requests: 3 },
        { status: 422, requests: 1 },
      ],
    })
    expect(found.by_endpoint).toEqual([
      { method: 'GET', endpoint: '/api/v1/agents/:id', requests: 3, errors: 3, error_rate: 1 },
      { method: 'POST', endpoint: '/api/v1/agents', requests: 1, errors: 1, error_rate: 1 },
    ])
    expect(found.recent[0]).toMatchObject({ endpoint: '/api/v1/agents/:id', status: 404 })
    type Latencies = {
      requests: number
      latency_ms: Latency
      steps: { at: string; requests: number }[]
      by_endpoint: { method: string; endpoint: string; requests: number }[]
    }
    const latency = await read<Latencies>(world, 'latency?minutes=5')
    expect(latency.requests).toBe(6)
    expect(latency.steps.reduce((sum, { requests }) => sum + requests, 0)).toBe(6)
    expect(latency.by_endpoint.map(({ method, endpoint }) => `${method} ${endpoint}`).sort()).toEqual([
      'GET /api/v1/agents',
      'GET /api/v1/agents/:id',
      'GET /api/v1/monitoring/errors',
      'POST /api/v1/agents',
    ])
    const week = await read<Latencies>(world, 'latency?minutes=10080')
    expect(week.steps.every(({ at }) => at.endsWith(':00:00.000Z'))).toBe(true)
    const other = await makeWorld()
    expect((await read<Errors>(other, 'errors')).errors).toBe(0)
  })

  it('refuse a time that is none', async () => {
    const world = await makeWorld()
    for (const minutes of ['0', '10081', '1.5', 'x']) {
      const path = `/api/v1/monitoring/errors?minutes=${minutes}`
      const { status, error } = await callJson('GET', path, { token: world.admin.token })
      expect([status, error.details.fields]).toEqual([
        422,
        { minutes: 'must be a whole number of minutes from 1 to 10080' },
      ])
    }
  })

  it('are for administrators', async () => {
    const world = await makeWorld()
    for (const path of ['status', 'errors', 'latency', 'queues']) {
      const { status } = await callJson('GET', `/api/v1/monitoring/${path}`, { token: world.developer.token })
      expect(status).toBe(403)
    }
  })
})

describe('queues', () => {
  it('tell what of the tenant waits, the longest-due first, and nothing of others', async () => {
    const [world, other] = await Promise.all([makeWorld(), makeWorld()])
    const [one, two] = [await makeEndpoint(world, 'active'), await makeEndpoint(world, 'paused')]
    await deliver(world, one, 'pending', ago(-60))
    await deliver(world, two, 'pending', ago(60))
    await deliver(world, two, 'held', null)
    await makeJob(world, 'queued')
    type Queues = {
      events: { waiting: number; oldest_seconds: number | null }
      deliveries: { pending: number; held: number; overdue_seconds: number; endpoints: object[] }
      jobs: { queued: number; running: number; oldest_queued_seconds: number | null }
      incoming: Record<string, number>
      others: { name: string }[]
    }
    const found = await read<Queues>(world, 'queues')
    expect(found.deliveries).toEqual({
      ...{ pending: 2, held: 1, overdue_seconds: 0 },
      endpoints: [
        expect.objectContaining({ endpoint_id: two, status: 'paused', pending: 1, held: 1 }),
        expect.objectContaining({ endpoint_id: one, status: 'active', pending: 1, held: 0 }),
      ],
    })
    expect(found.jobs.queued).toBe(1)
    expect(found.jobs.oldest_queued_seconds).toBeGreaterThanOrEqual(30)
    expect(found.incoming).toEqual({ received_last_hour: 0, refused_last_hour: 0 })
    expect(found.events.waiting).toBeLessThan(5)
    const theirs = await read<Queues>(other, 'queues')
    expect([theirs.deliveries.pending, theirs.jobs.queued]).toEqual([0, 0])
    expect(theirs.deliveries.endpoints).toEqual([])
  })

  it('are counted up to a hundred, so that it costs the same however much waits', async () => {
    const world = await makeWorld()
    await makeJob(world, 'queued')
    await env.DB.prepare(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < 104)
        insert into jobs (tenant_id, id, kind, status, input, state, created_at, updated_at)
        select tenant_id, id || n.i, kind, status, input, state, created_at, updated_at from jobs, n where tenant_id = ?`,
    )
      .bind(world.tenant.id)
      .run()
    expect((await read<{ jobs: { queued: number } }>(world, 'queues')).jobs.queued).toBe(100)
  })

  it('tell events whose deliveries are not made yet', async () => {
    const [world, other] = await Promise.all([makeWorld(), makeWorld()])
    // What was announced of the tenants themselves comes first.
    for (const { ctx } of [world, other])
      await eventually(async () => (await eventsWaiting(ctx)).waiting === 0)
    const made = Date.now() - 7_000
    // The sweeper may be faster than a look.
    const waits = await eventually(async () => {
      await env.DB.prepare(
        `insert into events (tenant_id, id, type, channels, data, dispatched, timestamp)
          values (?1, 'msg_' || ?2, 'order.lost', '[]', '{}', 0, ?3)`,
      )
        .bind(world.tenant.id, newId(made), ago(7))
        .run()
      const found = await eventsWaiting(world.ctx)
      return (found.waiting ?? 0) > 0 && found
    })
    expect(Math.abs((waits.since ?? 0) - made)).toBeLessThan(1_000)
    expect(await eventsWaiting(other.ctx)).toEqual({ waiting: 0, since: null })
    // Behind a hundred of another nobody looks: it is not said that none waits.
    const behind = await eventually(async () => {
      await env.DB.prepare(
        `with recursive n(i) as (select 1 union all select i + 1 from n where i < 100)
          insert into events (tenant_id, id, type, channels, data, dispatched, timestamp)
          select ?1, 'msg_' || ?2 || n.i, 'order.lost', '[]', '{}', 0, ?3 from n`,
      )
        .bind(world.tenant.id, newId(made), ago(7))
        .run()
      const found = await eventsWaiting(other.ctx)
      return found.waiting === null && found
    })
    expect(behind).toEqual({ waiting: null, since: null })
  })

  it('tell those that others declared', async () => {
    const world = await makeWorld()
    const since = ago(5)
    onWaiting(async ({ tenant }) => ({
      ...{ name: 'of this test', waiting: 3, since, stuck: 1 },
      ...(tenant.id === world.tenant.id ? {} : { waiting: 0, since: null, stuck: 0 }),
    }))
    const { others } = await read<{ others: Record<string, unknown>[] }>(world, 'queues')
    const own = others.find(({ name }) => name === 'of this test')
    expect(own).toMatchObject({ waiting: 3, stuck: 1 })
    expect(own?.oldest_seconds).toBeGreaterThanOrEqual(5)
  })
})
