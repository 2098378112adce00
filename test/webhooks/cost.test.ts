import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { commit } from '../../src/data/commit'
import { tenantDatabase } from '../../src/data/database'
import type { Report } from '../../src/domains/webhooks/deliveries/attempt-log'
import { loadDue } from '../../src/domains/webhooks/deliveries/due'
import { fanOut } from '../../src/domains/webhooks/deliveries/fan-out'
import { HEALTHY } from '../../src/domains/webhooks/deliveries/health'
import { deliveriesOfEvent, listDeliveries } from '../../src/domains/webhooks/deliveries/list'
import { report } from '../../src/domains/webhooks/deliveries/report'
import { sweep } from '../../src/domains/webhooks/deliveries/sweep'
import { iso, newId } from '../../src/lib/ids'
import { Isolate } from '../identity/isolates'
import { makeWorld, requestContext, type World } from '../world'
import { makeEndpoint } from './deliver'

/** D1 that counts the rows it reads and writes, and keeps the text of what it is asked. */
function countingD1() {
  const count = { read: 0, overdue: 0, written: 0, statements: new Map<string, unknown[]>() }
  const add = (result: D1Result, sql = '') => {
    count.read += result.meta.rows_read
    if (sql.includes('hop(at)')) count.overdue += result.meta.rows_read
    count.written += result.meta.rows_written
    return result
  }
  const DB = {
    prepare: (sql: string) => ({
      bind: (...params: unknown[]) => {
        count.statements.set(sql, params)
        const bound = env.DB.prepare(sql).bind(...params)
        const ask = bound.all.bind(bound)
        const all = async () => add(await ask(), sql)
        // Drizzle asks for rows as arrays; the counts come with `all` only.
        const raw = async () => (await all()).results.map((row) => Object.values(row as object))
        return Object.assign(bound, { all, raw, run: all })
      },
    }),
    batch: async (list: D1PreparedStatement[]) => (await env.DB.batch(list)).map((result) => add(result)),
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
const IN_MEMORY = [
  'among',
  'wanted',
  'listened',
  'carried',
  'counted',
  'json_each',
  'event',
  'hop',
  'CONSTANT',
  '(subquery-2)',
]

/** The report of its first attempt, which succeeded. */
const delivered = ({
  delivery_id,
  event_id,
  event_type,
}: Pick<Report, 'delivery_id' | 'event_id' | 'event_type'>): Report => ({
  ...{ delivery_id, event_id, event_type, number: 1, retries: 0 },
  ...{ ended_at: Date.now(), response_status: 200, error: null },
  verdict: {
    ...{ status: 'delivered', next_attempt_at: null, disable: null, wait_until: null },
    circuit: null,
  },
})

const URL = 'http://127.0.0.1:1025/'

describe('the cost of a delivery in D1', { timeout: 20_000 }, () => {
  it('is six rows for the event, one for its mark, five for each delivery, one for its end and one for the count of those that ended together', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: URL })
    const { ctx, count } = counting(world)
    const spent = () => {
      const { written } = count
      count.written = 0
      return written
    }
    const sent = async (events: number) => {
      const ids = Array.from({ length: events }, () => `msg_${newId(Date.now())}`)
      const announced = ids.map((id) => ({ id, type: 'order.shipped', data: {} }))
      await commit(ctx, { statements: [], events: announced, result: undefined })
      expect(spent()).toBe(6 * events)
      await fanOut(ctx, ids)
      expect(spent()).toBe((1 + 5) * events)
      const { due } = await loadDue(ctx, endpoint.id, [], events)
      expect(due).toHaveLength(events)
      await report(ctx, endpoint.id, due.map(delivered), { health: HEALTHY, ordered: false })
      return spent()
    }
    // Of an endpoint's first attempts on a day the count has an entry in an index, too.
    expect(await sent(1)).toBe(1 + 2)
    expect(await sent(1)).toBe(1 + 1)
    expect(await sent(4)).toBe(4 + 1)
  })

  it('is counted by day once, however often it is told', async () => {
    const world = await makeWorld()
    const endpoint = await makeEndpoint(world, { url: URL })
    const { ctx } = counting(world)
    const ids = Array.from({ length: 4 }, () => `msg_${newId(Date.now())}`)
    const announced = ids.map((id) => ({ id, type: 'order.shipped', data: {} }))
    await commit(ctx, { statements: [], events: announced, result: undefined })
    await fanOut(ctx, ids)
    const { due } = await loadDue(ctx, endpoint.id, [], 4)
    const tell = (reports: Report[]) => report(ctx, endpoint.id, reports, { health: HEALTHY, ordered: false })
    const [first, second, third, fourth] = due.map(delivered) as [Report, Report, Report, Report]
    const again: Report['verdict'] = {
      ...{ status: 'pending', next_attempt_at: Date.now() + 60_000, disable: null, wait_until: null },
      circuit: null,
    }
    await tell([first, first, { ...second, verdict: again }])
    await tell([first, { ...second, number: 2 }])
    await tell([
      { ...second, verdict: again },
      { ...third, verdict: { ...again, status: 'failed' } },
    ])
    // One that ends without an attempt, and one whose result comes after it was cancelled.
    const cancelled = `update deliveries set status = 'cancelled' where tenant_id = ? and id = ?`
    await env.DB.prepare(cancelled).bind(world.tenant.id, fourth.delivery_id).run()
    await tell([fourth])
    const days = await env.DB.prepare('select * from daily_deliveries where tenant_id = ?')
      .bind(world.tenant.id)
      .all()
    expect(days.results).toEqual([
      {
        ...{ tenant_id: world.tenant.id, day: iso(Date.now()).slice(0, 10), endpoint_id: endpoint.id },
        ...{ attempts: 5, delivered: 3, failed: 1, exhausted: 0, cancelled: 1 },
      },
    ])
  })

  // Of an interaction each filter of its list is a row (type; conversation; or user, item, and the order of commit in which
  // it is recommended from), and so are its words; a conversation that begins is two; whom an event is about, one.
  // operations.md: what was said is twenty at most.
  for (const [what, body, rows] of [
    ['what was said', { text: 'a', conversation_id: 'c' }, 20],
    ['what was said first', { text: 'a' }, 22],
    ['what was done', { type: 'view', user_id: 'u', item_id: 'i' }, 23],
  ] as const)
    it(`is ${rows} rows with the interaction that caused it, ${what}, its idempotency key included`, async () => {
      const world = await makeWorld()
      const endpoint = await makeEndpoint(world, { url: URL, event_types: ['interaction.created'] })
      const { ctx, env: counted, count } = counting(world)
      // Who is calling is read from joins, in which columns have the same names.
      const prepare = (text: string) => {
        const { bind, ...statement } = counted.DB.prepare(text)
        return {
          ...statement,
          bind: (...params: unknown[]) => {
            const bound = bind(...params)
            const native = env.DB.prepare(text).bind(...params)
            const isWrite = /^\s*(insert|update|delete|with)/i.test(text)
            return isWrite ? bound : native
          },
        }
      }
      const DB = { ...counted.DB, prepare }
      const isolate = new Isolate({ DB, EVENTS_QUEUE: counted.EVENTS_QUEUE })
      const say = () =>
        isolate.ask('POST', '/api/v1/interactions', {
          ...{ token: world.member.token, body },
          headers: { 'Idempotency-Key': crypto.randomUUID() },
        })
      const delivery = async () => {
        const event = await env.DB.prepare('select id from events where tenant_id = ? and dispatched = 0')
          .bind(world.tenant.id)
          .first<string>('id')
        await fanOut(ctx, [event ?? ''])
        const { due } = await loadDue(ctx, endpoint.id, [], 4)
        expect(due).toHaveLength(1)
        await report(ctx, endpoint.id, due.map(delivered), { health: HEALTHY, ordered: false })
      }
      // The first has the isolate learn who is calling, and is the first that is counted that day.
      await env.DB.prepare('update events set dispatched = 1 where tenant_id = ?').bind(world.tenant.id).run()
      expect((await say()).status).toBe(201)
      await delivery()
      count.written = 0
      expect((await say()).status).toBe(201)
      await delivery()
      expect(count.written).toBe(rows)
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
        // Of what else a sweep looks at, other tests leave more or less behind.
        sweep: await cost(async () => {
          count.overdue = 0
          await sweep(counted, { waitUntil: () => {} })
          count.read = count.overdue
        }),
      }
      await env.DB.prepare('delete from deliveries where tenant_id = ?').bind(tenant_id).run()
      return found
    }
    await env.DB.prepare(`update deliveries set status = 'cancelled' where status = 'pending'`).run()
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
