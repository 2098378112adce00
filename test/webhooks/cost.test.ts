import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import { tenantDatabase } from '../../src/data/database'
import { loadDue } from '../../src/domains/webhooks/deliveries/due'
import { fanOut } from '../../src/domains/webhooks/deliveries/fan-out'
import { report } from '../../src/domains/webhooks/deliveries/report'
import { deliveriesOfEvent, listDeliveries } from '../../src/domains/webhooks/deliveries/service'
import { sweep } from '../../src/domains/webhooks/deliveries/sweep'
import { iso, newId } from '../../src/lib/ids'
import { makeWorld, requestContext, type World } from '../world'
import { makeEndpoint } from './deliver'

/** D1 that counts the rows it reads and writes, and keeps the text of what it is asked. */
function countingD1() {
  const count = { read: 0, written: 0, statements: new Map<string, unknown[]>() }
  const add = (result: D1Result) => {
    count.read += result.meta.rows_read
    count.written += result.meta.rows_written
    return result
  }
  const DB = {
    prepare: (sql: string) => ({
      bind: (...params: unknown[]) => {
        count.statements.set(sql, params)
        const bound = env.DB.prepare(sql).bind(...params)
        const ask = bound.all.bind(bound)
        const all = async () => add(await ask())
        // Drizzle asks for rows as arrays; the counts come with `all` only.
        const raw = async () => (await all()).results.map((row) => Object.values(row as object))
        return Object.assign(bound, { all, raw, run: all })
      },
    }),
    batch: async (list: D1PreparedStatement[]) => (await env.DB.batch(list)).map(add),
  }
  return { DB: DB as unknown as D1Database, count }
}

function counting(world: World) {
  const { DB, count } = countingD1()
  const EVENTS_QUEUE = { send: async () => {} } as never
  const counted = { ...env, DB, EVENTS_QUEUE }
  const ctx = {
    ...world.ctx,
    ...requestContext({ env: counted }),
    db: tenantDatabase(counted, world.tenant.id),
  }
  return { ctx, env: counted, count }
}

/** Parameters unfolded by json_each, and what a statement makes itself. */
const IN_MEMORY = ['wanted', 'listened', 'carried', 'json_each', 'event', 'hop', 'CONSTANT', '(subquery-2)']

const URL = 'http://127.0.0.1:1025/'

describe('the cost of a delivery in D1', { timeout: 20_000 }, () => {
  it('is thirteen rows written in all: five for the event, one for its mark, six for the delivery, one for its end', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: URL })
    const { ctx, count } = counting(world)
    const spent = () => {
      const { written } = count
      count.written = 0
      return written
    }
    const id = `msg_${newId(Date.now())}`
    await commit(ctx, { statements: [], events: [{ id, type: 'order.shipped', data: {} }], result: id })
    expect(spent()).toBe(5)
    await fanOut(ctx, [id])
    expect(spent()).toBe(1 + 6)
    const { due } = await loadDue(ctx, endpoint.id, [], 4)
    expect(due).toHaveLength(1)
    const [delivery] = due
    await report(ctx, endpoint.id, [
      {
        ...{ delivery_id: delivery?.delivery_id ?? '', event_id: id, event_type: 'order.shipped', number: 1 },
        ...{ retries: 0, ended_at: Date.now(), response_status: 200, error: null },
        verdict: { status: 'delivered', next_attempt_at: null, disable: null, wait_until: null },
      },
    ])
    expect(spent()).toBe(1)
  })

  it('does not grow with the backlog of the endpoint, nor the look for what is overdue', async () => {
    const reads = async (backlog: number) => {
      const world = await makeWorld()
      const { id, tenant_id } = await makeEndpoint(world, { url: URL })
      const past = iso(Date.now() - 60_000)
      await env.DB.prepare(
        `with recursive n(i) as (select 1 union all select i + 1 from n where i < ?1)
         insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, next_attempt_at, created_at)
         select ?2, printf('01970000-0000-7000-8000-%012x', i), 'msg_' || i, 'a.b', ?3,
           case i % 3 when 0 then 'pending' when 1 then 'held' else 'delivered' end, ?4, ?4 from n`,
      )
        .bind(backlog, tenant_id, id, past)
        .run()
      const { ctx, env: counted, count } = counting(world)
      const cost = async (work: () => Promise<unknown>) => {
        count.read = 0
        await work()
        return count.read
      }
      const limit = 20
      const found = {
        due: await cost(() => loadDue(ctx, id, [], 4)),
        list: await cost(() => listDeliveries(ctx, { limit })),
        ofEndpoint: await cost(() => listDeliveries(ctx, { limit, endpoint_id: id })),
        held: await cost(() => listDeliveries(ctx, { limit, status: 'held' })),
        pending: await cost(() => listDeliveries(ctx, { limit, status: 'pending' })),
        dead: await cost(() => listDeliveries(ctx, { limit, status: 'exhausted' })),
        ofEvent: await cost(() => deliveriesOfEvent(ctx, 'msg_01970000-0000-7000-8000-000000000123')),
        sweep: await cost(() => sweep(counted, { waitUntil: () => {} })),
      }
      await env.DB.prepare('delete from deliveries where tenant_id = ?').bind(tenant_id).run()
      return found
    }
    const few = await reads(300)
    const many = await reads(30_000)
    for (const [name, cost] of Object.entries(many))
      expect(cost, `${name}: ${JSON.stringify({ few, many })}`).toBeLessThanOrEqual(
        few[name as keyof typeof few] + 20,
      )
  })

  it('is looked up by an index, whatever is asked', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: URL })
    const { ctx, env: counted, count } = counting(world)
    const event_id = `msg_${newId(Date.now())}`
    await fanOut(ctx, [event_id])
    await loadDue(ctx, endpoint.id, [event_id.slice(4)], 4)
    await deliveriesOfEvent(ctx, event_id)
    const statuses = ['pending', 'delivered', 'failed', 'exhausted', 'held', 'cancelled'] as const
    for (const status of [undefined, ...statuses])
      for (const endpoint_id of [undefined, endpoint.id])
        await listDeliveries(ctx, {
          limit: 2,
          ...(status && { status }),
          ...(endpoint_id && { endpoint_id }),
        })
    await sweep(counted, { waitUntil: () => {} })
    expect(count.statements.size).toBeGreaterThan(15)
    for (const [sql, params] of count.statements) {
      const plan = await env.DB.prepare(`explain query plan ${sql}`)
        .bind(...params)
        .all<{ detail: string }>()
      const scans = plan.results.filter(
        ({ detail }) => detail.startsWith('SCAN') && !detail.includes(' INDEX '),
      )
      const tables = scans.map(({ detail }) => detail.split(' ')[1] ?? '')
      for (const table of tables) expect(IN_MEMORY, sql).toContain(table)
    }
  })
})
