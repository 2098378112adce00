import { runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, it, vi } from 'vitest'
import { categoryOf, METRICS_SHARDS, report, shardName } from '../../src/data/metrics'
import { limiterCounts } from '../../src/domains/metering/isolate'
import { countAttempt } from '../../src/domains/webhooks/deliveries/counts'
import { judge } from '../../src/domains/webhooks/deliveries/verdict'
import type { Bindings } from '../../src/env'
import { firstIdAt, newId } from '../../src/lib/ids'
import { PROBLEMS } from '../../src/lib/problem'
import { expectError } from '../http/expect-error'
import { PRODUCTION, serviceWith } from '../http/service'
import { connect, send, settled } from '../webhooks/deliver'
import { eventually } from '../webhooks/receiver'
import { call, callJson, makeWorld } from '../world'

/** The page as a scraper reads it, by series. */
async function scrape(): Promise<Map<string, number>> {
  const answer = await call('GET', '/metrics')
  expect(answer.status).toBe(200)
  return samplesOf(await answer.text())
}

function samplesOf(page: string): Map<string, number> {
  const lines = page.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const samples = lines.map((line): [string, number] => {
    const at = line.lastIndexOf(' ')
    return [line.slice(0, at), Number(line.slice(at + 1))]
  })
  expect(new Set(samples.map(([name]) => name)).size).toBe(samples.length)
  return new Map(samples)
}

/** How much each series rose while `work` was done; those that stand still are left out. */
async function rises(work: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await scrape()
  await work()
  const after = await scrape()
  const risen = [...after].map(([name, value]): [string, number] => [name, value - (before.get(name) ?? 0)])
  return Object.fromEntries(risen.filter(([, by]) => by !== 0))
}

const requests = (endpoint: string, method: string, status: number) =>
  `api_requests_total{endpoint="${endpoint}",method="${method}",status_code="${status}"}`
const errors = (category: string) => `api_errors_total{category="${category}"}`

describe('/metrics', () => {
  it('is Prometheus’ text', async () => {
    const answer = await call('GET', '/metrics')
    expect(answer.headers.get('Content-Type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(answer.headers.get('Cache-Control')).toBe('no-store')
    const page = await answer.text()
    expect(page).toMatch(/^# HELP api_requests_total .+\n# TYPE api_requests_total counter\n/)
    expect(page.endsWith('\n')).toBe(true)
    expect(page).not.toContain('\n\n')
  })

  it('counts requests by the route’s pattern, method and status', async () => {
    const id = crypto.randomUUID()
    const risen = await rises(async () => {
      await call('GET', '/health')
      await call('GET', '/health/')
      await call('HEAD', '/health')
      await call('GET', `/api/v1/agents/${id}`)
      await call('GET', `/api/agents/${id}`)
      await call('GET', `/nowhere/${id}`)
      await call('DELETE', '/health')
      await call('OPTIONS', '/health')
    })
    expect(risen).toMatchObject({
      [requests('/health', 'GET', 200)]: 2,
      [requests('/health', 'HEAD', 200)]: 1,
      [requests('/api/v1/agents/:id', 'GET', 401)]: 2,
      [requests('*', 'GET', 404)]: 1,
      [requests('*', 'DELETE', 405)]: 1,
      [requests('*', 'OPTIONS', 204)]: 1,
      [errors('authentication')]: 2,
      [errors('not_found')]: 1,
      [errors('validation')]: 1,
    })
    expect(Object.keys(risen).filter((name) => name.startsWith('api_errors_total'))).toHaveLength(3)
    expect(JSON.stringify(risen)).not.toContain(id)
  })

  it('has the time of each in a histogram that adds up', async () => {
    const risen = await rises(() => call('GET', '/health'))
    expect(risen['api_latency_seconds_count{endpoint="/health"}']).toBe(1)
    expect(risen['api_latency_seconds_bucket{endpoint="/health",le="+Inf"}']).toBe(1)
    const page = await scrape()
    const buckets = [...page].filter(([name]) =>
      name.startsWith('api_latency_seconds_bucket{endpoint="/health"'),
    )
    expect(buckets.length).toBe(13)
    const counts = buckets.map(([, value]) => value)
    expect(counts).toEqual(counts.toSorted((a, b) => a - b))
    expect(counts.at(-1)).toBe(page.get('api_latency_seconds_count{endpoint="/health"}'))
  })

  it('has known labels at zero before anything happened, so that a first one is a rise', async () => {
    const page = await scrape()
    for (const category of new Set(Object.values(PROBLEMS).map((problem) => problem.category)))
      expect(page.has(errors(category))).toBe(true)
    for (const outcome of ['delivered', 'failed', 'exhausted'])
      expect(page.has(`webhook_deliveries_total{outcome="${outcome}"}`)).toBe(true)
    for (const by of ['lease', 'silence']) expect(page.has(`lease_refusals_total{by="${by}"}`)).toBe(true)
  })

  it('names the category of an error as its answer does', () => {
    for (const [code, { status, category }] of Object.entries(PROBLEMS))
      expect([code, categoryOf(status)]).toEqual([code, category])
    expect([200, 204, 101, 304].map(categoryOf)).toEqual([null, null, null, null])
  })

  it('has what the limiters did', async () => {
    const counts = limiterCounts(env)
    const risen = await rises(async () => {
      counts.meter_calls += 7
      counts.meter_silences += 2
      counts.refused += 5
      counts.refused_alone += 3
    })
    const silent = 'lease_refusals_total{by="silence"}'
    expect(risen.meter_silences_total).toBe(2)
    expect(risen.meter_calls_total).toBeGreaterThanOrEqual(7)
    expect([risen['lease_refusals_total{by="lease"}'], risen[silent]]).toEqual([2, 3])
    expect((await rises(async () => {}))[silent]).toBeUndefined()
  })
})

describe('who may read them', () => {
  const url = 'https://api.example.com/metrics'
  const token = 'a_long_token_of_the_operator'
  const headers = (value: string) => ({ headers: { Authorization: value } })

  it('is anyone in development', async () => {
    expect((await call('GET', '/metrics')).status).toBe(200)
  })

  it('is who has METRICS_TOKEN elsewhere', async () => {
    const service = serviceWith({ ...PRODUCTION, METRICS_TOKEN: token })
    const refused = await service('GET', url)
    expect(refused.headers.get('WWW-Authenticate')).toMatch(/^Bearer error=/)
    await expectError(refused, 'credential_required')
    for (const wrong of [
      `Bearer ${token}x`,
      `Basic ${token}`,
      'Bearer',
      'Bearer ',
      token,
      `Bearer x ${token}`,
    ])
      await expectError(service('GET', url, headers(wrong)), 'invalid_token')
    const right = await service('GET', url, headers(`Bearer ${token}`))
    expect([right.status, await right.text()]).toEqual([200, expect.stringContaining('# TYPE')])
    const world = await makeWorld()
    await expectError(service('GET', url, { token: world.admin.token }), 'invalid_token')
  })

  it('is nobody where none is set', async () => {
    const service = serviceWith(PRODUCTION)
    await expectError(service('GET', url), 'credential_required')
    for (const guess of ['Bearer ', 'Bearer undefined', `Bearer ${token}`])
      await expectError(service('GET', url, headers(guess)), 'invalid_token')
  })

  it('can’t be had with a token that is short, or made for development', async () => {
    const silenced = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    for (const METRICS_TOKEN of ['short', 'dev_metrics_token_0123456789'])
      await expectError(serviceWith({ ...PRODUCTION, METRICS_TOKEN })('GET', url), 'misconfigured')
    silenced.mockRestore()
  })
})

describe('what is counted in an object', { timeout: 20_000 }, () => {
  it('is the deliveries of endpoints, by how they ended, and the time from the event', async () => {
    const world = await makeWorld()
    const good = await connect(world, [{}])
    const gone = await connect(world, [{ status: 410 }])
    const slow = await connect(world, [{ status: 500 }])
    const risen = await rises(async () => {
      await send(world)
      for (const { endpoint } of [good, gone, slow]) {
        await settled(world, endpoint.id)
        // Its own report comes within fifteen seconds.
        const sender = env.ENDPOINTS.getByName(`${world.tenant.id}/${endpoint.id}`)
        await runInDurableObject(sender, (instance) => report((instance as unknown as { env: Bindings }).env))
      }
    })
    // Of what earlier tests left a retry may have come in between.
    expect(risen['webhook_attempts_total{outcome="succeeded"}']).toBeGreaterThanOrEqual(1)
    expect(risen['webhook_attempts_total{outcome="failed"}']).toBeGreaterThanOrEqual(2)
    expect(risen['webhook_deliveries_total{outcome="delivered"}']).toBeGreaterThanOrEqual(1)
    expect(risen['webhook_deliveries_total{outcome="failed"}']).toBeGreaterThanOrEqual(1)
    expect(risen.webhook_delivery_latency_seconds_count).toBe(
      risen['webhook_deliveries_total{outcome="delivered"}'],
    )
  })

  it('counts an attempt once, and its delivery when it has ended', async () => {
    const now = Date.parse('2026-01-01T00:00:10.000Z')
    const failed = { response_status: 500, error: 'status: 500', retry_after: null, directive: null }
    const alone = { ...env } as Bindings
    const risen = await rises(async () => {
      const count = (verdict: ReturnType<typeof judge>) =>
        countAttempt(alone, verdict, '2026-01-01T00:00:00.000Z', now)
      count(judge(failed, 1, now, 0))
      count(judge(failed, 10, now, 0))
      count(judge({ ...failed, directive: 'abort-message' }, 1, now, 0))
      count(judge({ ...failed, response_status: 200, error: null }, 2, now, 0))
      await report(alone)
    })
    expect(risen).toMatchObject({
      'webhook_attempts_total{outcome="succeeded"}': 1,
      'webhook_attempts_total{outcome="failed"}': 3,
      'webhook_deliveries_total{outcome="delivered"}': 1,
      'webhook_deliveries_total{outcome="failed"}': 1,
      'webhook_deliveries_total{outcome="exhausted"}': 1,
      webhook_delivery_latency_seconds_count: 1,
      // Sums of floating-point numbers, the difference of two.
      webhook_delivery_latency_seconds_sum: expect.closeTo(10, 6),
      'webhook_delivery_latency_seconds_bucket{le="10"}': 1,
    })
    expect(risen['webhook_delivery_latency_seconds_bucket{le="5"}']).toBeUndefined()
  })
})

describe('open streams', { timeout: 20_000 }, () => {
  /** What the shards hold, of one tenant or of all. */
  async function held(tenant?: string): Promise<number> {
    const shards = Array.from({ length: METRICS_SHARDS }, (_, n) => env.METRICS.getByName(shardName(n)))
    const values = await Promise.all(
      shards.map((shard) =>
        runInDurableObject(shard, (_, { storage }) =>
          storage.sql
            .exec<{ n: number }>(
              'select coalesce(sum(value), 0) as n from gauges where ?1 is null or source = ?1',
              tenant ?? null,
            )
            .one(),
        ),
      ),
    )
    return values.reduce((sum, { n }) => sum + n, 0)
  }

  it('are those of all tenants, as they stand', async () => {
    const tenants = [newId(Date.now()), newId(Date.now())]
    let sequence = 0
    const note = (tenant: string, open: number) =>
      env.METERS.getByName(tenant).noteStreams({ holder: tenant, life: 'one', sequence: ++sequence, open })
    for (const [n, tenant] of tenants.entries()) await note(tenant, 2 + n)
    for (const [n, tenant] of tenants.entries()) await eventually(async () => (await held(tenant)) === 2 + n)
    // Other tests' streams come and go.
    await eventually(async () => {
      const [before, shown, after] = [await held(), (await scrape()).get('open_streams'), await held()]
      return before === after && shown === before && shown >= 5
    })
    await note(tenants[0] ?? '', 7)
    await note(tenants[1] ?? '', 0)
    // At most every five seconds a Meter tells, and then how it stands.
    await note(tenants[0] ?? '', 1)
    await eventually(async () => (await held(tenants[0])) === 1, 10_000)
    await eventually(async () => (await held(tenants[1])) === 0, 10_000)
  })

  it('rise with a chat that is followed, and fall with it', async () => {
    const world = await makeWorld()
    const { token } = world.admin
    const make = async (path: string, body: object) =>
      (await callJson<{ id: string }>('POST', path, { token, body })).data.id
    const agent_id = await make('/api/v1/agents', { name: 'Echo', kind: 'echo' })
    const chat = await make('/api/v1/chats', { agent_id })
    const stream = await call('GET', `/api/v1/chats/${chat}/stream`, { token })
    expect(stream.status).toBe(200)
    await eventually(async () => (await held(world.tenant.id)) === 1)
    await stream.body?.cancel()
    await call('DELETE', `/api/v1/chats/${chat}`, { token })
    await eventually(async () => (await held(world.tenant.id)) === 0, 15_000)
  })
})

describe('the backlog', () => {
  const gauges = [
    ...['outbox_entries', 'outbox_oldest_seconds'],
    ...['deliveries_due', 'deliveries_overdue_seconds'],
  ]
  /** An isolate of its own has nothing remembered. */
  const look = async (overrides: Record<string, unknown> = {}) =>
    samplesOf(await (await serviceWith(overrides)('GET', 'http://localhost:8787/metrics')).text())

  /** An event whose deliveries nobody made, and an endpoint whose deliveries nobody attempts. */
  async function leave(made: number, due: number) {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{}])
    await env.DB.prepare(
      `insert into events (tenant_id, id, type, channels, data, timestamp) values (?, ?, 'order.shipped', '[]', '{}', ?)`,
    )
      .bind(world.tenant.id, `msg_${firstIdAt(made)}`, new Date(due).toISOString())
      .run()
    const add = (n: number, at: number, status: string) =>
      env.DB.prepare(
        `insert into deliveries (tenant_id, id, event_id, event_type, endpoint_id, status, next_attempt_at, created_at)
         values (?1, ?2, 'msg_x', 'order.shipped', ?3, ?4, ?5, ?5)`,
      )
        .bind(world.tenant.id, `${n}${newId(made)}`, endpoint.id, status, new Date(at).toISOString())
        .run()
    await add(1, due, 'pending')
    await add(2, due + 1_000, 'pending')
    await add(3, Date.now() + 3600_000, 'pending')
    await add(4, due, 'exhausted')
    const clear = () =>
      env.DB.batch([
        env.DB.prepare('delete from deliveries where tenant_id = ?').bind(world.tenant.id),
        env.DB.prepare('delete from events where tenant_id = ?').bind(world.tenant.id),
      ])
    return { world, endpoint, clear }
  }

  /** The same by counting all there is. */
  const counted = () =>
    env.DB.prepare(
      `select (select count(*) from events where dispatched = 0) as entries,
        (select count(*) from deliveries as d join endpoints as w on w.tenant_id = d.tenant_id and w.id = d.endpoint_id
          join tenants as t on t.id = d.tenant_id and t.status = 'active'
          where d.status = 'pending' and d.next_attempt_at <= ?1 and w.status = 'active'
            and (w.not_before is null or w.not_before <= ?1)) as due`,
    )
      .bind(new Date().toISOString())
      .first<{ entries: number; due: number }>()

  it.each([
    ['that is due', 'status', 'active', 2],
    ['of an endpoint that was asked to wait', 'not_before', new Date(Date.now() + 3600_000).toISOString(), 0],
    [
      'of an endpoint that waited long enough',
      'not_before',
      new Date(Date.now() - 3600_000).toISOString(),
      2,
    ],
    ['of an endpoint that is paused', 'status', 'paused', 0],
  ])('is what waits in D1, and for how long: %s', { timeout: 20_000 }, async (_, column, value, own) => {
    // The sweep may see to it first: then it is left once more.
    await eventually(async () => {
      const none = await counted()
      const { world, endpoint, clear } = await leave(Date.now() - 7_200_000, Date.now() - 3_600_000)
      await env.DB.prepare(`update endpoints set ${column} = ? where tenant_id = ? and id = ?`)
        .bind(value, world.tenant.id, endpoint.id)
        .run()
      const before = await counted()
      const shown = await look()
      const after = await counted()
      await clear()
      const entries = (none?.entries ?? 0) + 1
      const due = (none?.due ?? 0) + own
      if (
        JSON.stringify([before, after]) !==
        JSON.stringify([
          { entries, due },
          { entries, due },
        ])
      )
        return false
      expect([shown.get('outbox_entries'), shown.get('deliveries_due')]).toEqual([entries, due])
      // It is about the order of commits: another test may have left one that was written before.
      if (entries === 1) expect(shown.get('outbox_oldest_seconds')).toBeCloseTo(7_200, -1)
      if (due === own && own > 0) expect(shown.get('deliveries_overdue_seconds')).toBeCloseTo(3_600, -1)
      if (due === 0) expect(shown.get('deliveries_overdue_seconds')).toBe(0)
      return true
    }, 15_000)
  })

  it('is looked at every five seconds, however often it is asked for', async () => {
    const asked: string[] = []
    const DB = {
      prepare: (sql: string) => {
        asked.push(sql)
        return env.DB.prepare(sql)
      },
    }
    const service = serviceWith({ DB })
    vi.useFakeTimers({ toFake: ['Date'] })
    const at = async (ms: number) => {
      vi.setSystemTime(Date.parse('2026-06-01T00:00:00Z') + ms)
      expect((await service('GET', 'http://localhost:8787/metrics')).status).toBe(200)
      return asked.filter((sql) => sql.includes('deliveries')).length
    }
    try {
      expect([await at(0), await at(4_999), await at(5_001)]).toEqual([1, 1, 2])
    } finally {
      vi.useRealTimers()
    }
  })

  it('is left out where D1 is away; all else is there', async () => {
    const DB = {
      prepare: () => {
        throw new Error('D1 is away')
      },
    }
    const silenced = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const page = await look({ DB })
    silenced.mockRestore()
    expect(gauges.filter((name) => page.has(name))).toEqual([])
    expect([...page.keys()].some((name) => name.startsWith('api_requests_total'))).toBe(true)
  })

  it('is read by indexes that hold what waits', async () => {
    const statements: string[] = []
    const DB = {
      prepare: (sql: string) => {
        statements.push(sql)
        return env.DB.prepare(sql)
      },
    }
    await look({ DB })
    expect(statements.length).toBe(2)
    for (const sql of statements) {
      const parameters = [...sql.matchAll(/\?/g)].map(() => '2026-01-01T00:00:00.000Z')
      const plan = await env.DB.prepare(`explain query plan ${sql}`)
        .bind(...parameters)
        .all<{ detail: string }>()
      const reads = plan.results.map(({ detail }) => detail).filter((detail) => /^(SCAN|SEARCH)/.test(detail))
      expect(reads.length).toBeGreaterThan(1)
      // What is scanned is the recursion itself, or a partial index that holds what waits and nothing else.
      for (const detail of reads)
        expect(detail).toMatch(
          /^SEARCH|^SCAN (hop|f|first|CONSTANT ROW|\(subquery-\d+\))$|USING (COVERING )?INDEX (events_undispatched|deliveries_pending)/,
        )
    }
  })
})
