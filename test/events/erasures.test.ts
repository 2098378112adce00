import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { Event } from '../../src/domains/events/schema'
import type { Job } from '../../src/domains/jobs/schema'
import { fanOut } from '../../src/domains/webhooks/deliveries/fan-out'
import { endDeliveries, erasure, NOT_BEGUN } from '../../src/domains/webhooks/erasures/job'
import { firstIdAt, newId } from '../../src/lib/ids'
import { connect, deliveriesOf, readDelivery, send, settled } from '../webhooks/deliver'
import { makeSource, ofGithub, outcome, post } from '../webhooks/incoming/kit'
import { eventually } from '../webhooks/receiver'
import { callJson, makeWorld, type World } from '../world'

const erase = (world: World, subject: string) =>
  callJson<Job>('DELETE', `/api/v1/events?subject=${encodeURIComponent(subject)}`, {
    token: world.developer.token,
  })

const done = (world: World, id: string) =>
  eventually(async () => {
    const { data } = await callJson<Job>('GET', `/api/v1/jobs/${id}`, { token: world.developer.token })
    return data.status === 'completed' && data
  }, 15_000)

const read = async (world: World, id: string) =>
  (await callJson<Event>('GET', `/api/v1/events/${id}`, { token: world.developer.token })).data

const rows = (world: World, table: string) =>
  env.DB.prepare(`select * from ${table} where tenant_id = ?`)
    .bind(world.tenant.id)
    .all<Record<string, unknown>>()

const ADA = 'ada@example.com'

describe('the erasure of a subject', { timeout: 40_000 }, () => {
  it('leaves nothing of it: data, in R2 too, answers, its name, what waits to be sent', async () => {
    const world = await makeWorld()
    const echo = { status: 200, body: 'Hello Ada' }
    const { endpoint } = await connect(world, [echo], { ordered: true })
    const down = await connect(world, [{ status: 500, body: 'Ada failed' }])
    const small = await send(world, 'order.shipped', { name: 'Ada' }, { subject: ADA })
    const large = await send(world, 'order.shipped', { text: `Ada ${'x'.repeat(20_000)}` }, { subject: ADA })
    const others = await send(world, 'order.shipped', { name: 'Bob' }, { subject: 'bob' })
    const nobodys = await send(world, 'order.shipped', { name: 'nobody' })
    await eventually(
      async () => (await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=delivered`)).length === 4,
    )
    await eventually(async () => {
      const tried = await deliveriesOf(world, `endpoint_id=${down.endpoint.id}`)
      return tried.length === 4 && tried.every(({ attempt_count }) => attempt_count > 0)
    })
    expect(await env.FILES.head(`${world.tenant.id}/events/${large}`)).not.toBeNull()

    const asked = await erase(world, ADA)
    expect([asked.status, asked.data.kind]).toEqual([202, 'events.erase'])
    const job = await done(world, asked.data.id)
    expect(job.result).toEqual({ events: 2, deliveries_cancelled: 2 })

    for (const id of [small, large])
      expect(await read(world, id)).toMatchObject({ id, data: null, subject: null })
    expect((await read(world, others)).data).toEqual({ name: 'Bob' })
    expect((await read(world, nobodys)).data).toEqual({ name: 'nobody' })
    expect(await env.FILES.head(`${world.tenant.id}/events/${large}`)).toBeNull()
    for (const id of [small, large]) {
      const own = await deliveriesOf(world, `event_id=${id}`)
      expect(own.map(({ status }) => status).sort()).toEqual(['cancelled', 'delivered'])
      for (const delivery of own) {
        const { attempts } = await readDelivery(world, delivery.id)
        expect(attempts.length).toBeGreaterThan(0)
        for (const one of attempts)
          expect(one).toMatchObject({ response_body: null, response_headers: null, request_headers: {} })
      }
    }
    const kept = await deliveriesOf(world, `event_id=${others}&endpoint_id=${endpoint.id}`)
    expect((await readDelivery(world, kept[0]?.id ?? '')).attempts).toMatchObject([
      { response_body: 'Hello Ada' },
    ])
    for (const table of ['events', 'deliveries', 'jobs', 'audit_log'])
      expect(JSON.stringify((await rows(world, table)).results)).not.toMatch(/ada@example\.com|"Ada/)
    const log = await callJson<{ action: string }[]>('GET', '/api/v1/audit?limit=5', {
      token: world.admin.token,
    })
    expect(log.data.map(({ action }) => action).filter((one) => one === 'event.erase')).toHaveLength(1)
  })

  it('takes the event off its channels, which may be named by it', async () => {
    const world = await makeWorld()
    const fields = { subject: ADA, channels: [ADA.replace('@', '.'), 'all'] }
    const id = await send(world, 'order.shipped', { name: 'Ada' }, fields)
    const kept = await send(world, 'order.shipped', { name: 'Bob' }, { subject: 'bob', channels: ['all'] })
    const onAll = async () => {
      const { data } = await callJson<Event[]>('GET', '/api/v1/events?channel=all', {
        token: world.developer.token,
      })
      return data.map((event) => event.id).sort()
    }
    expect(await onAll()).toEqual([id, kept].sort())
    await done(world, (await erase(world, ADA)).data.id)
    expect(await onAll()).toEqual([kept])
    expect((await read(world, id)).channels).toEqual([])
    for (const table of ['events', 'event_channels'])
      expect(JSON.stringify((await rows(world, table)).results)).not.toMatch(/ada/)
  })

  it('reaches what came in by webhook, where its source says whom that is about', async () => {
    const world = await makeWorld()
    const source = await makeSource(world, { kind: 'github', subject_path: 'issue.user' })
    const path = `/api/v1/webhooks/sources/${source}`
    const { token } = world.admin
    expect((await callJson('GET', path, { token })).data).toMatchObject({ subject_path: 'issue.user' })
    const bring = async (body: object) =>
      (await outcome(post(`in/${source}`, ofGithub(JSON.stringify(body))))).data
    const filler = { text: 'Ada '.repeat(70_000) }
    const [small, large, others, number, none] = await Promise.all(
      [
        { issue: { user: ADA, title: 'Ada' } },
        { issue: { user: ADA }, ...filler },
        { issue: { user: 'bob' } },
        { issue: { user: 7 } },
        { issue: { user: { name: 'Ada' } } },
      ].map(bring),
    )
    expect(small?.event_id).toBe(`msg_${small?.id}`)
    const subjects = await Promise.all(
      [small, large, others, number, none].map(
        async (one) => (await read(world, one?.event_id ?? '')).subject,
      ),
    )
    expect(subjects).toEqual([ADA, ADA, 'bob', '7', null])
    const { objects } = await env.FILES.list({ prefix: `${world.tenant.id}/incoming/` })
    expect(objects).toHaveLength(1)

    const job = await done(world, (await erase(world, ADA)).data.id)
    expect(job.result).toMatchObject({ events: 2 })
    expect((await env.FILES.list({ prefix: `${world.tenant.id}/` })).objects).toEqual([])
    for (const one of [small, large]) {
      const kept = await callJson<{ payload: unknown }>('GET', `/api/v1/webhooks/received/${one?.id}`, {
        token,
      })
      expect([kept.status, kept.data.payload]).toEqual([200, null])
    }
    expect((await read(world, others?.event_id ?? '')).data).toMatchObject({
      payload: { issue: { user: 'bob' } },
    })

    const off = await callJson('PATCH', path, { token, body: { subject_path: null } })
    expect([off.status, off.data]).toMatchObject([200, { subject_path: null }])
    expect((await read(world, (await bring({ issue: { user: ADA } })).event_id ?? '')).subject).toBeNull()
    const wrong = await callJson('PATCH', path, { token, body: { subject_path: 'a..b' } })
    expect([wrong.status, Object.keys(wrong.error.details.fields ?? {})]).toEqual([422, ['subject_path']])
  })

  it('is done when it is answered where there is nothing, and names nobody', async () => {
    const world = await makeWorld()
    const asked = await erase(world, ADA)
    expect(asked.data).toMatchObject({ status: 'completed', result: { events: 0, deliveries_cancelled: 0 } })
    expect(JSON.stringify(asked.data)).not.toContain(ADA)
  })

  it('spares another tenant’s subject of the same name, and one whose name begins alike', async () => {
    const [mine, theirs] = [await makeWorld(), await makeWorld()]
    const foreign = await send(theirs, 'order.shipped', { n: 1 }, { subject: ADA })
    const longer = await send(mine, 'order.shipped', { n: 2 }, { subject: `${ADA}.org` })
    await send(mine, 'order.shipped', { n: 3 }, { subject: ADA })
    const asked = await erase(mine, ADA)
    expect((await done(mine, asked.data.id)).result).toEqual({ events: 1, deliveries_cancelled: 0 })
    expect(await read(theirs, foreign)).toMatchObject({ data: { n: 1 }, subject: ADA })
    expect(await read(mine, longer)).toMatchObject({ data: { n: 2 }, subject: `${ADA}.org` })
  })

  it('does not keep the answer of an attempt that is under way, nor a payload for a retry', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [
      { delay_ms: 1_500, status: 200, body: 'Late for Ada' },
    ])
    const id = await send(world, 'order.shipped', { name: 'Ada' }, { subject: ADA })
    await eventually(async () => (await receiver.seen()).length === 1)
    await done(world, (await erase(world, ADA)).data.id)
    const delivery = await settled(world, endpoint.id, ({ attempts }) => attempts.length === 1)
    expect(delivery.attempts).toMatchObject([
      { response_status: 200, response_body: null, response_headers: null },
    ])
    const retried = await callJson('POST', `/api/v1/deliveries/${delivery.id}/retry`, {
      token: world.developer.token,
    })
    expect([retried.status, retried.error.code]).toEqual([409, 'delivery_not_retryable'])
    expect(await receiver.seen()).toHaveLength(1)
    expect((await read(world, id)).data).toBeNull()
  })

  it('lets those go on that stood in line behind it', async () => {
    const world = await makeWorld()
    const { endpoint, receiver } = await connect(world, [{ status: 500 }], { ordered: true })
    await send(world, 'order.shipped', { n: 1 }, { subject: ADA })
    await settled(world, endpoint.id)
    const { data } = await erase(world, ADA)
    const later = await send(world, 'order.shipped', { n: 2 }, { subject: ADA })
    await done(world, data.id)
    await receiver.plan({ status: 200 })
    const delivered = await eventually(async () => {
      const own = await deliveriesOf(world, `event_id=${later}`)
      return own[0]?.attempt_count === 1 && own[0]
    })
    expect(await read(world, later)).toMatchObject({ data: { n: 2 }, subject: ADA })
    expect(delivered.attempt_count).toBe(1)
  })

  it('leaves nothing to be sent of an event whose deliveries are not made yet', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}])
    const id = `msg_${newId(Date.now())}`
    await env.DB.prepare(
      `insert into events (tenant_id, id, type, subject, channels, data, timestamp)
       values (?1, ?2, 'order.shipped', ?3, '[]', '{"name":"Ada"}', '2026-01-01T00:00:00.000Z')`,
    )
      .bind(world.tenant.id, id, ADA)
      .run()
    await done(world, (await erase(world, ADA)).data.id)
    expect(await fanOut({ ...world.ctx, now: Date.now() }, [id])).toEqual([])
    expect(await deliveriesOf(world, `endpoint_id=${endpoint.id}`)).toEqual([])
  })

  it('goes on where a crash left it, and counts nothing twice', async () => {
    const world = await makeWorld()
    const ids = Array.from({ length: 120 }, (_, i) => `msg_${newId(Date.now() - 60_000 + i)}`)
    await env.DB.prepare(
      `insert into events (tenant_id, id, type, subject, channels, data, dispatched, timestamp)
       select ?1, value, 'a.b', ?3, '[]', '{"name":"Ada"}', 1, 'x' from json_each(?2)`,
    )
      .bind(world.tenant.id, JSON.stringify(ids), ADA)
      .run()
    const input = { subject: ADA, until: `msg_${firstIdAt(Date.now() + 1)}` }
    const left = async () =>
      (await rows(world, 'events')).results.filter(({ subject }) => subject === ADA).length
    let step = await endDeliveries(world.ctx, input, NOT_BEGUN, 'j')
    const sizes: number[] = []
    for (let steps = 0; !step.done && steps < 20; steps++) {
      const { statements = [] } = step.change ?? {}
      // A crash before the checkpoint: the step is made again.
      const repeated = await erasure.step(world.ctx, { id: 'j', input, state: step.state, failures: 0 })
      expect(repeated.result).toBeTypeOf('object')
      for (const one of statements) if ('run' in one) await (one as { run: () => Promise<unknown> }).run()
      sizes.push(await left())
      step = await erasure.step(world.ctx, { id: 'j', input, state: step.state, failures: 0 })
    }
    expect([step.done, step.result]).toEqual([true, { events: 120, deliveries_cancelled: 0 }])
    expect(sizes).toEqual([120, 70, 70, 20, 20, 0])
    const erased = (await rows(world, 'events')).results.filter(({ type }) => type === 'a.b')
    expect(erased).toHaveLength(120)
    for (const { data, subject } of erased) expect([data, subject]).toEqual([null, null])
  })

  it('wants to be told whom, and needs the right to send events', async () => {
    const world = await makeWorld()
    for (const query of ['', '?subject=', `?subject=${'x'.repeat(256)}`]) {
      const refused = await callJson('DELETE', `/api/v1/events${query}`, { token: world.developer.token })
      expect([refused.status, Object.keys(refused.error.details.fields ?? {})]).toEqual([422, ['subject']])
    }
    const refused = await callJson('DELETE', '/api/v1/events?subject=a', { token: world.member.token })
    expect(refused.error.code).toBe('insufficient_scope')
  })
})
