import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import { allSweeps, dueNext } from '../../src/data/sweeping'
import { bareTenant, systemContext } from '../../src/data/system'
import { booked } from '../../src/domains/billing/ledger'
import { lastEnd, lookAfter, MINUTE_MS } from '../../src/domains/operations/alerts/clock'
import { evaluate } from '../../src/domains/operations/alerts/evaluate'
import type { Bindings } from '../../src/env'
import { iso } from '../../src/lib/ids'
import { Client } from '../realtime/socket'
import { call, callJson, makeWorld, type World } from '../world'

const bindings = env as unknown as Bindings

type Rule = { id: string; status: string; threshold: number; window_minutes: number }
type Alert = {
  id: string
  rule_id: string
  status: string
  value: number
  acknowledged_by: string | null
  resolution: string | null
  resolved_at: string | null
  resolved_value: number | null
}

const RULE = { name: 'Traffic', metric: 'requests', comparison: 'gte', threshold: 3, window_minutes: 60 }

const makeRule = async ({ admin, tenant }: World, rule: object = {}): Promise<string> => {
  const body = { ...RULE, ...rule }
  const { status, data, error } = await callJson<Rule>('POST', '/api/v1/alerts/rules', {
    token: admin.token,
    body,
  })
  expect([status, error]).toEqual([201, undefined])
  // The service's own look, at the turn of the minute, stays away.
  await setNext(tenant.id, Date.now() + 3600_000)
  return data.id
}
const setNext = (tenantId: string, at: number) =>
  env.DB.prepare('update alert_watches set next_at = ? where tenant_id = ?').bind(iso(at), tenantId).run()
const nextOf = (tenantId: string) =>
  env.DB.prepare('select next_at from alert_watches where tenant_id = ?')
    .bind(tenantId)
    .first<string>('next_at')

const asSystem = (tenantId: string, now: number) => ({
  ...systemContext(bindings, bareTenant(tenantId), 'test', () => {}),
  now,
})

/** The present minute, as it is looked at once it is over and all is told. */
const SOON = 2 * MINUTE_MS

/** Looks at the last minute before `now`, as the sweep does. */
async function look({ tenant }: World, now = Date.now() + SOON): Promise<void> {
  const due = iso(lookAfter(lastEnd(now) - MINUTE_MS))
  await setNext(tenant.id, Date.parse(due))
  await evaluate(asSystem(tenant.id, now), due)
}

const alertsOf = async ({ admin }: World, query = '') =>
  (await callJson<Alert[]>('GET', `/api/v1/alerts${query}`, { token: admin.token })).data
const eventsOf = async ({ tenant }: World) => {
  const { results } = await env.DB.prepare(
    "select type, data from events where tenant_id = ? and type like 'alert.%' order by seq",
  )
    .bind(tenant.id)
    .all<{ type: string; data: string }>()
  return results.map(({ type, data }) => ({ type, data: JSON.parse(data) }))
}
const requests = async ({ viewer }: World, count: number, path = '/api/v1/agents') => {
  for (let i = 0; i < count; i++) await call('GET', path, { token: viewer.token })
}
const failures = ({ tenant }: World, minute: number, failed: number) =>
  env.DB.prepare('insert into delivery_failures (tenant_id, minute, failed) values (?, ?, ?)')
    .bind(tenant.id, minute, failed)
    .run()

describe('rules', () => {
  it('are made, listed, read, changed and deleted, and each is on record', async () => {
    const world = await makeWorld()
    const { token } = world.developer
    const body = { name: 'Errors', metric: 'error_rate', comparison: 'gt', threshold: 0.05 }
    const made = await callJson<Rule>('POST', '/api/v1/alerts/rules', { token, body })
    expect([made.status, made.data]).toMatchObject([
      201,
      { ...body, window_minutes: 5, resolve_threshold: null, no_data: 'keep', status: 'active' },
    ])
    const path = `/api/v1/alerts/rules/${made.data.id}`
    expect(made.headers.get('Location')).toBe(path)
    expect((await callJson('GET', path, { token: world.viewer.token })).data).toEqual(made.data)
    const patched = await callJson<Rule>('PATCH', path, { token, body: { status: 'paused', threshold: 0.1 } })
    expect(patched.data).toMatchObject({ status: 'paused', threshold: 0.1, window_minutes: 5 })
    const listed = async (query: string) =>
      (await callJson<Rule[]>('GET', `/api/v1/alerts/rules${query}`, { token })).data.map(({ id }) => id)
    expect(await listed('?status=paused&metric=error_rate')).toEqual([made.data.id])
    expect(await listed('?status=active')).toEqual([])
    expect((await call('DELETE', path, { token, headers: { 'If-Match': '"v1"' } })).status).toBe(412)
    expect((await call('DELETE', path, { token })).status).toBe(204)
    expect((await call('GET', path, { token })).status).toBe(404)
    const audit = await callJson<{ action: string }[]>('GET', '/api/v1/audit?resource=alert_rule', {
      token: world.admin.token,
    })
    expect(audit.data.map(({ action }) => action)).toEqual([
      'alert_rule.delete',
      'alert_rule.update',
      'alert_rule.create',
    ])
    const forbidden = await call('POST', '/api/v1/alerts/rules', { token: world.member.token, body })
    expect(forbidden.status).toBe(403)
  })

  it('that can’t be are refused by the field', async () => {
    const world = await makeWorld()
    const refused = async (rule: object) => {
      const sent = { token: world.admin.token, body: { ...RULE, ...rule } }
      const { status, error } = await callJson('POST', '/api/v1/alerts/rules', sent)
      return [status, Object.keys(error?.details.fields ?? {})]
    }
    expect(await refused({ metric: 'cpu' })).toEqual([422, ['metric']])
    expect(await refused({ comparison: '>' })).toEqual([422, ['comparison']])
    expect(await refused({ threshold: -1 })).toEqual([422, ['threshold']])
    expect(await refused({ threshold: '3' })).toEqual([422, ['threshold']])
    expect(await refused({ window_minutes: 0 })).toEqual([422, ['window_minutes']])
    expect(await refused({ window_minutes: 1441 })).toEqual([422, ['window_minutes']])
    expect(await refused({ metric: 'error_rate', threshold: 5 })).toEqual([422, ['threshold']])
    expect(await refused({ resolve_threshold: 4 })).toEqual([422, ['resolve_threshold']])
    expect(await refused({ comparison: 'lt', resolve_threshold: 2 })).toEqual([422, ['resolve_threshold']])
    expect(await refused({ metric: 'credit', window_minutes: 5 })).toEqual([422, ['window_minutes']])
    expect(await refused({ severity: 'high' })).toEqual([422, ['severity']])
    const id = await makeRule(world)
    const path = `/api/v1/alerts/rules/${id}`
    const patched = await callJson('PATCH', path, {
      token: world.admin.token,
      body: { metric: 'error_rate' },
    })
    expect([patched.status, Object.keys(patched.error.details.fields ?? {})]).toEqual([422, ['threshold']])
  })

  it('are a hundred at most', async () => {
    const world = await makeWorld()
    await makeRule(world)
    const columns =
      'name, metric, comparison, threshold, window_minutes, no_data, status, created_at, updated_at'
    await env.DB.prepare(
      `insert into alert_rules (tenant_id, id, ${columns})
       select tenant_id, alert_rules.id || value, ${columns} from alert_rules, json_each(?) where tenant_id = ?`,
    )
      .bind(JSON.stringify(Array.from({ length: 99 }, (_, i) => i)), world.tenant.id)
      .run()
    const full = await callJson('POST', '/api/v1/alerts/rules', { token: world.admin.token, body: RULE })
    expect([full.status, full.error.code]).toEqual([409, 'conflict'])
  })
})

describe('an alert', () => {
  it('is raised once, lasts, and is over when its rule is no longer true', async () => {
    const world = await makeWorld()
    const rule = await makeRule(world, { metric: 'deliveries_failed', threshold: 5, window_minutes: 2 })
    const now = Date.now() + SOON
    const end = lastEnd(now)
    await failures(world, end / MINUTE_MS - 1, 4)
    await look(world, now)
    expect(await alertsOf(world)).toEqual([])
    await failures(world, end / MINUTE_MS - 2, 1)
    // Before the window.
    await failures(world, end / MINUTE_MS - 3, 100)
    await look(world, now)
    const [alert] = await alertsOf(world)
    expect(alert).toMatchObject({
      ...{ rule_id: rule, name: 'Traffic', metric: 'deliveries_failed', comparison: 'gte', threshold: 5 },
      ...{ window_minutes: 2, value: 5, status: 'open', resolved_at: null, resolution: null },
    })
    await look(world, now)
    await look(world, now + MINUTE_MS)
    const [over, ...others] = await alertsOf(world)
    expect(others).toEqual([])
    expect(over).toMatchObject({
      id: alert?.id,
      status: 'resolved',
      resolution: 'recovered',
      resolved_value: 4,
    })
    const events = await eventsOf(world)
    expect(events.map(({ type, data }) => [type, data.alert_id, data.value])).toEqual([
      ['alert.raised', alert?.id, 5],
      ['alert.resolved', alert?.id, 5],
    ])
    expect(events[1]?.data).toMatchObject({ resolution: 'recovered', resolved_value: 4 })
    // True again: another one.
    await failures(world, end / MINUTE_MS, 9)
    await look(world, now + MINUTE_MS)
    expect((await alertsOf(world)).map(({ status, value }) => [status, value])).toEqual([
      ['open', 13],
      ['resolved', 5],
    ])
  })

  it('that is looked for by two at once is raised once', async () => {
    const world = await makeWorld()
    await makeRule(world, { metric: 'deliveries_failed', threshold: 1 })
    const now = Date.now() + SOON
    await failures(world, lastEnd(now) / MINUTE_MS - 1, 1)
    const due = iso(lookAfter(lastEnd(now) - MINUTE_MS))
    await setNext(world.tenant.id, Date.parse(due))
    await Promise.all(Array.from({ length: 5 }, () => evaluate(asSystem(world.tenant.id, now), due)))
    expect(await alertsOf(world)).toHaveLength(1)
    expect(await eventsOf(world)).toHaveLength(1)
    expect(await nextOf(world.tenant.id)).toBe(iso(lookAfter(lastEnd(now))))
  })

  it('of a minute in an outage is raised afterwards, minute by minute', async () => {
    const world = await makeWorld()
    await makeRule(world, { metric: 'deliveries_failed', threshold: 1, window_minutes: 1 })
    // So late that the service, which looks at what is due as well, finds all of it ahead.
    const now = Date.now() + 2 * 60 * MINUTE_MS
    const end = lastEnd(now)
    await failures(world, end / MINUTE_MS - 4, 7)
    const due = iso(lookAfter(end - 9 * MINUTE_MS))
    await setNext(world.tenant.id, Date.parse(due))
    await evaluate(asSystem(world.tenant.id, now), due)
    expect(await alertsOf(world)).toMatchObject([{ value: 7, status: 'resolved', resolved_value: 0 }])
    expect(await nextOf(world.tenant.id)).toBe(iso(lookAfter(end)))
    // What is longer ago than a quarter of an hour is not looked at any more.
    await failures(world, end / MINUTE_MS - 30, 7)
    const ago = iso(lookAfter(end - 60 * MINUTE_MS))
    await setNext(world.tenant.id, Date.parse(ago))
    await evaluate(asSystem(world.tenant.id, now), ago)
    expect(await alertsOf(world)).toHaveLength(2)
    expect((await alertsOf(world)).map(({ value }) => value)).toEqual([7, 7])
  })

  it('of the tenant’s requests: how many, how many failed, how slow', async () => {
    const world = await makeWorld()
    const at = { window_minutes: 1440 }
    const many = await makeRule(world, { ...at, metric: 'requests', threshold: 4 })
    const few = await makeRule(world, { ...at, metric: 'requests', comparison: 'lt', threshold: 4 })
    const wrong = await makeRule(world, { ...at, metric: 'error_rate', comparison: 'gt', threshold: 0.3 })
    const slow = await makeRule(world, { ...at, metric: 'latency_p95', comparison: 'gt', threshold: 60_000 })
    const quick = await makeRule(world, {
      ...at,
      metric: 'latency_p95',
      comparison: 'lte',
      threshold: 60_000,
    })
    await requests(world, 4)
    await look(world)
    const raised = async () => (await alertsOf(world, '?status=open')).map(({ rule_id }) => rule_id).sort()
    expect(await raised()).toEqual([many, quick].sort())
    // Those by which the rules were made count too, and they were well.
    await requests(world, 8, '/api/v1/agents/nonsense')
    await look(world)
    expect(await raised()).toEqual([many, quick, wrong].sort())
    const [alert] = await alertsOf(world, `?rule_id=${wrong}`)
    expect(alert?.value).toBeGreaterThan(0.3)
    expect(alert?.value).toBeLessThan(0.7)
    for (const id of [few, slow]) expect(await alertsOf(world, `?rule_id=${id}`)).toEqual([])
  })

  it('lasts until its metric is beyond the threshold at which it is to end', async () => {
    const world = await makeWorld()
    await makeRule(world, {
      ...{ metric: 'deliveries_failed', threshold: 10, resolve_threshold: 5, comparison: 'gt' },
      window_minutes: 1,
    })
    const now = Date.now() + SOON
    const end = lastEnd(now)
    const seen: (string | undefined)[] = []
    for (const [i, failed] of [10, 11, 10, 6, 5, 10].entries()) {
      await failures(world, end / MINUTE_MS - 1 + i, failed)
      await look(world, now + i * MINUTE_MS)
      seen.push((await alertsOf(world))[0]?.status)
    }
    expect(seen).toEqual([undefined, 'open', 'open', 'open', 'resolved', 'resolved'])
  })

  it('without data stays as it is, or is over where the rule says so', async () => {
    const world = await makeWorld()
    const rule = { metric: 'error_rate', threshold: 0.01, window_minutes: 1 }
    const keeps = await makeRule(world, rule)
    const ends = await makeRule(world, { ...rule, no_data: 'resolve' })
    await requests(world, 5, '/api/v1/agents/nonsense')
    // All before the minute in which this ends.
    const now = Date.now() + SOON
    await env.DB.prepare('update alert_rules set window_minutes = 60 where tenant_id = ?')
      .bind(world.tenant.id)
      .run()
    await look(world, now)
    expect((await alertsOf(world, '?status=open')).map(({ rule_id }) => rule_id).sort()).toEqual([
      keeps,
      ends,
    ])
    await env.DB.prepare('update alert_rules set window_minutes = 1 where tenant_id = ?')
      .bind(world.tenant.id)
      .run()
    await look(world, now + 30 * MINUTE_MS)
    expect(await alertsOf(world, `?rule_id=${keeps}`)).toMatchObject([{ status: 'open' }])
    expect(await alertsOf(world, `?rule_id=${ends}`)).toMatchObject([
      { status: 'resolved', resolution: 'no_data', resolved_value: null },
    ])
  })

  it('of credit is of what is left', async () => {
    const world = await makeWorld()
    await makeRule(world, { metric: 'credit', comparison: 'lt', threshold: 100, window_minutes: 1 })
    await look(world)
    expect(await alertsOf(world)).toMatchObject([{ metric: 'credit', value: 0, status: 'open' }])
    const { ctx } = world
    await commit(ctx, { statements: booked(ctx, { kind: 'grant', amount: 150 }), result: null })
    await look(world, Date.now() + SOON + MINUTE_MS)
    expect(await alertsOf(world)).toMatchObject([{ status: 'resolved', resolved_value: 150 }])
    await commit(ctx, { statements: booked(ctx, { kind: 'spend', amount: -60 }), result: null })
    await look(world, Date.now() + SOON + 2 * MINUTE_MS)
    expect(await alertsOf(world, '?status=open')).toMatchObject([{ metric: 'credit', value: 90 }])
  })

  it('is over with its rule, or when that is paused or says something else', async () => {
    const world = await makeWorld()
    const { token } = world.admin
    const now = Date.now() + SOON
    await failures(world, lastEnd(now) / MINUTE_MS - 1, 9)
    const rule = { metric: 'deliveries_failed', threshold: 1 }
    const [changed, paused, deleted, named] = [
      await makeRule(world, rule),
      await makeRule(world, rule),
      await makeRule(world, rule),
      await makeRule(world, rule),
    ]
    await look(world, now)
    expect(await alertsOf(world, '?status=open')).toHaveLength(4)
    await callJson('PATCH', `/api/v1/alerts/rules/${changed}`, { token, body: { threshold: 2 } })
    await callJson('PATCH', `/api/v1/alerts/rules/${paused}`, { token, body: { status: 'paused' } })
    await call('DELETE', `/api/v1/alerts/rules/${deleted}`, { token })
    await callJson('PATCH', `/api/v1/alerts/rules/${named}`, { token, body: { name: 'Other' } })
    const byRule = async () =>
      Object.fromEntries(
        (await alertsOf(world)).map(({ rule_id, status, resolution }) => [rule_id, [status, resolution]]),
      )
    expect(await byRule()).toEqual({
      [changed]: ['resolved', 'rule_changed'],
      [paused]: ['resolved', 'rule_paused'],
      [deleted]: ['resolved', 'rule_deleted'],
      [named]: ['open', null],
    })
    expect((await eventsOf(world)).filter(({ type }) => type === 'alert.resolved')).toHaveLength(3)
    // By its new terms it is true again; who is paused raises nothing.
    await look(world, now)
    expect(await alertsOf(world, '?status=open')).toHaveLength(2)
  })

  it('is acknowledged once, and ends by itself all the same', async () => {
    const world = await makeWorld()
    const now = Date.now() + SOON
    await failures(world, lastEnd(now) / MINUTE_MS - 1, 9)
    await makeRule(world, { metric: 'deliveries_failed', threshold: 1, window_minutes: 1 })
    await look(world, now)
    const [alert] = await alertsOf(world)
    const path = `/api/v1/alerts/${alert?.id}`
    const acknowledge = (token: string) => callJson<Alert>('POST', `${path}/acknowledge`, { token })
    expect((await acknowledge(world.viewer.token)).status).toBe(403)
    const first = await acknowledge(world.developer.token)
    expect(first.data).toMatchObject({ status: 'acknowledged', acknowledged_by: world.developer.user.id })
    expect((await acknowledge(world.admin.token)).data.acknowledged_by).toBe(world.developer.user.id)
    await look(world, now + MINUTE_MS)
    expect((await callJson<Alert>('GET', path, { token: world.viewer.token })).data).toMatchObject({
      ...{ status: 'resolved', acknowledged_by: world.developer.user.id },
    })
    expect((await acknowledge(world.admin.token)).error.code).toBe('conflict')
    expect(await alertsOf(world, `?status=resolved&rule_id=${alert?.rule_id}`)).toHaveLength(1)
    expect(await alertsOf(world, `?status=acknowledged&rule_id=${alert?.rule_id}`)).toEqual([])
    expect(await alertsOf(world, '?created_after=2099-01-01T00:00:00Z')).toEqual([])
    const bad = await callJson('GET', '/api/v1/alerts?status=closed', { token: world.admin.token })
    expect([bad.status, Object.keys(bad.error.details.fields ?? {})]).toEqual([422, ['status']])
  })

  it('is said to who listens, and those that last to who comes', async () => {
    const world = await makeWorld()
    const now = Date.now() + SOON
    await failures(world, lastEnd(now) / MINUTE_MS - 1, 9)
    await makeRule(world, { metric: 'deliveries_failed', threshold: 1, window_minutes: 1 })
    const client = await Client.of(world.viewer.token)
    const channel = `alerts:${world.tenant.id}`
    await client.subscribe(channel)
    const next = async (of: Client) => ((await of.next('alert')).data as { alerts: Alert[] }).alerts
    expect(await next(client)).toEqual([])
    await look(world, now)
    expect(await next(client)).toMatchObject([{ status: 'open', value: 9 }])
    const late = await Client.of(world.member.token)
    await late.subscribe(channel)
    expect(await next(late)).toMatchObject([{ status: 'open', value: 9 }])
    await look(world, now + MINUTE_MS)
    expect(await next(client)).toMatchObject([{ status: 'resolved' }])
    const stranger = await Client.of((await makeWorld()).admin.token)
    stranger.send({ type: 'subscribe', channel })
    expect(await stranger.next('error')).toMatchObject({ code: 'not_found' })
  })
})

describe('the sweep', () => {
  const sweep = (now: number) =>
    allSweeps().get('alerts_not_looked_for')?.(bindings, { waitUntil: () => {} }, now) ?? Promise.resolve(-1)

  it('looks at who is due, and at nobody who has no active rule', async () => {
    const world = await makeWorld()
    const idle = await makeWorld()
    const id = await makeRule(idle, { status: 'paused' })
    expect(await nextOf(idle.tenant.id)).toBeNull()
    await makeRule(world, { metric: 'deliveries_failed', threshold: 0 })
    const at = Date.now() - 90_000
    await setNext(world.tenant.id, at)
    expect(await dueNext(bindings)).toBeLessThanOrEqual(at)
    expect(await sweep(Date.now())).toBeGreaterThan(0)
    expect(await alertsOf(world)).toMatchObject([{ value: 0 }])
    expect(Date.parse((await nextOf(world.tenant.id)) ?? '')).toBeGreaterThan(Date.now() - MINUTE_MS)
    // A rule that is made active is looked at from then on; with the last one paused nobody looks any more.
    const { token } = idle.admin
    await callJson('PATCH', `/api/v1/alerts/rules/${id}`, { token, body: { status: 'active' } })
    expect(Date.parse((await nextOf(idle.tenant.id)) ?? '')).toBeGreaterThan(Date.now())
    await callJson('PATCH', `/api/v1/alerts/rules/${id}`, { token, body: { status: 'paused' } })
    await setNext(idle.tenant.id, at)
    await sweep(Date.now())
    expect(await nextOf(idle.tenant.id)).toBeNull()
  })

  it('leaves a suspended tenant alone until it goes on', async () => {
    const world = await makeWorld()
    await makeRule(world, { metric: 'deliveries_failed', threshold: 0 })
    const at = Date.now() - 60_000
    await setNext(world.tenant.id, at)
    const be = (status: string) =>
      env.DB.prepare('update tenants set status = ? where id = ?').bind(status, world.tenant.id).run()
    await be('suspended')
    await sweep(Date.now())
    expect(await nextOf(world.tenant.id)).toBe(iso(at))
    await be('active')
    await sweep(Date.now())
    expect(await nextOf(world.tenant.id)).not.toBe(iso(at))
  })
})

describe('failed attempts', () => {
  it('are counted as they are written down, whatever becomes of the delivery', async () => {
    const { tenant } = await makeWorld()
    const values = `'${tenant.id}', 'd1', 'e1', 'order.shipped', 'w1'`
    await env.DB.prepare(
      `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, created_at)
       values (${values}, 'pending', '2026-01-01T00:00:00.000Z')`,
    ).run()
    const count = async () =>
      env.DB.prepare('select coalesce(sum(failed), 0) as n from delivery_failures where tenant_id = ?')
        .bind(tenant.id)
        .first<number>('n')
    const set = (attempts: number, status: string) =>
      env.DB.prepare('update deliveries set attempt_count = ?, status = ? where tenant_id = ?')
        .bind(attempts, status, tenant.id)
        .run()
    await set(1, 'pending')
    expect(await count()).toBe(1)
    // The same once more.
    await set(1, 'pending')
    expect(await count()).toBe(1)
    await set(3, 'held')
    expect(await count()).toBe(3)
    await set(5, 'delivered')
    expect(await count()).toBe(4)
    await set(5, 'delivered')
    await set(6, 'exhausted')
    expect(await count()).toBe(5)
  })
})
