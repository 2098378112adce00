import { runDurableObjectAlarm } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { and, eq } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { eventRow } from '../../src/data/commit'
import type { Context } from '../../src/data/context'
import { events } from '../../src/domains/events/table'
import { deliveries } from '../../src/domains/webhooks/deliveries/table'
import { retain, retainTenant, retainUndone } from '../../src/domains/webhooks/retention/service'
import type { Bindings } from '../../src/env'
import { firstIdAt, iso, newId } from '../../src/lib/ids'
import { callJson, makeWorld } from '../world'
import { connect, send, settled } from './deliver'

const DAY = 24 * 3600_000
const execution = { waitUntil: () => undefined }

/** An event of so many days ago, delivered once. */
async function eventOf(ctx: Context, daysAgo: number, data: unknown = { text: 'old' }): Promise<string> {
  const now = ctx.now - daysAgo * DAY
  // An id as it was made then: newId never goes back in time.
  const id = `msg_${firstIdAt(now)}${newId(ctx.now).slice(13)}`
  const row = { ...(await eventRow({ ...ctx, now }, { id, type: 'order.paid', data })), dispatched: 1 }
  const delivery = {
    tenant_id: ctx.tenant.id,
    id: row.id.slice('msg_'.length),
    event_id: row.id,
    event_type: row.type,
    endpoint_id: newId(ctx.now),
    status: 'delivered' as const,
    created_at: iso(now),
  }
  await ctx.db.batch([ctx.db.insert(events).values(row), ctx.db.insert(deliveries).values(delivery)])
  return row.id
}

const kept = (ctx: Context, id: string) =>
  ctx.db
    .select({ data: events.data, data_key: events.data_key })
    .from(events)
    .where(and(eq(events.tenant_id, ctx.tenant.id), eq(events.id, id)))
    .get()

describe('retention', () => {
  it('ends what was held for as long as payloads are kept: exhausted, and told once for each endpoint', async () => {
    const { ctx, tenant, apiKey } = await makeWorld({ settings: { payload_retention_days: 7 } })
    const ids = [await eventOf(ctx, 9), await eventOf(ctx, 8), await eventOf(ctx, 8), await eventOf(ctx, 6)]
    const [a, b] = [newId(ctx.now), newId(ctx.now)]
    for (const [n, id] of ids.entries())
      await env.DB.prepare(
        `update deliveries set status = 'held', endpoint_id = ? where tenant_id = ? and event_id = ?`,
      )
        .bind(n === 2 ? b : a, tenant.id, id)
        .run()

    await retainTenant(ctx)
    await retainTenant(ctx)

    const statuses = await Promise.all(
      ids.map((id) =>
        env.DB.prepare('select status from deliveries where event_id = ?').bind(id).first<string>('status'),
      ),
    )
    expect(statuses).toEqual(['exhausted', 'exhausted', 'exhausted', 'held'])
    const told = await callJson<{ data: { endpoint_id: string; event_id: string; count: number } }[]>(
      'GET',
      '/api/v1/events?type=delivery.exhausted',
      { key: apiKey },
    )
    const losses = told.data.map(({ data }) => [data.endpoint_id, data.event_id, data.count])
    expect(losses.sort((one, other) => Number(other[2]) - Number(one[2]))).toEqual([
      [a, ids[0], 2],
      [b, ids[2], 1],
    ])
  })

  it('drops payloads after the tenant’s own days, in D1 and in R2, and keeps the rest', async () => {
    const { ctx } = await makeWorld({ settings: { payload_retention_days: 7 } })
    const large = await eventOf(ctx, 8, { text: 'x'.repeat(20_000) })
    const stored = (await kept(ctx, large))?.data_key ?? ''
    expect(await env.FILES.head(stored)).not.toBeNull()
    const [old, young] = [await eventOf(ctx, 8), await eventOf(ctx, 6)]

    await retainTenant(ctx)

    expect(await kept(ctx, old)).toEqual({ data: null, data_key: null })
    expect(await kept(ctx, large)).toEqual({ data: null, data_key: null })
    expect(await env.FILES.head(stored)).toBeNull()
    expect((await kept(ctx, young))?.data).toBe('{"text":"old"}')
  })

  it('goes on where it was, when more has grown old', async () => {
    const { ctx } = await makeWorld()
    const first = await eventOf(ctx, 31)
    await retainTenant(ctx)
    const second = await eventOf(ctx, 29)
    await retainTenant({ ...ctx, now: ctx.now + 2 * DAY })
    expect(await kept(ctx, first)).toEqual({ data: null, data_key: null })
    expect(await kept(ctx, second)).toEqual({ data: null, data_key: null })
  })

  it('goes on a minute later where one run does not drop all, and marks each run once', async () => {
    const { ctx, tenant } = await makeWorld()
    const count = 10_400
    const start = firstIdAt(ctx.now - 31 * DAY).slice(0, 13)
    await env.DB.prepare(
      `with recursive n(i) as (select 0 union all select i + 1 from n where i < ?3)
       insert into events (tenant_id, id, type, channels, data, dispatched, timestamp)
       select ?1, ?2 || printf('-7%03x-8000-%012x', i / 4096, i), 'a.b', '[]', '{}', 1, 'x' from n`,
    )
      .bind(tenant.id, `msg_${start}`, count - 1)
      .run()
    const left = async () =>
      (
        await env.DB.prepare(
          `select count(*) as n from events where tenant_id = ? and type = 'a.b' and data is not null`,
        )
          .bind(tenant.id)
          .first<{ n: number }>()
      )?.n
    const put: string[] = []
    const KV = new Proxy(env.KV, {
      get: (kv, name) =>
        name === 'put'
          ? (key: string, value: string) => put.push(key) && kv.put(key, value)
          : Reflect.get(kv, name).bind(kv),
    })
    const bindings = { ...env, KV } as unknown as Bindings
    expect(await retainTenant({ ...ctx, env: bindings })).toBe(true)
    expect([await left(), put]).toEqual([400, [`retention:${tenant.id}`]])
    await env.KV.put('retention:undone', JSON.stringify([tenant.id]))
    await retainUndone(bindings, execution, ctx.now)
    expect(await left()).toBe(0)
    expect(await env.KV.get('retention:undone')).toBeNull()
  })

  it('drops events and their deliveries after ninety days, and nothing of another tenant', async () => {
    const [one, other] = [await makeWorld(), await makeWorld()]
    const old = await eventOf(one.ctx, 91)
    const young = await eventOf(one.ctx, 89)
    const foreign = await eventOf(other.ctx, 91)
    await retainTenant(one.ctx)
    expect(await kept(one.ctx, old)).toBeUndefined()
    expect(await kept(one.ctx, young)).toEqual({ data: null, data_key: null })
    expect((await kept(other.ctx, foreign))?.data).toBe('{"text":"old"}')
    const left = await one.ctx.db
      .select()
      .from(deliveries)
      .where(eq(deliveries.tenant_id, one.tenant.id))
      .limit(9)
    expect(left.map(({ event_id }) => event_id)).toEqual([young])
  })

  it('drops what attempts were answered with their deliveries, and payloads that no event leads to', async () => {
    const world = await makeWorld({ settings: { metadata_retention_days: 40 } })
    const { ctx } = world
    const { endpoint } = await connect(world, [{ status: 200, body: 'a private answer' }])
    await send(world)
    const { id } = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    const sender = env.ENDPOINTS.getByName(`${world.tenant.id}/${endpoint.id}`)
    const orphan = `${world.tenant.id}/events/msg_${newId(ctx.now)}`
    await env.FILES.put(orphan, '{}')
    const at = (days: number) => ({ ...ctx, now: Math.ceil(ctx.now / DAY) * DAY + days * DAY + 3 * 3600_000 })

    await retainTenant(at(28))
    expect(await sender.attempts(id)).toMatchObject([{ response_body: 'a private answer' }])
    expect(await env.FILES.head(orphan)).not.toBeNull()
    // The log notes with its next write that D1 knows of the attempt.
    await runDurableObjectAlarm(sender)
    await retainTenant(at(41))
    expect(await sender.attempts(id)).toEqual([])
    expect(await env.FILES.head(orphan)).toBeNull()
    expect((await callJson('GET', `/api/v1/deliveries/${id}`, { token: world.admin.token })).status).toBe(404)
  })

  // Every tenant of every test, that is.
  it('visits every tenant, and forgets idempotency keys after a day', { timeout: 240_000 }, async () => {
    const { ctx, admin } = await makeWorld()
    const old = await eventOf(ctx, 31)
    const send = (headers: Record<string, string>) =>
      callJson('POST', '/api/v1/interactions', { token: admin.token, body: { text: 'Hello' }, headers })
    const key = { 'Idempotency-Key': newId(ctx.now) }
    const first = await send(key)
    await retain(env as unknown as Bindings, execution, Date.now() + DAY / 2)
    expect((await send(key)).data).toEqual(first.data)
    expect(await kept(ctx, old)).toEqual({ data: null, data_key: null })
    await retain(env as unknown as Bindings, execution, Date.now() + DAY + 60_000)
    expect((await send(key)).data.id).not.toBe(first.data.id)
  })
})
