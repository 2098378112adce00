import { runDurableObjectAlarm } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Job } from '../../src/domains/jobs/schema'
import { firstIdAt, iso } from '../../src/lib/ids'
import { expectError } from '../http/expect-error'
import { endedJob } from '../jobs/kit'
import { call, callJson, makeWorld, type World } from '../world'
import { connect, deliveriesOf, makeEndpoint, send } from './deliver'
import { eventually } from './receiver'

const HOUR = 3600_000
const ago = (ms: number) => iso(Date.now() - ms)

async function recover(world: World, endpointId: string, body: object) {
  const answer = await callJson<Job>('POST', `/api/v1/webhooks/${endpointId}/recover`, {
    token: world.developer.token,
    body,
  })
  expect(answer.status, JSON.stringify(answer.error)).toBe(202)
  return answer.data
}

/** `count` events of an hour ago, dispatched, with a delivery in `status` to the endpoint; none where it is null. */
async function past(
  world: World,
  endpoint: { id: string },
  count: number,
  status: string | null,
  { type = 'order.shipped', data = '{"n":1}' as string | null, from = 0, ms = HOUR } = {},
) {
  const head = firstIdAt(Date.now() - ms).slice(0, 13)
  const numbers = `with recursive n(i) as (select ${from + 1} union all select i + 1 from n where i < ${from + count})`
  const id = `'${head}-7000-8000-' || printf('%06x', i)`
  const statements = [
    env.DB.prepare(
      `insert into events (tenant_id, id, type, channels, data, dispatched, timestamp)
       ${numbers} select ?1, 'msg_' || ${id} || '000000', ?2, '[]', ?3, 1, ?4 from n`,
    ).bind(world.tenant.id, type, data, ago(ms)),
  ]
  if (status !== null)
    statements.push(
      env.DB.prepare(
        `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, attempt_count, created_at)
         ${numbers} select ?1, ${id} || ?2, 'msg_' || ${id} || '000000', ?3, ?4, ?5, 3, ?6 from n`,
      ).bind(world.tenant.id, endpoint.id.slice(-6), type, endpoint.id, status, ago(ms)),
    )
  await env.DB.batch(statements)
}

const counts = async (world: World, endpointId: string) => {
  const { results } = await env.DB.prepare(
    'select status, count(*) as n from deliveries where tenant_id = ? and endpoint_id = ? group by status',
  )
    .bind(world.tenant.id, endpointId)
    .all<{ status: string; n: number }>()
  return Object.fromEntries(results.map(({ status, n }) => [status, n]))
}

const NONE = { failed: 0, exhausted: 0, held: 0, missing: 0, delivered: 0, expired: 0 }

describe('recovering an endpoint', { timeout: 60_000 }, () => {
  it('counts what there is in a dry run, by the time it answers, and sends nothing', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{}])
    await past(world, endpoint, 3, 'failed')
    await past(world, endpoint, 4, 'exhausted', { from: 10 })
    await past(world, endpoint, 5, null, { from: 20 })
    await past(world, endpoint, 6, 'delivered', { from: 30 })
    await past(world, endpoint, 7, 'cancelled', { from: 40 })
    await past(world, endpoint, 8, null, { from: 50, type: 'order.lost' })
    await past(world, endpoint, 9, 'exhausted', { from: 70, data: null })
    await past(world, endpoint, 2, 'exhausted', { ms: 3 * HOUR })
    const before = await counts(world, endpoint.id)
    const since = ago(2 * HOUR)
    const job = await recover(world, endpoint.id, { since, dry_run: true })
    expect(job).toMatchObject({
      ...{ kind: 'webhooks.recover', status: 'completed', progress: 100, error: null },
      result: { counted: { ...NONE, failed: 3, exhausted: 4, missing: 5, expired: 9 }, resent: 0 },
      input: { endpoint_id: endpoint.id, since, dry_run: true, event_types: null },
    })
    const only = await recover(world, endpoint.id, { since, status: 'exhausted', dry_run: true })
    expect(only.result?.counted).toEqual({ ...NONE, exhausted: 4, expired: 9 })
    const typed = await recover(world, endpoint.id, { since, event_types: ['order.*'], dry_run: true })
    expect(typed.result?.counted).toMatchObject({ failed: 3, missing: 5 })
    const other = await recover(world, endpoint.id, { since, event_types: ['chat.*'], dry_run: true })
    expect(other.result?.counted).toEqual(NONE)
    const until = await recover(world, endpoint.id, { since: ago(4 * HOUR), until: since, dry_run: true })
    expect(until.result?.counted).toEqual({ ...NONE, exhausted: 2 })
    expect(await counts(world, endpoint.id)).toEqual(before)
    expect(await receiver.seen()).toEqual([])
  })

  it('goes on counting after the answer where there is much', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}])
    await past(world, endpoint, 60, 'failed')
    const job = await recover(world, endpoint.id, { since: ago(2 * HOUR), dry_run: true })
    expect([job.status, job.result?.counted]).toEqual(['queued', { ...NONE, failed: 50 }])
    const done = await endedJob(world, job.id)
    expect(done).toMatchObject({
      status: 'completed',
      result: { counted: { ...NONE, failed: 60 }, resent: 0 },
    })
  })

  it('sends failed, exhausted and never-made ones, oldest first; again, it finds nothing', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{}])
    await past(world, endpoint, 2, 'exhausted', { from: 2 })
    await past(world, endpoint, 2, 'failed', { from: 4 })
    await past(world, endpoint, 2, null, { from: 6 })
    await past(world, endpoint, 1, 'cancelled', { from: 8 })
    const job = await recover(world, endpoint.id, { since: ago(2 * HOUR) })
    expect(job.result?.counted).toEqual({ ...NONE, failed: 2, exhausted: 2, missing: 2 })
    expect(job.status).toBe('queued')
    const done = await endedJob(world, job.id)
    expect(done).toMatchObject({ status: 'completed', progress: 100, result: { resent: 6 } })
    await eventually(async () => (await counts(world, endpoint.id)).delivered === 6)
    expect(await counts(world, endpoint.id)).toEqual({ delivered: 6, cancelled: 1 })
    const seen = await receiver.seen()
    expect(seen).toHaveLength(6)
    expect(new Set(seen.map(({ headers }) => headers['webhook-id'])).size).toBe(6)
    const lost = await recover(world, endpoint.id, { since: ago(2 * HOUR), status: 'delivered' })
    expect(lost.result?.counted).toEqual({ ...NONE, delivered: 6 })
    await endedJob(world, lost.id)
    await eventually(async () => (await receiver.seen()).length === 12)
    await eventually(async () => (await counts(world, endpoint.id)).delivered === 6)
    const again = await recover(world, endpoint.id, { since: ago(2 * HOUR) })
    expect(again).toMatchObject({ status: 'completed', result: { counted: NONE, resent: 0 } })
  })

  it('makes what never was for an endpoint made later, by its types, channels and filter', async () => {
    const world = await makeWorld()
    const sent = await send(world, 'order.shipped', { total: 7 })
    await send(world, 'order.shipped', { total: 3 })
    await send(world, 'order.lost', { total: 9 })
    const large = await send(world, 'order.shipped', { total: 8, text: 'x'.repeat(20_000) })
    await eventually(async () => {
      const open = await env.DB.prepare('select 1 from events where tenant_id = ? and dispatched = 0')
        .bind(world.tenant.id)
        .first()
      return open === null
    })
    const filter = { path: 'total', compare: { gt: 5 } }
    const { endpoint, receiver } = await connect(world, [{}], { filter })
    const job = await recover(world, endpoint.id, { since: ago(HOUR) })
    expect(job.result?.counted).toEqual({ ...NONE, missing: 2 })
    await endedJob(world, job.id)
    await eventually(async () => (await receiver.seen()).length === 2)
    const ids = (await receiver.seen()).map(({ headers }) => headers['webhook-id'])
    expect(ids.sort()).toEqual([sent, large].sort())
  })

  it('lines up with what is held where the endpoint is paused', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{}], { status: 'paused' })
    await past(world, endpoint, 2, 'exhausted')
    await past(world, endpoint, 1, null, { from: 10 })
    await past(world, endpoint, 1, 'held', { from: 20 })
    const job = await recover(world, endpoint.id, { since: ago(2 * HOUR) })
    expect(job.result?.counted).toEqual({ ...NONE, exhausted: 2, missing: 1, held: 1 })
    const done = await endedJob(world, job.id)
    expect(done.result).toMatchObject({ resent: 3 })
    expect(await counts(world, endpoint.id)).toEqual({ held: 4 })
    const enabled = await call('POST', `/api/v1/webhooks/${endpoint.id}/enable`, { token: world.admin.token })
    expect(enabled.status).toBe(200)
    await eventually(async () => (await receiver.seen()).length === 4)
  })

  it('is cut into steps: of thousands each is sent once', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: 'http://127.0.0.1:1025/', status: 'paused' })
    await past(world, endpoint, 4_500, 'exhausted')
    const job = await recover(world, endpoint.id, { since: ago(2 * HOUR) })
    expect(job.result?.counted).toEqual({ ...NONE, exhausted: 50 })
    expect(job.progress).toBeGreaterThan(0)
    const done = await endedJob(world, job.id)
    expect(done.result).toEqual({ counted: { ...NONE, exhausted: 4_500 }, resent: 4_500 })
    expect(await counts(world, endpoint.id)).toEqual({ held: 4_500 })
    const { results } = await env.DB.prepare(
      'select distinct retries from deliveries where tenant_id = ? and endpoint_id = ?',
    )
      .bind(world.tenant.id, endpoint.id)
      .all()
    expect(results).toEqual([{ retries: 1 }])
  })

  it('adds no more while hundreds are due already, and then the oldest first', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: 'http://127.0.0.1:1025/' })
    await past(world, endpoint, 1, 'exhausted', { from: 1 })
    await past(world, endpoint, 2, null, { from: 2 })
    await past(world, endpoint, 2, 'exhausted', { from: 4 })
    // Of an endpoint that asked to be left alone.
    await env.DB.prepare('update endpoints set not_before = ? where tenant_id = ? and id = ?')
      .bind(iso(Date.now() + HOUR), world.tenant.id, endpoint.id)
      .run()
    await past(world, endpoint, 500, 'pending', { from: 100 })
    await env.DB.prepare(
      `update deliveries set next_attempt_at = ? where tenant_id = ? and endpoint_id = ? and status = 'pending'`,
    )
      .bind(ago(1000), world.tenant.id, endpoint.id)
      .run()
    const { id } = await recover(world, endpoint.id, { since: ago(2 * HOUR) })
    await endedJob(world, id, ({ status }) => status === 'running')
    // It does not look every second at an endpoint that asked for an hour.
    const due = await env.DB.prepare('select next_at from jobs where id = ?')
      .bind(id)
      .first<string>('next_at')
    expect(Date.parse(due ?? '') - Date.now()).toBeGreaterThan(14 * 60_000)
    expect(await counts(world, endpoint.id)).toEqual({ exhausted: 3, pending: 500 })
    await env.DB.batch([
      env.DB.prepare(
        `update deliveries set status = 'delivered' where tenant_id = ? and endpoint_id = ? and status = 'pending'`,
      ).bind(world.tenant.id, endpoint.id),
      env.DB.prepare('update jobs set next_at = ? where id = ?').bind(ago(0), id),
    ])
    await runDurableObjectAlarm(env.JOBS.getByName(`${world.tenant.id}/${id}`))
    await endedJob(world, id)
    expect(await counts(world, endpoint.id)).toEqual({ delivered: 500, pending: 5 })
    const line = async (order: string) =>
      (
        await env.DB.prepare(
          `select id from deliveries where tenant_id = ? and status = 'pending' order by ${order}`,
        )
          .bind(world.tenant.id)
          .all()
      ).results
    expect(await line('next_attempt_at')).toEqual(await line('id'))
  })

  it('fails with its reason where the endpoint is deleted meanwhile', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: 'http://127.0.0.1:1025/', status: 'paused' })
    await past(world, endpoint, 2_500, 'exhausted')
    const [job] = await Promise.all([
      recover(world, endpoint.id, { since: ago(2 * HOUR) }),
      eventually(
        async () =>
          (await env.DB.prepare('select 1 from jobs where tenant_id = ?').bind(world.tenant.id).first()) !==
          null,
      ).then(() => call('DELETE', `/api/v1/webhooks/${endpoint.id}`, { token: world.admin.token })),
    ])
    const ended = await endedJob(world, job.id)
    if (ended.status === 'failed') expect(ended.error?.code).toBe('not_found')
    else expect(ended.status).toBe('completed')
    const left = await counts(world, endpoint.id)
    expect(Object.keys(left).filter((status) => status !== 'exhausted' && status !== 'cancelled')).toEqual([])
  })

  it('names what is wrong', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: 'http://127.0.0.1:1025/' })
    const path = `/api/v1/webhooks/${endpoint.id}/recover`
    const { token } = world.developer
    const wrong = async (body: object) =>
      (await expectError(call('POST', path, { token, body }), 'validation_failed')).details.fields
    expect(await wrong({})).toHaveProperty('since')
    expect(await wrong({ since: 'yesterday' })).toHaveProperty('since')
    expect(await wrong({ since: iso(Date.now() + HOUR) })).toEqual({
      since: 'must be before until, which is now if it is left out',
    })
    expect(await wrong({ since: ago(HOUR), until: ago(2 * HOUR) })).toHaveProperty('since')
    for (const status of ['cancelled', ['pending'], []])
      expect(Object.keys((await wrong({ since: ago(HOUR), status })) ?? {})[0]).toMatch(/^status/)
    expect(Object.keys((await wrong({ since: ago(HOUR), event_types: ['no spaces please'] })) ?? {})).toEqual(
      ['event_types.0'],
    )
    expect(await deliveriesOf(world)).toEqual([])
    const jobs = await callJson<Job[]>('GET', '/api/v1/jobs', { token })
    expect(jobs.data).toEqual([])
  })
})
