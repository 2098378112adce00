import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { countDaily, countedUntil } from '../../src/domains/metering/daily/follow'
import { MOST } from '../../src/domains/tenancy/plans'
import { reportArrived } from '../../src/domains/webhooks/deliveries/report'
import type { Bindings } from '../../src/env'
import { newId } from '../../src/lib/ids'
import { eventually, makeReceiver } from '../webhooks/receiver'
import { call, callJson, makeWorld, type World } from '../world'

const bindings = env as unknown as Bindings

type Counts = Record<string, number>
type Analysis = {
  from: string
  to: string
  as_of: string
  totals: Counts
  previous: { from: string; to: string; totals: Counts }
  days: ({ day: string } & Counts)[]
  groups?: Record<string, unknown>[]
}

const dayBefore = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10)
const today = () => dayBefore(0)

async function read(world: World, path: string): Promise<Analysis> {
  const answer = await callJson<Analysis>('GET', `/api/v1/analytics/${path}`, { token: world.viewer.token })
  expect(answer.status).toBe(200)
  return answer.data
}

const say = (world: World, body: object = { text: 'Hello' }) =>
  callJson<{ id: string }>('POST', '/api/v1/interactions', { token: world.member.token, body })

/** Rows that the service’s own verbs would take long to make. */
async function rows(world: World, count: number, over: { type?: string; occurred_at?: string } = {}) {
  const now = new Date().toISOString()
  const ids = Array.from({ length: count }, () => newId(Date.now()))
  await env.DB.prepare(
    `insert into interactions (tenant_id, id, type, metadata, occurred_at, created_at)
      select ?1, value, ?2, '{}', ?3, ?4 from json_each(?5)`,
  )
    .bind(world.tenant.id, over.type ?? 'view', over.occurred_at ?? now, now, JSON.stringify(ids))
    .run()
  return ids
}

describe('interactions by day', () => {
  it('are counted to the last one, on the day on which they occurred', async () => {
    const world = await makeWorld()
    await say(world)
    await say(world, { text: 'Then', occurred_at: `${dayBefore(3)}T12:00:00.000Z` })
    await rows(world, 5)
    const found = await read(world, `interactions?from=${dayBefore(4)}&group_by=type`)
    expect(found.totals).toEqual({ interactions: 7, said: 2, done: 5 })
    expect(found.days.map(({ day, interactions }) => [day, interactions])).toEqual([
      [dayBefore(4), 0],
      [dayBefore(3), 1],
      [dayBefore(2), 0],
      [dayBefore(1), 0],
      [today(), 6],
    ])
    expect(found.groups).toEqual([
      { type: 'view', interactions: 5 },
      { type: 'speech', interactions: 2 },
    ])
    expect(Date.now() - Date.parse(found.as_of)).toBeLessThan(5_000)
    // The next one is counted by the next look.
    await say(world)
    expect((await read(world, 'interactions')).totals.interactions).toBe(8)
  })

  it('are compared with as many days before', async () => {
    const world = await makeWorld()
    await rows(world, 2)
    await rows(world, 3, { occurred_at: `${dayBefore(8)}T00:00:00.000Z` })
    await rows(world, 4, { occurred_at: `${dayBefore(14)}T23:59:59.999Z` })
    const { from, to, totals, previous } = await read(world, `interactions?from=${dayBefore(6)}`)
    expect([from, to, totals.interactions]).toEqual([dayBefore(6), today(), 2])
    expect(previous).toEqual({
      ...{ from: dayBefore(13), to: dayBefore(7) },
      totals: { interactions: 3, said: 0, done: 3 },
    })
  })

  it('do without those that are deleted, counted or not', async () => {
    const world = await makeWorld()
    const { token } = world.member
    const first = await say(world)
    await say(world)
    expect((await read(world, 'interactions')).totals.interactions).toBe(2)
    await call('DELETE', `/api/v1/interactions/${first.data.id}`, { token })
    expect((await read(world, 'interactions')).totals.interactions).toBe(1)
    const third = await say(world)
    await call('DELETE', `/api/v1/interactions/${third.data.id}`, { token })
    expect((await read(world, 'interactions')).totals).toEqual({ interactions: 1, said: 1, done: 0 })
  })

  it('count once, however many count at the same time', async () => {
    const world = await makeWorld()
    await rows(world, 12_000)
    await Promise.all(Array.from({ length: 8 }, () => countDaily(bindings)))
    expect((await read(world, 'interactions')).totals.interactions).toBe(12_000)
  })

  it('tell until when they are counted while there is a backlog', async () => {
    const world = await makeWorld()
    const ids = await rows(world, 70_000)
    const until = await countedUntil(bindings, Date.now() + 60_000)
    // Ten batches of five thousand: the first that is not counted says how far it is.
    const left = ids[50_000] ?? ''
    expect(Math.abs(until - Number.parseInt(left.replaceAll('-', '').slice(0, 12), 16))).toBeLessThan(5_000)
    expect((await read(world, 'interactions')).totals.interactions).toBe(70_000)
  })

  it('are the tenant’s own', async () => {
    const [one, other] = await Promise.all([makeWorld(), makeWorld()])
    await rows(one, 3)
    const found = await read(other, 'interactions?group_by=type')
    expect([found.totals.interactions, found.groups]).toEqual([0, []])
  })
})

describe('webhooks by day', () => {
  it('are events and what came of their deliveries, by endpoint and by type; retention changes nothing', async () => {
    const world = await makeWorld()
    const { token } = world.admin
    const receiver = await makeReceiver({ status: 200 })
    const made = await callJson<{ id: string }>('POST', '/api/v1/webhooks', {
      token,
      body: { url: receiver.url, event_types: ['order.shipped'] },
    })
    for (const order of ['A-1', 'A-2'])
      await call('POST', '/api/v1/events', { token, body: { type: 'order.shipped', data: { order } } })
    const delivered = await eventually(async () => {
      const found = await read(world, 'webhooks?group_by=endpoint')
      return found.totals.delivered === 2 ? found : null
    })
    expect(delivered.totals).toMatchObject({
      attempts: 2,
      delivered: 2,
      failed: 0,
      exhausted: 0,
      cancelled: 0,
    })
    expect(delivered.groups).toEqual([
      { endpoint_id: made.data.id, attempts: 2, delivered: 2, failed: 0, exhausted: 0, cancelled: 0 },
    ])
    const byType = await read(world, 'webhooks?group_by=event_type')
    expect(byType.groups).toContainEqual({ event_type: 'order.shipped', events: 2 })
    // What is a trigger's row is not a raw row: both may go.
    for (const table of ['deliveries', 'events'])
      await env.DB.prepare(`delete from ${table} where tenant_id = ?`).bind(world.tenant.id).run()
    const after = await read(world, 'webhooks?group_by=endpoint')
    expect([after.totals, after.groups]).toEqual([byType.totals, delivered.groups])
  })

  it('count attempts that failed, and a delivery that is told again once', async () => {
    const world = await makeWorld()
    const { id } = world.tenant
    const event = newId(Date.now())
    await env.DB.prepare(
      `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, created_at)
        values (?1, ?2, 'msg_' || ?2, 'order.lost', ?2, 'pending', '2026-01-31T10:00:00.000Z')`,
    )
      .bind(id, event)
      .run()
    const told = (number: number, status: 'pending' | 'held' | 'delivered') => {
      const verdict = { status, next_attempt_at: null, disable: null, wait_until: null, circuit: null }
      const about = { delivery_id: event, event_id: `msg_${event}`, event_type: 'order.lost' }
      const ended = { ended_at: Date.now(), response_status: null, error: null }
      return reportArrived(world.ctx, [{ ...about, ...ended, number, retries: 0, verdict }])
    }
    await told(1, 'pending')
    await told(1, 'held')
    await told(2, 'pending')
    await told(3, 'delivered')
    await told(3, 'delivered')
    const found = await read(world, 'webhooks')
    expect(found.totals).toMatchObject({ attempts: 3, delivered: 1, failed: 0 })
    expect(found.days.at(-1)).toMatchObject({ day: today(), attempts: 3, delivered: 1 })
  })
})

describe('chats by day', () => {
  it('are chats, messages and answers, by agent', async () => {
    const world = await makeWorld({ rate_limits: MOST })
    const { token } = world.admin
    const agent = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token,
      body: { name: 'Echo', kind: 'echo' },
    })
    const chat = await callJson<{ id: string }>('POST', '/api/v1/chats', {
      token,
      body: { agent_id: agent.data.id },
    })
    const headers = { Accept: 'application/json' }
    const body = { content: 'Hello' }
    await call('POST', `/api/v1/chats/${chat.data.id}/messages`, { token, headers, body })
    const found = await eventually(async () => {
      const now = await read(world, 'chats?group_by=agent')
      return now.totals.runs_completed === 1 ? now : null
    })
    expect(found.totals).toMatchObject({ chats: 1, messages: 2, runs_completed: 1, runs_failed: 0 })
    expect(found.groups).toEqual([{ agent_id: agent.data.id, chats: 1, runs_completed: 1, runs_failed: 0 }])
    const all = await read(world, 'overview')
    expect(all.totals).toMatchObject({ chats: 1, messages: 2, runs_completed: 1 })
    expect(all.totals.requests).toBeGreaterThan(3)
    expect(all.days.at(-1)?.requests).toBe(all.totals.requests)
  })
})

describe('asking', () => {
  it('names what is wrong with the days', async () => {
    const world = await makeWorld()
    const refused = async (query: string) => {
      const path = `/api/v1/analytics/overview?${query}`
      const { status, error } = await callJson('GET', path, { token: world.viewer.token })
      return [status, error.details.fields]
    }
    expect(await refused('from=2026-02-30')).toEqual([422, { from: 'must be a day like 2026-01-31' }])
    expect(await refused('from=2026-02-03&to=2026-02-01')).toEqual([422, { from: 'must not be after to' }])
    expect(await refused('from=9999-01-01')).toEqual([422, { from: 'must not be after today' }])
    expect(await refused('from=2020-01-01&to=2026-01-01')).toEqual([
      422,
      { from: 'must be within 366 days of to; ask for a shorter time' },
    ])
    expect(await refused('to=1969-12-31')).toEqual([422, { to: 'must be 1970-01-01 or later' }])
    expect(await refused('to=tomorrow')).toEqual([422, { to: 'must be a day like 2026-01-31' }])
    expect(await refused('group_by=agent')).toEqual([422, { group_by: expect.any(String) }])
  })

  it('takes a time for the day that it lies in, in UTC', async () => {
    const world = await makeWorld()
    const from = encodeURIComponent('2026-01-31T23:30:00-02:00')
    const found = await read(world, `interactions?from=${from}&to=2026-02-03`)
    expect([found.from, found.to, found.days.length]).toEqual(['2026-02-01', '2026-02-03', 3])
    expect(found.previous).toMatchObject({ from: '2026-01-29', to: '2026-01-31' })
  })

  it('answers with CSV where that is wanted', async () => {
    const world = await makeWorld()
    await rows(world, 2, { type: '=SUM(A1)' })
    const { token } = world.viewer
    const headers = { Accept: 'text/csv' }
    const days = await call('GET', `/api/v1/analytics/interactions?from=${today()}`, { token, headers })
    expect(days.headers.get('Content-Type')).toContain('text/csv')
    expect(await days.text()).toBe(`day,interactions,said,done\r\n${today()},2,0,2\r\n`)
    const path = `/api/v1/analytics/interactions?group_by=type&from=${today()}`
    const groups = await call('GET', path, { token, headers })
    expect(await groups.text()).toBe(`type,interactions\r\n'=SUM(A1),2\r\n`)
    const heading = async (path: string) =>
      (await call('GET', `/api/v1/analytics/${path}`, { token, headers })).text()
    expect([await heading('webhooks?group_by=endpoint'), await heading('chats?group_by=agent')]).toEqual([
      'endpoint_id,attempts,delivered,failed,exhausted,cancelled\r\n',
      'agent_id,chats,runs_completed,runs_failed\r\n',
    ])
  })
})
