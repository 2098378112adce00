import { createExecutionContext } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { and, eq } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { app } from '../../src/app'
import { insertKey } from '../../src/domains/identity/api-keys/service'
import { archive } from '../../src/domains/metering/usage/archive'
import { dayBefore } from '../../src/domains/metering/usage/plan'
import { emptyParts, type Stat } from '../../src/domains/metering/usage/stat'
import { usageLogs } from '../../src/domains/metering/usage/table'
import { retainTenant } from '../../src/domains/webhooks/retention/service'
import type { Bindings } from '../../src/env'
import { iso, newId } from '../../src/lib/ids'
import { expectError } from '../http/expect-error'
import { callJson, call as callOnce, makeWorld, type World } from '../world'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const floor = (ms: number, at: number) => Math.floor(at / ms) * ms

type Row = {
  requests: number
  errors: number
  latency_ms: { p50: number | null; p95: number | null; p99: number | null }
  request_size_bytes: number
  response_size_bytes: number
} & Record<string, unknown>

async function usageOf(world: World, query = ''): Promise<Row[]> {
  const answer = await callJson<Row[]>('GET', `/api/v1/usage${query}`, { token: world.viewer.token })
  expect(answer.status).toBe(200)
  return answer.data
}

const sum = (rows: Row[], field: 'requests' | 'errors' | 'request_size_bytes' | 'response_size_bytes') =>
  rows.reduce((total, row) => total + row[field], 0)

/** As clients do: with the answer's body read to its end. */
async function call(...request: Parameters<typeof callOnce>): Promise<Response> {
  const answer = await callOnce(...request)
  await answer.clone().arrayBuffer()
  return answer
}

/** Another isolate: what it remembers hangs on its bindings. */
function isolate(over: Partial<Bindings> = {}) {
  const bindings = { ...(env as unknown as Bindings), ...over }
  const execution = createExecutionContext()
  return {
    call: async (method: string, path: string, token: string) =>
      app.fetch(
        new Request(`http://localhost:8787${path}`, {
          method,
          headers: { Authorization: `Bearer ${token}` },
        }),
        bindings,
        execution,
      ),
  }
}

describe('what was used', () => {
  it('is every request that was sent, the last second among them', async () => {
    const world = await makeWorld()
    const { token } = world.admin
    let [sent, received, uploaded, errors] = [0, 0, 0, 0]
    const send = async (method: string, path: string, body?: unknown) => {
      const answer = await call(method, path, { token, ...(body === undefined ? {} : { body }) })
      sent += 1
      received += (await answer.arrayBuffer()).byteLength
      uploaded += body === undefined ? 0 : new TextEncoder().encode(JSON.stringify(body)).byteLength
      if (answer.status >= 400) errors += 1
      return answer
    }
    for (let i = 0; i < 25; i++) {
      await send('GET', '/api/v1/webhooks/event-types')
      await send('POST', '/api/v1/interactions', { text: `Wie geht’s? ${i}` })
    }
    for (let i = 0; i < 5; i++) await send('GET', `/api/v1/chats/${crypto.randomUUID()}`)
    await send('POST', '/api/v1/agents', { name: '' })
    const rows = await usageOf(world)
    // Two rows where an hour ended in between.
    expect(rows.length).toBeGreaterThan(0)
    expect(rows.length).toBeLessThan(3)
    expect(sum(rows, 'requests')).toBe(sent)
    expect(sum(rows, 'errors')).toBe(errors)
    expect(errors).toBe(6)
    expect(sum(rows, 'response_size_bytes')).toBe(received)
    expect(sum(rows, 'request_size_bytes')).toBe(uploaded)
    for (const { latency_ms, hour } of rows) {
      expect(hour).toMatch(/^\d{4}-\d\d-\d\dT\d\d:00:00\.000Z$/)
      expect(latency_ms.p50).toBeLessThanOrEqual(latency_ms.p95 ?? 0)
      expect(latency_ms.p95).toBeLessThanOrEqual(latency_ms.p99 ?? 0)
    }
    // Asking is a request too, and counted once it is answered.
    expect(sum(await usageOf(world), 'requests')).toBe(sent + 1)
  })

  it('is not what a request says of a body that was refused unread', async () => {
    const world = await makeWorld()
    const announced = String(Number.MAX_SAFE_INTEGER)
    for (let i = 0; i < 3; i++) {
      const headers = { 'Content-Type': 'application/json', 'Content-Length': announced }
      const refused = await call('POST', '/api/v1/interactions', {
        ...{ token: world.admin.token, raw: '{}', headers },
      })
      expect(refused.status).toBe(413)
    }
    const rows = await usageOf(world)
    expect([sum(rows, 'requests'), sum(rows, 'request_size_bytes')]).toEqual([3, 0])
  })

  it('is told apart by endpoint, status, key and time', async () => {
    const world = await makeWorld()
    const other = await insertKey(world.ctx, { name: 'other' }, ['interactions:read'], world.admin.user.id)
    for (let i = 0; i < 3; i++) await call('GET', '/api/v1/interactions', { key: other.key })
    for (let i = 0; i < 2; i++) await call('GET', '/api/v1/interactions/', { key: world.apiKey })
    await call('GET', `/api/v1/interactions/${crypto.randomUUID()}`, { token: world.member.token })
    await call('POST', '/api/v1/interactions', { key: other.key, body: { text: 'no' } })

    const by = async (group: string): Promise<Record<string, unknown>[]> =>
      (await usageOf(world, `?group_by=${group}`)).map(
        ({ latency_ms: _, request_size_bytes: _in, response_size_bytes: _out, ...row }) => row,
      )
    const own = ({ endpoint }: Record<string, unknown>) => String(endpoint).startsWith('/api/v1/interactions')
    expect((await by('endpoint')).filter(own)).toEqual([
      { endpoint: '/api/v1/interactions', method: 'GET', requests: 5, errors: 0 },
      { endpoint: '/api/v1/interactions/:id', method: 'GET', requests: 1, errors: 1 },
      { endpoint: '/api/v1/interactions', method: 'POST', requests: 1, errors: 1 },
    ])
    expect((await by('status')).filter(({ status }) => status !== 200)).toEqual([
      { status: 403, requests: 1, errors: 1 },
      { status: 404, requests: 1, errors: 1 },
    ])
    const keys = await by('api_key')
    expect(keys.find((row) => row.api_key_id === other.id)).toEqual({
      ...{ api_key_id: other.id, principal: 'api_key' },
      ...{ requests: 4, errors: 1 },
    })
    // The requests of the tests themselves are by a user's token.
    expect(keys.find((row) => row.principal === 'user')).toEqual({
      ...{ api_key_id: null, principal: 'user' },
      ...{ requests: 3, errors: 1 },
    })
    const minutes = await usageOf(world, '?group_by=minute')
    expect(sum(minutes, 'requests')).toBe(10)
    for (const { minute } of minutes) expect(minute).toMatch(/:00\.000Z$/)
    const days = await usageOf(world, '?group_by=day')
    expect(sum(days, 'requests')).toBe(11)
    for (const { day } of days) expect(day).toMatch(/T00:00:00\.000Z$/)
  })

  it('is the tenant’s own alone', async () => {
    const [world, stranger] = [await makeWorld(), await makeWorld()]
    for (let i = 0; i < 3; i++) await call('GET', '/api/v1/interactions', { token: world.admin.token })
    expect(await usageOf(stranger)).toEqual([])
    expect(sum(await usageOf(world), 'requests')).toBe(3)
  })

  it('counts what was refused, but for credentials that do not count', async () => {
    const world = await makeWorld()
    await call('GET', '/api/v1/auth/sessions', { key: world.apiKey })
    await call('GET', '/api/v1/interactions', { token: `${world.admin.token}x` })
    await call('GET', '/api/v1/interactions')
    await call('GET', '/health')
    const headers = { 'X-Tenant-ID': crypto.randomUUID() }
    await call('GET', '/api/v1/interactions', { token: world.admin.token, headers })
    const rows = await usageOf(world, '?group_by=status')
    expect(rows.map(({ status, requests }) => [status, requests])).toEqual([[403, 2]])
  })

  it('has the sizes of what is not announced, and nothing for what has no body', async () => {
    const world = await makeWorld()
    const body = new TextEncoder().encode(JSON.stringify({ text: 'in pieces' }))
    const pieces = new ReadableStream({
      start(controller) {
        controller.enqueue(body.slice(0, 5))
        controller.enqueue(body.slice(5))
        controller.close()
      },
    })
    const headers = { 'Content-Type': 'application/json' }
    const made = await call('POST', '/api/v1/interactions', {
      token: world.admin.token,
      headers,
      raw: pieces,
    })
    const { data } = (await made.clone().json()) as { data: { id: string } }
    const size = (await made.arrayBuffer()).byteLength
    const path = `/api/v1/interactions/${data.id}`
    const head = await call('HEAD', path, { token: world.admin.token })
    const gone = await call('DELETE', path, { token: world.admin.token })
    expect([made.status, head.status, gone.status]).toEqual([201, 200, 204])
    const rows = await usageOf(world, '?group_by=endpoint')
    expect(
      rows
        .map(({ method, request_size_bytes, response_size_bytes }) => [
          method,
          request_size_bytes,
          response_size_bytes,
        ])
        .sort(),
    ).toEqual([
      ['DELETE', 0, 0],
      ['HEAD', 0, 0],
      ['POST', body.byteLength, size],
    ])
  })
})

describe.concurrent('several isolates', () => {
  it('tell the Meter within ten seconds of a request, also where no lease is counted', {
    timeout: 20_000,
  }, async () => {
    const world = await makeWorld()
    const [one, two] = [isolate(), isolate()]
    const from = Date.now()
    for (let i = 0; i < 7; i++) await one.call('GET', '/api/v1/interactions', world.admin.token)
    for (let i = 0; i < 5; i++) await two.call('GET', '/api/v1/auth/me', world.admin.token)
    const seen = async () => {
      const rows = await usageOf(world, '?group_by=endpoint')
      return sum(
        rows.filter(({ endpoint }) => endpoint !== '/api/v1/usage'),
        'requests',
      )
    }
    while ((await seen()) < 12 && Date.now() - from < 15_000) await scheduler.wait(1_100)
    const at = Date.now()
    expect(await seen()).toBe(12)
    // The pause between two looks, and the looks themselves.
    expect(at - from).toBeLessThan(10_000 + 1_500)
    await scheduler.wait(2_000)
    expect(await seen()).toBe(12)
  })

  it('whose Meter is away lose nothing, and say that they can’t tell', { timeout: 30_000 }, async () => {
    const world = await makeWorld()
    let away = true
    const METERS = {
      getByName: (name: string) => {
        const stub = env.METERS.getByName(name)
        return new Proxy(stub, {
          get: (target, key) => {
            // A stub is none that can be awaited.
            if (key === 'then') return undefined
            if (away) return () => Promise.reject(new Error('away'))
            const verb = Reflect.get(target, key) as (...args: unknown[]) => unknown
            return (...args: unknown[]) => Reflect.apply(verb, target, args)
          },
        })
      },
    } as unknown as Bindings['METERS']
    const cut = isolate({ METERS })
    for (let i = 0; i < 4; i++)
      expect((await cut.call('GET', '/api/v1/interactions', world.admin.token)).status).toBe(200)
    await expectError(cut.call('GET', '/api/v1/usage', world.admin.token), 'service_unavailable')
    expect(await usageOf(world)).toEqual([])
    away = false
    // Nobody asks any more: it is told all the same.
    const told = async () => {
      const found = await usageOf(world, '?group_by=endpoint')
      return found.some(({ endpoint }) => endpoint === '/api/v1/interactions') ? found : null
    }
    let rows = await told()
    for (let i = 0; i < 15 && !rows; i++, rows = await told()) await scheduler.wait(1_000)
    if (!rows) throw new Error('it was not told')
    expect(rows.find(({ endpoint }) => endpoint === '/api/v1/interactions')?.requests).toBe(4)
    expect(rows.find(({ endpoint, errors }) => endpoint === '/api/v1/usage' && errors > 0)?.errors).toBe(1)
  })
})

it('usage has the bytes of an answer that takes long', { timeout: 30_000 }, async () => {
  const world = await makeWorld()
  // More than is read ahead of who reads it.
  const many = Array.from({ length: 1_200 }, (_, i) => i)
  await env.DB.batch(
    many.map((seq) =>
      env.DB.prepare(
        `insert into audit_log (tenant_id, seq, id, actor_kind, actor_id, action, resource, resource_id, created_at)
         values (?1, ?2, ?3, 'system', 'test', 'test.long', 'test', ?4, ?5)`,
      ).bind(world.tenant.id, 1_000 + seq, newId(Date.now()), 'x'.repeat(200), iso(Date.now())),
    ),
  )
  const answer = await callOnce('GET', '/api/v1/audit/export?action=test.long', { token: world.admin.token })
  const used = async () => {
    const rows = await usageOf(world, '?group_by=endpoint')
    const row = rows.find(({ endpoint }) => endpoint === '/api/v1/audit/export')
    return row && [row.requests, row.response_size_bytes]
  }
  await scheduler.wait(2_200)
  expect(await used()).toEqual([1, 0])
  const { byteLength } = await answer.arrayBuffer()
  await scheduler.wait(20)
  expect(byteLength).toBeGreaterThan(300_000)
  expect(await used()).toEqual([1, byteLength])
})

it('usage that is asked for without a time is of the last 24 hours', () => {
  const at = Date.parse('2026-01-31T10:20:30.400Z')
  expect(iso(dayBefore('hour', at))).toBe('2026-01-30T11:00:00.000Z')
  expect(iso(dayBefore('minute', at))).toBe('2026-01-30T10:21:00.000Z')
  expect(iso(dayBefore('endpoint', at))).toBe('2026-01-30T10:20:30.400Z')
})

describe('failed and slow requests', () => {
  it('are listed newest first, with what is needed to find them in the log', async () => {
    const world = await makeWorld()
    const failed: string[] = []
    for (let i = 0; i < 3; i++) {
      const headers = { 'X-Request-ID': `mine-${i}` }
      await call('GET', `/api/v1/interactions/${crypto.randomUUID()}`, { key: world.apiKey, headers })
      await call('GET', '/api/v1/interactions', { key: world.apiKey })
      failed.push(`mine-${i}`)
      await scheduler.wait(1_050)
    }
    type Noted = { request_id: string; ts: string; api_key_id: string } & Record<string, unknown>
    const list = (query: string) =>
      callJson<Noted[]>('GET', `/api/v1/usage/requests${query}`, { token: world.admin.token })
    const first = await list('?limit=2')
    expect(first.data.map(({ request_id }) => request_id)).toEqual(['mine-2', 'mine-1'])
    const { ts, api_key_id, latency_ms, response_size_bytes, ...noted }: Partial<Noted> = first.data[0] ?? {}
    expect(noted).toEqual({
      ...{ request_id: 'mine-2', method: 'GET', endpoint: '/api/v1/interactions/:id', status: 404 },
      request_size_bytes: 0,
    })
    expect(Math.abs(Date.parse(String(ts)) - Date.now())).toBeLessThan(10_000)
    expect(api_key_id).toMatch(/^[0-9a-f-]{36}$/)
    expect([typeof latency_ms, Number(response_size_bytes) > 100]).toEqual(['number', true])
    const rest = await list(`?limit=2&cursor=${first.meta.next_cursor}`)
    expect(rest.data.map(({ request_id }) => request_id)).toEqual(['mine-0'])
    expect(rest.meta.next_cursor).toBeNull()
  })
})

describe('the past', () => {
  const stat = (requests: number, latency = { 3: requests }): Stat => ({
    ...{ requests, errors: 1, request_size_bytes: 2, response_size_bytes: 3 },
    latency,
  })
  const now = Date.now()
  const day = (ago: number) => floor(DAY, now) - ago * DAY

  /** Hours and days as the Meter's alarm wrote them then. */
  async function withPast(): Promise<World> {
    const world = await makeWorld()
    const hours = [day(100) + 5 * HOUR, day(40), day(40) + HOUR, day(39) + 23 * HOUR, day(8) + 2 * HOUR]
    const days = [day(400), day(100), day(40), day(39), day(8)]
    const parts = (requests: number) => ({
      ...emptyParts(),
      endpoint: { 'GET /a': stat(requests), 'POST /b': stat(1) },
      caller: { user: stat(requests) },
    })
    await archive(world.ctx, [
      ...hours.map((at, i) => ({
        grain: 'hour' as const,
        at,
        totals: { total: stat(i + 1), parts: parts(i + 1) },
      })),
      ...days.map((at, i) => ({
        grain: 'day' as const,
        at,
        totals: { total: stat(10 * (i + 1)), parts: parts(10 * (i + 1)) },
      })),
    ])
    await call('GET', '/api/v1/interactions', { token: world.admin.token })
    return world
  }

  it('is read by hours and days, as far as they go back, with the present at the end', async () => {
    const world = await withPast()
    const from = (ago: number) => `from=${iso(day(ago))}`
    const hours = await usageOf(world, `?group_by=hour&${from(41)}`)
    expect(hours.slice(0, 4).map(({ hour, requests }) => [hour, requests])).toEqual([
      [iso(day(40)), 2],
      [iso(day(40) + HOUR), 3],
      [iso(day(39) + 23 * HOUR), 4],
      [iso(day(8) + 2 * HOUR), 5],
    ])
    expect(hours).toHaveLength(5)
    expect(hours[0]).toMatchObject({ errors: 1, request_size_bytes: 2, response_size_bytes: 3 })
    const days = await usageOf(world, `?group_by=day&${from(500)}`)
    expect(days.slice(0, 5).map(({ day: on, requests }) => [on, requests])).toEqual([
      [iso(day(400)), 10],
      [iso(day(100)), 20],
      [iso(day(40)), 30],
      [iso(day(39)), 40],
      [iso(day(8)), 50],
    ])
    expect(sum(days, 'requests')).toBe(152)
  })

  it('by endpoint takes whole days where it can, hours at their ends, and nothing twice', async () => {
    const world = await withPast()
    const a = async (from: number, to: number) => {
      const rows = await usageOf(world, `?group_by=endpoint&from=${iso(from)}&to=${iso(to)}`)
      return rows.find(({ endpoint }) => endpoint === '/a')?.requests ?? 0
    }
    expect(await a(day(40), day(38))).toBe(30 + 40)
    expect(await a(day(40) + HOUR, day(38))).toBe(3 + 40)
    expect(await a(day(40), day(39) + 23 * HOUR)).toBe(30)
    expect(await a(day(40) + HOUR, day(40) + 2 * HOUR)).toBe(3)
    expect(await a(day(40) + 90 * 60_000, day(40) + 100 * 60_000)).toBe(3)
    // Hours of long ago are gone: there it is whole days.
    expect(await a(day(100) + 7 * HOUR, day(99) + 7 * HOUR)).toBe(20)
    expect(await a(day(500), day(0) + DAY)).toBe(150)
  })

  it('keeps hours for ninety days and days for ever', async () => {
    const world = await withPast()
    await retainTenant(world.ctx)
    const left = async (grain: 'hour' | 'day') =>
      (
        await world.ctx.db
          .select({ at: usageLogs.started_at })
          .from(usageLogs)
          .where(
            and(
              eq(usageLogs.tenant_id, world.tenant.id),
              eq(usageLogs.grain, grain),
              eq(usageLogs.part, 'endpoint'),
              eq(usageLogs.name, 'GET /a'),
            ),
          )
      ).length
    expect([await left('hour'), await left('day')]).toEqual([4, 5])
  })

  it('is searched by the key of the table', async () => {
    const plans = await env.DB.batch<{ detail: string }>(
      [
        "explain query plan select * from usage_logs where tenant_id = ? and grain = 'hour' and part = 'total' and started_at >= ? and started_at < ? order by started_at",
        "explain query plan delete from usage_logs where tenant_id = ? and grain = 'hour' and part = 'total' and started_at < ?",
      ].map((query) => env.DB.prepare(query).bind(...['t', 'a', 'b'].slice(0, query.split('?').length - 1))),
    )
    for (const { results } of plans) {
      const details = results.map(({ detail }) => detail)
      expect(details).toHaveLength(1)
      expect(details[0]).toMatch(
        /^SEARCH usage_logs USING .*\(tenant_id=\? AND grain=\? AND part=\? AND started_at[<>]/,
      )
    }
  })
})

describe('as CSV', () => {
  it('has a line of names and a line for each group', async () => {
    const world = await makeWorld()
    for (let i = 0; i < 2; i++) await call('GET', '/api/v1/interactions', { token: world.admin.token })
    const ask = (query: string, accept: string) =>
      call('GET', `/api/v1/usage${query}`, { token: world.admin.token, headers: { Accept: accept } })
    const answer = await ask('?group_by=endpoint', 'text/csv')
    expect(answer.headers.get('Content-Type')).toMatch(/^text\/csv/)
    expect(answer.headers.get('Content-Disposition')).toBe('attachment; filename="usage-by-endpoint.csv"')
    expect(answer.headers.get('Vary')).toContain('Accept')
    const [head, line, ...rest] = (await answer.text()).split('\r\n')
    const counts = [
      'requests,errors,latency_ms_p50,latency_ms_p95,latency_ms_p99,request_size_bytes,response_size_bytes',
      'runs,prompt_tokens,completion_tokens',
      'time_to_first_token_ms_p50,time_to_first_token_ms_p95,time_to_first_token_ms_p99',
      'duration_ms_p50,duration_ms_p95,duration_ms_p99',
    ].join(',')
    expect(head).toBe(`method,endpoint,${counts}`)
    expect(line).toMatch(/^GET,\/api\/v1\/interactions,2,0,\d+,\d+,\d+,0,\d+,0,0,0,,,,,,$/)
    expect(rest).toEqual([''])
    for (const [query, first] of [
      ['', 'hour'],
      ['?group_by=minute', 'minute'],
      ['?group_by=day', 'day'],
      ['?group_by=status', 'status'],
      ['?group_by=api_key', 'api_key_id,principal'],
    ])
      expect((await (await ask(query ?? '', 'text/csv;q=0.9, */*;q=0.1')).text()).split('\r\n')[0]).toBe(
        `${first},${counts}`,
      )
    for (const accept of ['*/*', 'application/json', 'application/json, text/csv;q=0.5'])
      expect((await ask('', accept)).headers.get('Content-Type')).toMatch(/^application\/json/)
  })
})

describe('what can’t be asked', () => {
  it('is 422 with the field', async () => {
    const { admin } = await makeWorld()
    const now = Date.now()
    for (const [query, fields] of [
      ['group_by=week', ['group_by']],
      ['from=yesterday', ['from']],
      ['from=2026-01-31', ['from']],
      ['to=1700000000', ['to']],
      [`from=${iso(now)}&to=${iso(now - 1)}`, ['from']],
      [`from=${iso(now + HOUR)}`, ['from']],
      [`group_by=minute&from=${iso(now - 8 * DAY)}`, ['from']],
      [`group_by=minute&to=${iso(now - 8 * DAY)}`, ['to']],
      [`group_by=hour&from=${iso(now - 91 * DAY)}`, ['from']],
      ['endpoint=/x', ['endpoint']],
    ] as const) {
      const error = await expectError(
        call('GET', `/api/v1/usage?${query}`, { token: admin.token }),
        'validation_failed',
      )
      expect([query, Object.keys(error.details.fields ?? {})]).toEqual([query, fields])
    }
  })

  it('is taken to the edge', async () => {
    const world = await makeWorld()
    const now = Date.now()
    await usageOf(world, `?group_by=minute&from=${iso(now - 7 * DAY)}`)
    await usageOf(world, `?group_by=hour&from=${iso(now - 90 * DAY)}`)
    await usageOf(world, '?group_by=day&from=1970-01-01T00:00:00Z&to=9999-12-31T23:59:59.999Z')
    await usageOf(world, '?group_by=endpoint&from=0000-01-01T00:00:00Z&to=9999-12-31T23:59:59.999Z')
  })
})
