import { env } from 'cloudflare:workers'
import { and, eq } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { eventRow } from '../../src/data/commit'
import type { Context } from '../../src/data/context'
import { events } from '../../src/domains/events/table'
import { deliveries } from '../../src/domains/webhooks/deliveries/table'
import { retain, retainTenant } from '../../src/domains/webhooks/retention/service'
import type { Bindings } from '../../src/env'
import { firstIdAt, iso, newId } from '../../src/lib/ids'
import { callJson, makeWorld } from '../world'

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

  // Every tenant of every test, that is.
  it('visits every tenant, and forgets idempotency keys after a day', { timeout: 60_000 }, async () => {
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
