import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import type { UsageGroup } from '../../src/domains/metering/usage/book'
import { BUCKETS } from '../../src/domains/metering/usage/latency'
import type { Sample, UsageLine, UsageReport } from '../../src/domains/metering/usage/line'
import { OTHERS } from '../../src/domains/metering/usage/stat'
import { iso, newId } from '../../src/lib/ids'
import { log } from '../../src/lib/log'
import { callJson, makeWorld } from '../world'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const floor = (ms: number, at: number) => Math.floor(at / ms) * ms

const line = (at: number, over: Partial<UsageLine> = {}): UsageLine => ({
  minute: Math.floor(at / MINUTE),
  caller: 'user',
  method: 'GET',
  endpoint: '/api/v1/chats',
  status: 200,
  requests: 1,
  request_size_bytes: 1,
  response_size_bytes: 10,
  latency: { 3: 1 },
  last_at: at,
  ...over,
})

const sample = (at: number, request_id: string): Sample => ({
  ...{ at, caller: 'user', method: 'GET', endpoint: '/', status: 500, latency_ms: 1, request_id },
  ...{ request_size_bytes: 0, response_size_bytes: 0 },
})

/** A tenant's Meter, as isolates and readers reach it. */
function meterOf(tenantId = newId(Date.now())) {
  const stub = env.METERS.getByName(tenantId)
  let calls = 0
  const take = (report: Partial<UsageReport>, isolate = 'a') =>
    stub.lease({
      ...{ isolate, sequence: ++calls, revision: 0, demands: [], report: null, unleased: null },
      usage: { sequence: 1, lines: [], samples: [], ...report },
    })
  const rows = <T extends Record<string, SqlStorageValue>>(query: string) =>
    runInDurableObject(stub, (_, state) => state.storage.sql.exec<T>(query).toArray())
  return { stub, take, rows }
}

const counts = (groups: UsageGroup[]) => groups.map(({ group, stat }) => [group, stat.requests, stat.errors])

const archived = (tenantId: string) =>
  env.DB.prepare('select * from usage_logs where tenant_id = ? order by grain, part, started_at, name')
    .bind(tenantId)
    .all<Record<string, unknown>>()
    .then(({ results }) => results)

beforeAll(() => log.setLevel('silent'))

describe('reports', () => {
  it('are applied once, however often and in whatever order they come', async () => {
    const { stub, take } = meterOf()
    const now = Date.now()
    const [first, second] = [
      { sequence: 1, lines: [line(now)] },
      { sequence: 2, lines: [line(now)] },
    ]
    for (const report of [first, first, second, first, second]) await take(report)
    const total = async () =>
      (await stub.usageGroups('day', floor(DAY, now), now + DAY)).reduce(
        (sum, { stat }) => sum + stat.requests,
        0,
      )
    expect(await total()).toBe(2)
    // What another isolate says under the same number is another report.
    await take(first, 'b')
    expect(await total()).toBe(3)
    await evictDurableObject(stub)
    await take(second)
    await take(first, 'b')
    expect(await total()).toBe(3)
    await take({ sequence: 3, lines: [line(now)] })
    expect(await total()).toBe(4)
  })

  it('are applied also where the call came late and gets no lease', async () => {
    const { stub, take } = meterOf()
    const now = Date.now()
    await take({ sequence: 1, lines: [line(now)] })
    const late = { isolate: 'a', sequence: 1, revision: 0, demands: [], report: null, unleased: null }
    await stub.lease({ ...late, usage: { sequence: 2, lines: [line(now)], samples: [] } })
    expect(counts(await stub.usageGroups('status', now - HOUR, now + HOUR))).toEqual([['200', 2, 0]])
  })

  it('that can’t be taken cost no lease', async () => {
    const { stub, take } = meterOf()
    const broken = { sequence: 1, lines: [null as unknown as UsageLine] }
    expect(await take(broken)).toMatchObject({ sequence: 1 })
    await take({ sequence: 2, lines: [line(Date.now())] })
    expect(counts(await stub.usageGroups('status', 0, Date.now() + HOUR))).toEqual([['200', 1, 0]])
  })

  it('of a clock that is wrong are counted where they can be kept', async () => {
    const { stub, take } = meterOf()
    const now = Date.now()
    await take({ lines: [line(now + 90 * DAY), line(now - 90 * DAY)] })
    const minutes = await stub.usageGroups('minute', 0, now + 365 * DAY)
    expect(minutes).toHaveLength(2)
    expect(Number(minutes[0]?.group)).toBeGreaterThan(now - 7 * DAY)
    expect(Number(minutes[1]?.group)).toBeLessThanOrEqual(now + MINUTE)
  })
})

describe('groups', () => {
  const now = Date.now()
  // The middle of an hour three days ago.
  const base = floor(HOUR, now - 3 * DAY) + 30 * MINUTE
  const lines = [
    line(base, { requests: 2, latency: { 3: 2 } }),
    line(base + MINUTE, { status: 404, caller: 'k1' }),
    line(base + HOUR, { endpoint: '/api/v1/agents', method: 'POST', caller: 'k1', latency: { 40: 1 } }),
    line(base + 2 * HOUR, { status: 500, caller: 'k2' }),
    line(base + DAY, { status: 503 }),
  ]

  it('by time', async () => {
    const { stub, take } = meterOf()
    await take({ lines })
    const all = [base - DAY, base + 2 * DAY] as const
    expect(counts(await stub.usageGroups('minute', ...all))).toEqual([
      [base, 2, 0],
      [base + MINUTE, 1, 1],
      [base + HOUR, 1, 0],
      [base + 2 * HOUR, 1, 1],
      [base + DAY, 1, 1],
    ])
    expect(counts(await stub.usageGroups('minute', base + MINUTE, base + HOUR))).toEqual([
      [base + MINUTE, 1, 1],
    ])
    const hour = floor(HOUR, base)
    expect(counts(await stub.usageGroups('hour', ...all))).toEqual([
      [hour, 3, 1],
      [hour + HOUR, 1, 0],
      [hour + 2 * HOUR, 1, 1],
      [hour + DAY, 1, 1],
    ])
    const days = await stub.usageGroups('day', floor(DAY, base), floor(DAY, base) + 3 * DAY)
    expect(days.reduce((sum, { stat }) => sum + stat.requests, 0)).toBe(6)
    for (const { group } of days) expect(Number(group) % DAY).toBe(0)
  })

  it('by endpoint, status and caller, to the minute at both ends', async () => {
    const { stub, take } = meterOf()
    await take({ lines })
    const by = async (part: 'endpoint' | 'status' | 'caller', from: number, to: number) =>
      counts(await stub.usageGroups(part, from, to)).sort()
    expect(await by('endpoint', base, base + 3 * HOUR)).toEqual([
      ['GET /api/v1/chats', 4, 2],
      ['POST /api/v1/agents', 1, 0],
    ])
    expect(await by('caller', base, base + 3 * HOUR)).toEqual([
      ['k1', 2, 1],
      ['k2', 1, 1],
      ['user', 2, 0],
    ])
    expect(await by('status', base + MINUTE, base + 2 * HOUR + MINUTE)).toEqual([
      ['200', 1, 0],
      ['404', 1, 1],
      ['500', 1, 1],
    ])
    expect(await by('status', base + MINUTE, base + 2 * HOUR)).toEqual([
      ['200', 1, 0],
      ['404', 1, 1],
    ])
    expect(await by('status', base + MINUTE, base + 2 * MINUTE)).toEqual([['404', 1, 1]])
    expect(await by('status', base + 2 * MINUTE, base + HOUR)).toEqual([])
  })

  it('add up sizes and latencies', async () => {
    const { stub, take } = meterOf()
    await take({ lines })
    await take({ sequence: 2, lines }, 'b')
    const found = await stub.usageGroups('hour', floor(HOUR, base), floor(HOUR, base) + HOUR)
    expect(found[0]?.stat).toEqual({
      requests: 6,
      errors: 2,
      request_size_bytes: 4,
      response_size_bytes: 40,
      latency: { 3: 6 },
    })
  })

  it('never are without end: beyond a thousand keys the others are one', async () => {
    const { stub, take, rows } = meterOf()
    const many = Array.from({ length: 1_500 }, (_, i) => line(base, { caller: `key-${i}` }))
    await take({ lines: many })
    const found = await stub.usageGroups('caller', base, base + MINUTE)
    expect(found).toHaveLength(1_001)
    expect(found.find(({ group }) => group === OTHERS)?.stat.requests).toBe(500)
    expect(counts(await stub.usageGroups('minute', base, base + MINUTE))).toEqual([[base, 1_500, 0]])
    const [size] = await rows<{ bytes: number }>('SELECT max(length(parts)) AS bytes FROM usage_hours')
    // A value of an object's SQLite may have 2 MB.
    expect(size?.bytes).toBeLessThan(500_000)
  })

  it('fit a row: where they would not, the keys that asked least are one', { timeout: 30_000 }, async () => {
    const { stub, take, rows } = meterOf()
    const now = floor(MINUTE, Date.now())
    const wide = Object.fromEntries(Array.from({ length: BUCKETS }, (_, bucket) => [bucket, 10_000]))
    const answers = {
      runs: 1,
      prompt_tokens: 1,
      completion_tokens: 1,
      time_to_first_token: wide,
      duration: wide,
    }
    const keys = Array.from({ length: 900 }, () => crypto.randomUUID())
    const lines = keys.map((caller, n) => line(now, { caller, requests: n + 1, latency: wide, answers }))
    for (const [n, at] of [0, 300, 600].entries())
      await take({ sequence: n + 1, lines: lines.slice(at, at + 300) })
    const kept = await rows<{ length: number }>(
      'SELECT max(length(total) + length(parts)) AS length FROM usage_minutes UNION ALL SELECT max(length(total) + length(parts)) FROM usage_hours',
    )
    for (const { length } of kept) expect(length).toBeLessThan(2_000_000)
    const sent = lines.reduce((sum, { requests }) => sum + requests, 0)
    const callers = await stub.usageGroups('caller', now, now + MINUTE)
    expect(callers.reduce((sum, { stat }) => sum + stat.requests, 0)).toBe(sent)
    expect(callers.map(({ group }) => group)).toContain(OTHERS)
    // Who asked most is there by name, with all that it asked.
    expect(callers.find(({ group }) => group === keys.at(-1))?.stat.requests).toBe(900)
    const [total] = await stub.usageGroups('minute', now, now + MINUTE)
    expect(total?.stat.requests).toBe(sent)
  })
})

describe('samples', () => {
  it('are the newest thousand of the last day, in pages', async () => {
    const { stub, take } = meterOf()
    const now = Date.now()
    await take({
      samples: [
        sample(now - DAY - MINUTE, 'old'),
        ...Array.from({ length: 1_200 }, (_, i) => sample(now, `r${i}`)),
      ],
    })
    const first = await stub.usageSamples(null, 600)
    expect([first.length, first[0]?.request_id]).toEqual([600, 'r1199'])
    const rest = await stub.usageSamples(first.at(-1)?.id ?? null, 600)
    expect([rest.length, rest.at(-1)?.request_id]).toEqual([400, 'r200'])
  })

  it('of more than a day ago are not shown', async () => {
    const { stub, take } = meterOf()
    await take({ samples: [sample(Date.now() - DAY - MINUTE, 'old'), sample(Date.now(), 'new')] })
    expect((await stub.usageSamples(null, 10)).map(({ request_id }) => request_id)).toEqual(['new'])
  })
})

describe('the alarm', () => {
  it('writes hours that are over, and their days, to D1', async () => {
    const tenantId = newId(Date.now())
    const { stub, take } = meterOf(tenantId)
    const now = Date.now()
    const old = floor(DAY, now - 2 * DAY) + 5 * HOUR
    await take({
      lines: [
        line(old, { requests: 3, latency: { 3: 2, 20: 1 } }),
        line(old + HOUR, { status: 404, caller: 'user', method: 'POST' }),
        line(now),
      ],
    })
    expect(await archived(tenantId)).toEqual([])
    expect(await runDurableObjectAlarm(stub)).toBe(true)
    const rows = await archived(tenantId)
    const shape = rows.map(({ grain, part, started_at, name, requests, errors }) => [
      ...[grain, part, started_at, name],
      ...[requests, errors],
    ])
    const day = iso(floor(DAY, old))
    expect(shape).toEqual([
      ['day', 'caller', day, 'user', 4, 1],
      ['day', 'endpoint', day, 'GET /api/v1/chats', 3, 0],
      ['day', 'endpoint', day, 'POST /api/v1/chats', 1, 1],
      ['day', 'status', day, '200', 3, 0],
      ['day', 'status', day, '404', 1, 1],
      ['day', 'total', day, '', 4, 1],
      ['hour', 'caller', iso(old), 'user', 3, 0],
      ['hour', 'caller', iso(old + HOUR), 'user', 1, 1],
      ['hour', 'endpoint', iso(old), 'GET /api/v1/chats', 3, 0],
      ['hour', 'endpoint', iso(old + HOUR), 'POST /api/v1/chats', 1, 1],
      ['hour', 'status', iso(old), '200', 3, 0],
      ['hour', 'status', iso(old + HOUR), '404', 1, 1],
      ['hour', 'total', iso(old), '', 3, 0],
      ['hour', 'total', iso(old + HOUR), '', 1, 1],
    ])
    expect(JSON.parse(String(rows[5]?.latency))).toEqual({ 3: 3, 20: 1 })
    expect(rows[5]).toMatchObject({ request_size_bytes: 2, response_size_bytes: 20 })
    // It will be back for the hour that is going on.
    const next = await runInDurableObject(stub, (_, state) => state.storage.getAlarm())
    expect(next).toBeGreaterThan(floor(HOUR, now) + HOUR)
    expect(next).toBeLessThanOrEqual(floor(HOUR, now) + HOUR + 10 * MINUTE)
  })

  it('writes many keys of many latencies in statements that D1 takes', { timeout: 30_000 }, async () => {
    const tenantId = newId(Date.now())
    const { stub, take } = meterOf(tenantId)
    const old = floor(DAY, Date.now() - 2 * DAY) + 5 * HOUR
    const latency = Object.fromEntries(Array.from({ length: BUCKETS }, (_, bucket) => [bucket, 1]))
    const keys = Array.from({ length: 900 }, () => crypto.randomUUID())
    await take({ lines: keys.map((caller) => line(old, { caller, requests: BUCKETS, latency })) })
    // What the statements are given, as D1 counts it.
    let most = 0
    const prepare = env.DB.prepare.bind(env.DB)
    const watched = vi.spyOn(env.DB, 'prepare').mockImplementation((query) => {
      const statement = prepare(query)
      const bind = statement.bind.bind(statement)
      statement.bind = (...values) => {
        most = Math.max(most, ...values.map((value) => (typeof value === 'string' ? value.length : 0)))
        return bind(...values)
      }
      return statement
    })
    try {
      await runDurableObjectAlarm(stub)
    } finally {
      watched.mockRestore()
    }
    expect(most).toBeGreaterThan(100_000)
    expect(most).toBeLessThan(2_000_000)
    const callers = (await archived(tenantId)).filter(
      ({ grain, part }) => grain === 'hour' && part === 'caller',
    )
    expect(callers.map(({ name }) => name)).toEqual(keys.sort())
  })

  it('writes an hour again for what came late, and counts nothing twice', async () => {
    const tenantId = newId(Date.now())
    const { stub, take } = meterOf(tenantId)
    const old = floor(HOUR, Date.now() - 5 * HOUR)
    await take({ lines: [line(old, { requests: 5 })] })
    await runDurableObjectAlarm(stub)
    await runDurableObjectAlarm(stub)
    await take({ sequence: 2, lines: [line(old, { requests: 2, status: 500 })] })
    await evictDurableObject(stub)
    await runDurableObjectAlarm(stub)
    const totals = (await archived(tenantId)).filter(({ part }) => part === 'total')
    expect(totals.map(({ grain, requests, errors }) => [grain, requests, errors])).toEqual([
      ['day', 7, 2],
      ['hour', 7, 2],
    ])
  })

  it('is set again and again until D1 takes it', async () => {
    const tenantId = newId(Date.now())
    const { stub, take } = meterOf(tenantId)
    const old = floor(HOUR, Date.now() - 3 * HOUR)
    await take({ lines: [line(old)] })
    const failing = vi.spyOn(env.DB, 'batch').mockRejectedValue(new Error('D1_ERROR: away'))
    try {
      for (let i = 0; i < 10; i++) expect(await runDurableObjectAlarm(stub)).toBe(true)
      expect(failing).toHaveBeenCalled()
    } finally {
      failing.mockRestore()
    }
    expect(await archived(tenantId)).toEqual([])
    expect(await runDurableObjectAlarm(stub)).toBe(true)
    expect((await archived(tenantId)).length).toBeGreaterThan(0)
  })

  it('is set anew by the next report, had it been lost', async () => {
    const { stub, take } = meterOf()
    await take({ lines: [line(Date.now() - 3 * HOUR)] })
    await runInDurableObject(stub, (_, state) => state.storage.deleteAlarm())
    await evictDurableObject(stub)
    await take({ sequence: 2, lines: [line(Date.now())] })
    expect(await runDurableObjectAlarm(stub)).toBe(true)
  })

  it('drops minutes after seven days, and hours with the whole day that they belong to', async () => {
    const { stub, take, rows } = meterOf()
    const now = Date.now()
    await take({ lines: [line(now - 6 * DAY), line(now)], samples: [sample(now, 'new')] })
    await runDurableObjectAlarm(stub)
    // Time passes: what was of six days ago is of nine.
    const shift = 3 * DAY
    await runInDurableObject(stub, (_, { storage: { sql } }) => {
      for (const table of ['usage_minutes', 'usage_hours', 'usage_samples', 'usage_reports'])
        sql.exec(`UPDATE ${table} SET at = at - ?`, shift)
    })
    await take({ sequence: 1, lines: [line(now)] }, 'b')
    await runInDurableObject(stub, (_, { storage: { sql } }) =>
      sql.exec('UPDATE usage_hours SET archived = 0'),
    )
    await evictDurableObject(stub)
    await runDurableObjectAlarm(stub)
    const left = await rows<{ at: number }>('SELECT at FROM usage_minutes ORDER BY at')
    expect(left.map(({ at }) => at)).toEqual([floor(MINUTE, now) - shift, floor(MINUTE, now)])
    expect((await rows<{ n: number }>('SELECT count(*) AS n FROM usage_samples'))[0]?.n).toBe(0)
    expect(await rows('SELECT isolate FROM usage_reports')).toEqual([{ isolate: 'b' }])
    const hours = await rows<{ at: number }>('SELECT at FROM usage_hours ORDER BY at')
    expect(hours.every(({ at }) => at >= floor(DAY, now - 8 * DAY))).toBe(true)
    expect(hours.length).toBe(2)
  })

  it('drops no hour before D1 has it, and with it its day, however old it is', async () => {
    const tenantId = newId(Date.now())
    const { stub, take } = meterOf(tenantId)
    const day = floor(DAY, Date.now() - 5 * DAY)
    await take({ lines: Array.from({ length: 10 }, (_, hour) => line(day + hour * HOUR)) })
    const shift = 5 * DAY
    await runInDurableObject(stub, (_, { storage: { sql } }) =>
      sql.exec('UPDATE usage_hours SET at = at - ?', shift),
    )
    await evictDurableObject(stub)
    // It catches up some hours at a time.
    for (let time = 0; time < 2; time++) await runDurableObjectAlarm(stub)
    const totals = (await archived(tenantId)).filter(({ part }) => part === 'total')
    const of = (grain: string) => totals.filter((row) => row.grain === grain)
    expect(of('hour')).toHaveLength(10)
    expect(of('day')).toMatchObject([{ started_at: iso(day - shift), requests: 10 }])
  })
})

describe('the use of API keys', () => {
  const keyOf = async () => {
    const world = await makeWorld()
    const made = await callJson<{ id: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'Used' },
    })
    const shown = async () =>
      (
        await callJson<{ last_used_at: string | null }>('GET', `/api/v1/auth/api-keys/${made.data.id}`, {
          token: world.admin.token,
        })
      ).data.last_used_at
    return { id: made.data.id, shown, token: world.admin.token, ...meterOf(world.tenant.id) }
  }

  it('is written to the key, the first time within a second of the report', async () => {
    const { id, shown, stub, take } = await keyOf()
    expect(await shown()).toBeNull()
    const at = Date.now() - 5_000
    await take({ lines: [line(at, { caller: id }), line(at - 60_000, { caller: id })] }, crypto.randomUUID())
    const due = await runInDurableObject(stub, (_, state) => state.storage.getAlarm())
    if (due !== null) expect(due).toBeLessThanOrEqual(Date.now() + 1_000)
    await runDurableObjectAlarm(stub)
    await vi.waitFor(async () => expect(await shown()).toBe(iso(at)), 5_000)
  })

  it('changes the ETag of the key, but not the version that a change of it names', async () => {
    const { id, shown, stub, take, token } = await keyOf()
    const path = `/api/v1/auth/api-keys/${id}`
    const before = (await callJson('GET', path, { token })).headers.get('ETag') ?? ''
    expect(before).toBe('"v1"')
    await take({ lines: [line(Date.now(), { caller: id })] }, crypto.randomUUID())
    await runDurableObjectAlarm(stub)
    await vi.waitFor(async () => expect(await shown()).not.toBeNull(), 5_000)
    const again = await callJson('GET', path, { token, headers: { 'If-None-Match': before } })
    expect(again.status).toBe(200)
    const after = again.headers.get('ETag') ?? ''
    expect((await callJson('GET', path, { token, headers: { 'If-None-Match': after } })).status).toBe(304)
    expect((await callJson('DELETE', path, { token, headers: { 'If-Match': after } })).status).toBe(204)
  })

  it('is written every five minutes at most, and never goes back', async () => {
    const { id, shown, stub, take } = await keyOf()
    const now = Date.now()
    const use = async (at: number) => {
      await take({ lines: [line(at, { caller: id })] }, crypto.randomUUID())
      await runDurableObjectAlarm(stub)
    }
    await use(now - 4 * MINUTE)
    await vi.waitFor(async () => expect(await shown()).toBe(iso(now - 4 * MINUTE)), 5_000)
    await use(now)
    await scheduler.wait(1_500)
    expect(await shown()).toBe(iso(now - 4 * MINUTE))
    await runInDurableObject(stub, (_, { storage: { sql } }) =>
      sql.exec('UPDATE usage_keys SET used_at = used_at - ?', 2 * MINUTE),
    )
    await use(now)
    await vi.waitFor(async () => expect(await shown()).toBe(iso(now)), 5_000)
    await env.DB.prepare('update api_keys set last_used_at = ? where id = ?')
      .bind(iso(now + HOUR), id)
      .run()
    await runInDurableObject(stub, (_, { storage: { sql } }) => sql.exec('UPDATE usage_keys SET used_at = 0'))
    await use(now + 1)
    await scheduler.wait(1_500)
    expect(await shown()).toBe(iso(now + HOUR))
  })
})
