import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { knowRegion } from '../../src/data/objects'
import type { UsageReport } from '../../src/domains/metering/usage/line'
import { StreamUsage } from '../../src/domains/metering/usage/streamed'
import type { Bindings } from '../../src/env'
import { log } from '../../src/lib/log'

const ROUTE = { method: 'GET', endpoint: '/api/v1/chats/:id/ws', status: 101 }

/** What an object tells a Meter of streams, whose calls of those numbers fail. */
function object(failing: number[] = []) {
  const told: { holder: string; report: UsageReport; at: number }[] = []
  const began = Date.now()
  const takeUsage = async (holder: string, report: UsageReport) => {
    told.push({ holder, report: structuredClone(report), at: Date.now() - began })
    if (failing.includes(told.length)) throw new Error('the Meter is away')
  }
  const env = { METERS: { getByName: () => ({ takeUsage }) } } as unknown as Pick<Bindings, 'DB' | 'METERS'>
  knowRegion(env, 'tenant', null)
  return { usage: new StreamUsage(env, 'tenant'), told }
}

const bytes = (report: UsageReport) =>
  report.lines.map(({ caller, requests, request_size_bytes, response_size_bytes }) => [
    ...[caller, requests, request_size_bytes, response_size_bytes],
  ])

/** By then others' single timers, which began while the clock was this test's, are gone too. */
async function expectNoTimer() {
  await vi.advanceTimersByTimeAsync(60_000)
  expect(vi.getTimerCount()).toBe(0)
}

beforeAll(() => log.setLevel('silent'))
beforeEach(() => void vi.useFakeTimers({ now: 1_800_000_000_000 }))
afterEach(() => void vi.useRealTimers())

describe('the bytes of the streams of an object', () => {
  it('are told a second after the last of them, and then no timer keeps it awake', async () => {
    const { usage, told } = object()
    const user = usage.of({ kind: 'user', id: 'u1', ...ROUTE })
    const key = usage.of({ kind: 'api_key', id: 'k1', ...ROUTE })
    user(100)
    key(7)
    user(0, 20)
    await vi.advanceTimersByTimeAsync(900)
    user(3)
    expect(told).toEqual([])
    await vi.advanceTimersByTimeAsync(1_200)
    expect(told.map(({ report }) => bytes(report))).toEqual([
      [
        ['user', 0, 20, 103],
        ['k1', 0, 0, 7],
      ],
    ])
    await expectNoTimer()
    expect(told).toHaveLength(1)
  })

  it('are told within ten seconds while there are always more, and not for each', async () => {
    const { usage, told } = object()
    const count = usage.of({ kind: 'user', id: 'u1', ...ROUTE })
    for (let i = 0; i < 300; i++) {
      count(1)
      await vi.advanceTimersByTimeAsync(100)
    }
    const gaps = told.map(({ at }, i) => at - (told[i - 1]?.at ?? 0))
    expect(Math.max(...gaps)).toBeLessThanOrEqual(10_000)
    expect(told.length).toBeLessThanOrEqual(4)
    await vi.advanceTimersByTimeAsync(3_000)
    expect(
      told.flatMap(({ report }) => bytes(report)).reduce((sum, [, , , sent]) => sum + Number(sent), 0),
    ).toBe(300)
    expect(told.map(({ report }) => report.sequence)).toEqual(told.map((_, i) => i + 1))
  })

  it('are told again under the same number until the Meter has them; what comes meanwhile goes next', async () => {
    const { usage, told } = object([1, 2])
    const count = usage.of({ kind: 'user', id: 'u1', ...ROUTE })
    count(10)
    await vi.advanceTimersByTimeAsync(1_500)
    count(5)
    await vi.advanceTimersByTimeAsync(20_000)
    expect(told.map(({ report }) => [report.sequence, bytes(report)[0]?.[3]])).toEqual([
      [1, 10],
      [1, 10],
      [1, 10],
      [2, 5],
    ])
    expect(new Set(told.map(({ holder }) => holder)).size).toBe(1)
    await expectNoTimer()
  })
})
