import { evictDurableObject, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  countRequest,
  METRICS_SHARDS,
  type MetricsReport,
  measure,
  report,
  shardName,
  watchCounters,
} from '../../src/data/metrics'
import { countFrame } from '../../src/domains/metering/limits/frames'
import { Sums } from '../../src/domains/operations/metrics/sums'
import type { Bindings } from '../../src/env'
import { METRICS, printMetrics, series } from '../../src/lib/metrics'
import { seriesOf, sumOf, Tally } from '../../src/lib/tally'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { makeWorld } from '../world'

// How what an isolate counted comes to the shards, whatever happens on the way.

afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

/** An isolate of its own: what one counts hangs on its bindings. */
const isolate = (overrides: Record<string, unknown> = {}) => ({ ...env, ...overrides }) as unknown as Bindings

/** A counter that no other test touches, over all shards. */
async function totalOf(name: string): Promise<number> {
  const shards = Array.from({ length: METRICS_SHARDS }, (_, n) => env.METRICS.getByName(shardName(n)))
  const totals = await Promise.all(shards.map((shard) => shard.totals()))
  return totals.reduce((sum, { counters }) => sum + (counters[name] ?? 0), 0)
}

const newEndpoint = () => `/test/${crypto.randomUUID()}`
const seriesFor = (endpoint: string, status = 200) =>
  series('api_requests_total', { endpoint, method: 'GET', status_code: `${status}` })

/** Requests of an isolate to one endpoint; nothing that they arrange for is done. */
function answer(to: Bindings, endpoint: string, times: number, status = 200): Promise<unknown>[] {
  const deferred: Promise<unknown>[] = []
  for (let n = 0; n < times; n++)
    countRequest(to, { endpoint, method: 'GET', status, ms: 3 }, (work) => deferred.push(work))
  return deferred
}

/** The shards, where what is sent to them first goes through `add`. */
const through = (add: (sent: MetricsReport, onward: () => Promise<void>) => Promise<void>) => ({
  getByName: (name: string) => ({
    add: (sent: MetricsReport) => add(sent, () => env.METRICS.getByName(name).add(sent)),
  }),
})

const quietly = () => vi.spyOn(console, 'warn').mockImplementation(() => undefined)

describe('isolates', () => {
  it('are summed, all of them', async () => {
    const endpoint = newEndpoint()
    const all = Array.from({ length: 12 }, () => isolate())
    for (const [n, one] of all.entries()) answer(one, endpoint, n + 1)
    await Promise.all(all.map(report))
    expect(await totalOf(seriesFor(endpoint))).toBe(78)
    // What was told is not told again.
    await Promise.all(all.map(report))
    expect(await totalOf(seriesFor(endpoint))).toBe(78)
    answer(all[3] as Bindings, endpoint, 2)
    await Promise.all(all.map(report))
    expect(await totalOf(seriesFor(endpoint))).toBe(80)
  })

  it('are spread over the shards, each always to the same', async () => {
    const told = new Map<string, Set<string>>()
    const METRICS = {
      getByName: (name: string) => ({
        add: async ({ isolate: id }: MetricsReport) =>
          void told.set(id, (told.get(id) ?? new Set()).add(name)),
      }),
    }
    const all = Array.from({ length: 100 }, () => isolate({ METRICS }))
    for (let round = 0; round < 3; round++)
      for (const one of all) {
        answer(one, '/a', 1)
        await report(one)
      }
    expect(told.size).toBe(100)
    expect([...told.values()].every((shards) => shards.size === 1)).toBe(true)
    expect(new Set([...told.values()].flatMap((shards) => [...shards])).size).toBe(METRICS_SHARDS)
  })

  it('lose nothing where a shard starts anew', async () => {
    const endpoint = newEndpoint()
    const one = isolate()
    answer(one, endpoint, 5)
    await report(one)
    for (let n = 0; n < METRICS_SHARDS; n++) await evictDurableObject(env.METRICS.getByName(shardName(n)))
    expect(await totalOf(seriesFor(endpoint))).toBe(5)
    answer(one, endpoint, 2)
    await report(one)
    expect(await totalOf(seriesFor(endpoint))).toBe(7)
  })

  it('have counters told along that are kept elsewhere, by what they rose', async () => {
    const [name, before] = ['meter_silences_total', await totalOf('meter_silences_total')]
    const one = isolate()
    let stands = 4
    watchCounters(one, () => ({ [name]: stands }))
    await report(one)
    await report(one)
    stands = 9
    await report(one)
    expect((await totalOf(name)) - before).toBe(9)
  })
})

describe('a report', () => {
  it('whose answer was lost is sent again, and counts once', async () => {
    quietly()
    const endpoint = newEndpoint()
    const sent: MetricsReport[] = []
    const METRICS = through(async (report, onward) => {
      sent.push(structuredClone(report))
      await onward()
      if (sent.length <= 2) throw new Error('Network connection lost.')
    })
    const one = isolate({ METRICS })
    answer(one, endpoint, 3)
    await report(one)
    // What is counted meanwhile is not mixed into what may have arrived.
    answer(one, endpoint, 4)
    await report(one)
    await report(one)
    expect(sent.map(({ sequence }) => sequence)).toEqual([1, 1, 1, 2])
    expect(sent[2]).toEqual(sent[0])
    expect(await totalOf(seriesFor(endpoint))).toBe(7)
  })

  it('that never arrived is sent again', async () => {
    quietly()
    const endpoint = newEndpoint()
    let away = true
    const METRICS = through(async (_, onward) => {
      if (away) throw new Error('away')
      await onward()
    })
    const one = isolate({ METRICS })
    answer(one, endpoint, 3)
    await report(one)
    expect(await totalOf(seriesFor(endpoint))).toBe(0)
    away = false
    answer(one, endpoint, 1)
    await report(one)
    expect(await totalOf(seriesFor(endpoint))).toBe(4)
  })

  it('that hangs holds up nobody, and is sent again later', { timeout: 20_000 }, async () => {
    quietly()
    const endpoint = newEndpoint()
    const sent: MetricsReport[] = []
    const METRICS = through((report, onward) => {
      sent.push(report)
      return sent.length === 1 ? new Promise(() => {}) : onward()
    })
    const one = isolate({ METRICS })
    answer(one, endpoint, 3)
    const hanging = report(one)
    const started = Date.now()
    await report(one)
    expect(Date.now() - started).toBeLessThan(500)
    expect(sent.length).toBe(1)
    await hanging
    expect(Date.now() - started).toBeLessThan(7_000)
    await report(one)
    expect(await totalOf(seriesFor(endpoint))).toBe(3)
  })

  it('that died with its request is sent by the next', async () => {
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] })
    const sent: number[] = []
    const METRICS = through(async ({ sequence }) => {
      sent.push(sequence)
      if (sent.length === 1) await new Promise(() => {})
    })
    const one = isolate({ METRICS })
    answer(one, '/a', 1)
    // Nothing of its request runs any more, not even its timer.
    void report(one)
    vi.setSystemTime(Date.now() + 5_001)
    await report(one)
    expect(sent).toEqual([1, 1])
  })

  it('is not made of nothing', async () => {
    const sent: MetricsReport[] = []
    const METRICS = through(async (report) => void sent.push(report))
    await report(isolate({ METRICS }))
    expect(sent).toEqual([])
  })
})

describe('when it is told', () => {
  /** Waits of fifteen seconds end with `passed`; answers how many there were. Other tests' timers go on. */
  function waitingFor(passed: Promise<void>): () => number {
    const wait = scheduler.wait.bind(scheduler)
    let times = 0
    vi.spyOn(scheduler, 'wait').mockImplementation((ms, options) => {
      if (ms !== 15_000) return wait(ms, options)
      times += 1
      return passed
    })
    return () => times
  }

  it('is fifteen seconds after the first count, once for all that come until then', async () => {
    const { promise: passed, resolve: pass } = Promise.withResolvers<void>()
    const waits = waitingFor(passed)
    const endpoint = newEndpoint()
    const one = isolate()
    const deferred = answer(one, endpoint, 500)
    expect([deferred.length, waits()]).toEqual([1, 1])
    expect(await totalOf(seriesFor(endpoint))).toBe(0)
    pass()
    await Promise.all(deferred)
    expect(await totalOf(seriesFor(endpoint))).toBe(500)
    // After it, the next count arranges for the next.
    expect([answer(one, endpoint, 3).length, waits()]).toEqual([1, 2])
  })

  it('is so too for frames of a socket, whose isolate may run nothing but chats', async () => {
    const { promise: passed, resolve: pass } = Promise.withResolvers<void>()
    const waits = waitingFor(passed)
    const { tenant, member } = await makeWorld()
    const sent: MetricsReport[] = []
    const METRICS = through(async (report) => void sent.push(report))
    const METERS = { getByName: () => ({ lease: () => Promise.reject(new Error('away')) }) }
    const one = isolate({ METRICS, METERS })
    const deferred: Promise<unknown>[] = []
    const sender = { kind: 'user', id: member.user.id } as const
    await countFrame(one, tenant.id, sender, 'message', (work) => void deferred.push(work))
    expect(waits()).toBe(1)
    pass()
    await vi.waitFor(() => expect(sent).toHaveLength(1))
    expect(sent[0]?.counters).toMatchObject({
      [series('lease_admissions_total', { by: 'silence' })]: 1,
      [series('meter_silences_total')]: 1,
    })
  })

  it('does not depend on the request that was to do it', async () => {
    waitingFor(new Promise(() => {}))
    vi.useFakeTimers({ toFake: ['Date'] })
    const start = Date.now()
    const endpoint = newEndpoint()
    const one = isolate()
    expect(answer(one, endpoint, 1).length).toBe(1)
    vi.setSystemTime(start + 19_999)
    expect(answer(one, endpoint, 1).length).toBe(0)
    // It is gone, and its promise with it: the next tells all, at once.
    vi.setSystemTime(start + 20_001)
    await Promise.all(answer(one, endpoint, 1))
    expect(await totalOf(seriesFor(endpoint))).toBe(3)
  })
})

describe('the page', () => {
  it('is refused whole where a shard does not answer: a sum without it would look like a restart', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const METRICS = {
      getByName: (name: string) => ({
        add: (sent: MetricsReport) => env.METRICS.getByName(name).add(sent),
        totals: () =>
          name === shardName(3) ? Promise.reject(new Error('away')) : env.METRICS.getByName(name).totals(),
      }),
    }
    const answer = await serviceWith({ METRICS })('GET', 'http://localhost:8787/metrics')
    expect(answer.headers.get('Retry-After')).toBe('5')
    await expectError(answer, 'service_unavailable')
  })

  it('has what its own isolate counted until now', async () => {
    const service = serviceWith({})
    // One that nothing else asks for: what other tests' isolates counted may be reported meanwhile.
    const endpoint = 'api_requests_total{endpoint="/api/v1/billing/plans",method="HEAD",status_code="200"}'
    const read = async () => {
      const page = await (await service('GET', 'http://localhost:8787/metrics')).text()
      return Number(
        page
          .split('\n')
          .find((line) => line.startsWith(`${endpoint} `))
          ?.split(' ')[1] ?? 0,
      )
    }
    const before = await read()
    for (let n = 0; n < 3; n++) await service('HEAD', 'http://localhost:8787/api/v1/billing/plans')
    expect(await read()).toBe(before + 3)
  })
})

describe('Analytics Engine', () => {
  it('gets what is reported where it is bound, once', async () => {
    quietly()
    const points: AnalyticsEngineDataPoint[] = []
    const ANALYTICS = { writeDataPoint: (point: AnalyticsEngineDataPoint) => void points.push(point) }
    let failures = 1
    const METRICS = through(async () => {
      if (failures-- > 0) throw new Error('away')
    })
    const one = isolate({ ANALYTICS, METRICS })
    answer(one, '/api/v1/agents/:id', 2)
    answer(one, '/api/v1/agents/:id', 1, 404)
    measure(one, 'webhook_delivery_latency_seconds', 0.2)
    await report(one)
    await report(one)
    const plain = points.map(({ blobs, doubles }) => ({ blobs, doubles }))
    expect(points.every(({ indexes, blobs }) => indexes?.[0] === blobs?.[0])).toBe(true)
    expect(plain).toContainEqual({
      blobs: ['api_requests_total', '/api/v1/agents/:id', 'GET', '200'],
      doubles: [2],
    })
    expect(plain).toContainEqual({ blobs: ['api_errors_total', 'not_found'], doubles: [1] })
    const [latency] = plain.filter(({ blobs }) => blobs?.[0] === 'api_latency_seconds')
    expect(latency?.blobs).toEqual(['api_latency_seconds', '/api/v1/agents/:id'])
    expect(latency?.doubles?.slice(0, 3)).toEqual([3, expect.closeTo(0.009), 3])
    expect(plain.length).toBe(5)
    // What it takes (developers.cloudflare.com/analytics/analytics-engine/limits).
    for (const { doubles, indexes } of points) {
      expect(doubles?.length).toBeLessThanOrEqual(20)
      expect(String(indexes?.[0]).length).toBeLessThanOrEqual(96)
    }
  })

  it('gets no more points than one request may write', async () => {
    const points: unknown[] = []
    const one = isolate({ ANALYTICS: { writeDataPoint: (point: unknown) => void points.push(point) } })
    for (let n = 0; n < 300; n++) answer(one, `/test/analytics/${n % 150}`, 1, 200 + (n % 2))
    await report(one)
    expect(points.length).toBe(250)
  })
})

describe('a shard', () => {
  const told = (isolate: string, sequence: number, counters: Record<string, number>): MetricsReport => ({
    ...{ isolate, sequence, counters },
    histograms: { h: { buckets: [1, 0, 2], sum: 0.5 } },
  })
  /** The sums of a shard that no isolate tells. */
  const inShard = <T>(work: (storage: DurableObjectStorage) => T): Promise<T> =>
    runInDurableObject(env.METRICS.getByName(crypto.randomUUID()), (_, state) => work(state.storage))

  it('adds each report once, whatever comes late or twice, and after a restart', () =>
    inShard((storage) => {
      const sums = new Sums(storage)
      sums.add(told('a', 1, { c: 1 }), 0)
      sums.add(told('a', 1, { c: 1 }), 0)
      sums.add(told('a', 2, { c: 10 }), 0)
      sums.add(told('a', 1, { c: 1 }), 0)
      sums.add(told('b', 1, { c: 100, d: 5 }), 0)
      const after = new Sums(storage)
      after.add(told('a', 2, { c: 10 }), 0)
      after.add(told('b', 1, { c: 100, d: 5 }), 0)
      const expected = { counters: { c: 111, d: 5 }, histograms: { h: { buckets: [3, 0, 6], sum: 1.5 } } }
      expect(sums.read()).toEqual(expected)
      expect(after.read()).toEqual(expected)
    }))

  it('counts nothing that it could not keep', () =>
    inShard((storage) => {
      const sums = new Sums(storage)
      sums.add(told('a', 1, { c: 1 }), 0)
      const failing = vi.spyOn(storage, 'transactionSync').mockImplementation(() => {
        throw new Error('disk full')
      })
      expect(() => sums.add(told('a', 2, { c: 1 }), 0)).toThrow('disk full')
      expect(sums.read().counters).toEqual({ c: 1 })
      failing.mockRestore()
      sums.add(told('a', 2, { c: 1 }), 0)
      expect(sums.read().counters).toEqual({ c: 2 })
    }))

  it('forgets isolates that are gone for two days, no sooner', () =>
    inShard((storage) => {
      const ids = () =>
        storage.sql
          .exec<{ id: string }>('select id from isolates order by id')
          .toArray()
          .map(({ id }) => id)
      const sums = new Sums(storage)
      const hour = 3600_000
      sums.add(told('a', 1, {}), 10 * hour)
      sums.add(told('b', 1, {}), 20 * hour)
      sums.add(told('b', 2, {}), 57 * hour)
      expect(ids()).toEqual(['a', 'b'])
      sums.add(told('b', 3, {}), 59 * hour)
      expect(ids()).toEqual(['b'])
    }))

  it('adds up its gauges, each source as it said last, for a day', () =>
    inShard((storage) => {
      const hour = 3600_000
      const hold = (sums: Sums, source: string, value: number, at: number) =>
        sums.hold({ metric: 'open_streams', source, value }, at)
      const sums = new Sums(storage)
      hold(sums, 'a', 3, hour)
      hold(sums, 'b', 4, hour)
      hold(sums, 'a', 1, 2 * hour)
      expect(sums.gauges(2 * hour)).toEqual({ open_streams: 5 })
      expect(new Sums(storage).gauges(2 * hour)).toEqual({ open_streams: 5 })
      hold(sums, 'a', 0, 3 * hour)
      expect(sums.gauges(3 * hour)).toEqual({ open_streams: 4 })
      expect(sums.gauges(25 * hour - 1)).toEqual({ open_streams: 4 })
      expect(sums.gauges(25 * hour + 1)).toEqual({})
    }))

  it('writes two rows a report', () =>
    inShard((storage) => {
      const sums = new Sums(storage)
      const many = Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`c${n}`, 1]))
      sums.add(told('a', 1, many), 0)
      const exec = vi.spyOn(storage.sql, 'exec')
      sums.add(told('a', 2, many), 1)
      const written = exec.mock.results.map(({ value }) => (value as { rowsWritten: number }).rowsWritten)
      expect(written.reduce((a, b) => a + b, 0)).toBe(2)
    }))

  it('takes so many series and no more, and goes on with those', () =>
    inShard((storage) => {
      const sums = new Sums(storage, 3)
      sums.add(told('a', 1, { c: 1, d: 1, e: 1 }), 0)
      sums.add(told('a', 2, { c: 1, f: 1 }), 0)
      expect(sums.read()).toEqual({ counters: { c: 2, d: 1, e: 1 }, histograms: {} })
    }))
})

describe('the text format', () => {
  it('escapes label values', () => {
    expect(seriesOf('m', { a: 'x"y\\z\n', b: '/:id' })).toBe('m{a="x\\"y\\\\z\\n",b="/:id"}')
    expect(seriesOf('m')).toBe('m')
  })

  it('prints every family once, its samples together', () => {
    const tally = new Tally()
    for (const status_code of ['200', '404', '200'])
      tally.count(series('api_requests_total', { endpoint: '/a', method: 'GET', status_code }))
    const { buckets } = METRICS.api_latency_seconds
    for (const seconds of [0.001, 0.005, 0.0051, 31])
      tally.observe(series('api_latency_seconds', { endpoint: '/a' }), buckets, seconds)
    const page = printMetrics(tally.take(), { outbox_entries: 3 })
    const types = [...page.matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name]) => name)
    expect(types).toEqual(Object.keys(METRICS))
    expect(page).toContain(
      'api_requests_total{endpoint="/a",method="GET",status_code="200"} 2\n' +
        'api_requests_total{endpoint="/a",method="GET",status_code="404"} 1\n# HELP',
    )
    expect(page).toContain('api_latency_seconds_bucket{endpoint="/a",le="0.005"} 2\n')
    expect(page).toContain('api_latency_seconds_bucket{endpoint="/a",le="0.01"} 3\n')
    expect(page).toContain('api_latency_seconds_bucket{endpoint="/a",le="30"} 3\n')
    expect(page).toContain('api_latency_seconds_bucket{endpoint="/a",le="+Inf"} 4\n')
    expect(page).toMatch(/\napi_latency_seconds_sum\{endpoint="\/a"\} 31\.0111\n/)
    expect(page).toContain('api_latency_seconds_count{endpoint="/a"} 4\n')
    expect(page).toContain('\noutbox_entries 3\n')
    expect(page).not.toMatch(/^deliveries_due /m)
    expect(page).toContain('\nmeter_calls_total 0\n')
  })

  it('begins a histogram anew where its bounds were changed', () => {
    const old = { buckets: [5, 5], sum: 9 }
    const fresh = { buckets: [1, 0, 0], sum: 0.1 }
    expect(sumOf(old, fresh)).toEqual(fresh)
    expect(sumOf(fresh, fresh)).toEqual({ buckets: [2, 0, 0], sum: 0.2 })
  })

  it('takes no steps down: counters only rise', () => {
    const tally = new Tally()
    tally.count('c', -3)
    tally.count('c', 0)
    expect(tally.isEmpty).toBe(true)
    tally.count('c', 2)
    expect([tally.isEmpty, tally.take().counters, tally.isEmpty]).toEqual([false, { c: 2 }, true])
  })
})
