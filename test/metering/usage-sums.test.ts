import { describe, expect, it } from 'vitest'
import { percentile } from '../../src/domains/metering/usage/latency'
import { type Measured, SLOW_MS, UsageSums } from '../../src/domains/metering/usage/sums'

const MINUTE = 60_000
const START = 1_700_000_040_000

const request = (over: Partial<Measured> = {}): Measured => ({
  at: START,
  caller: 'user',
  method: 'GET',
  endpoint: '/api/v1/chats/:id',
  status: 200,
  latency_ms: 3,
  request_size_bytes: 0,
  response_size_bytes: 100,
  request_id: 'req_1',
  ...over,
})

describe('the sums of an isolate', () => {
  it('put alike requests of one minute into one line', () => {
    const sums = new UsageSums()
    for (let i = 0; i < 50; i++) sums.add(request({ latency_ms: i, at: START + i, request_size_bytes: 2 }))
    const report = sums.report()
    expect(report).toMatchObject({ sequence: 1, samples: [] })
    expect(report?.lines).toHaveLength(1)
    expect(report?.lines[0]).toMatchObject({
      minute: START / MINUTE,
      requests: 50,
      request_size_bytes: 100,
      response_size_bytes: 5_000,
      last_at: START + 49,
    })
    expect(percentile(report?.lines[0]?.latency ?? {}, 0.5)).toBeCloseTo(24, -0.5)
  })

  it('tell apart minute, caller, method, endpoint and status', () => {
    const sums = new UsageSums()
    const kinds: Partial<Measured>[] = [
      {},
      { at: START + MINUTE },
      { caller: 'k1' },
      { method: 'POST' },
      { method: 'PROPFIND' },
      { endpoint: '/api/v1/agents/' },
      { status: 404 },
    ]
    for (const kind of [...kinds, ...kinds]) sums.add(request(kind))
    const lines = sums.report()?.lines ?? []
    // A minute that is come back to has another line, which says the same.
    expect(lines.reduce((sum, line) => sum + line.requests, 0)).toBe(14)
    expect(
      new Set(lines.map(({ latency: _, last_at: _at, requests: _n, ...line }) => JSON.stringify(line))).size,
    ).toBe(7)
    expect(lines.map(({ endpoint }) => endpoint)).toContain('/api/v1/agents')
  })

  it('report again, unchanged, until an answer came; what is measured meanwhile goes with the next', () => {
    const sums = new UsageSums()
    expect([sums.report(), sums.waits]).toEqual([null, false])
    sums.add(request())
    const first = sums.report()
    sums.add(request({ status: 500 }))
    expect(sums.report()).toBe(first)
    expect(first?.lines.map(({ status }) => status)).toEqual([200])
    sums.answered()
    expect(sums.waits).toBe(true)
    const second = sums.report()
    expect(second).toMatchObject({ sequence: 2, lines: [{ status: 500, requests: 1 }] })
    sums.answered()
    expect([sums.report(), sums.waits]).toEqual([null, false])
  })

  it('lose no request while nobody takes them, only its details', () => {
    const sums = new UsageSums(10)
    for (let i = 0; i < 1_000; i++) sums.add(request({ caller: `k${i}`, status: i % 2 === 0 ? 200 : 503 }))
    const lines = sums.report()?.lines ?? []
    expect(lines.length).toBe(12)
    expect(lines.reduce((sum, { requests }) => sum + requests, 0)).toBe(1_000)
    const errors = lines.filter(({ status }) => status === 503)
    expect(errors.reduce((sum, { requests }) => sum + requests, 0)).toBe(500)
  })
})

describe('samples', () => {
  const samplesOf = (requests: Partial<Measured>[]) => {
    const sums = new UsageSums()
    sums.add(request())
    for (const one of requests) sums.add(request(one))
    return sums.report()?.samples ?? []
  }

  it('are of what failed or was slow, with all there is to say', () => {
    expect(samplesOf([{ latency_ms: SLOW_MS - 1 }, { status: 399 }])).toEqual([])
    const failed = { status: 404, at: START + 1, endpoint: '/api/v1/chats/' }
    const slow = { latency_ms: SLOW_MS, at: START + 5_000, request_id: 'req_2' }
    expect(samplesOf([failed, slow])).toEqual([
      { ...request(failed), endpoint: '/api/v1/chats' },
      request(slow),
    ])
  })

  it('are one a second at most', () => {
    const failures = Array.from({ length: 100 }, (_, i) => ({ status: 500, at: START + i * 100 }))
    expect(samplesOf(failures).map(({ at }) => at - START)).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((s) => s * 1_000),
    )
  })

  it('are not all refusals by a limit', () => {
    const refusals = Array.from({ length: 20 }, (_, i) => ({ status: 429, at: START + i * 1_000 }))
    const bug = { status: 500, at: START + 4_500 }
    const statuses = samplesOf([...refusals.slice(0, 5), bug, ...refusals.slice(5)]).map(
      ({ status }) => status,
    )
    expect(statuses).toEqual([429, 500, 429])
  })

  it('come again when the clock went back', () => {
    expect(samplesOf([{ status: 500, at: START + 3_600_000 }, { status: 500 }])).toHaveLength(2)
  })

  it('are not kept without end while nobody takes them', () => {
    const failures = Array.from({ length: 500 }, (_, i) => ({ status: 500, at: START + i * 1_000 }))
    expect(samplesOf(failures)).toHaveLength(100)
  })
})
