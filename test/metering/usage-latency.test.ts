import { describe, expect, it } from 'vitest'
import {
  BUCKETS,
  bucketOf,
  LATENCY_ERROR,
  type Latencies,
  MOST_LATENCY_MS,
  percentile,
} from '../../src/domains/metering/usage/latency'
import { randomOf } from './timeline'

const counted = (values: readonly number[]): Latencies => {
  const latencies: Latencies = {}
  for (const value of values) latencies[bucketOf(value)] = (latencies[bucketOf(value)] ?? 0) + 1
  return latencies
}

/** The nearest-rank percentile of the values themselves. */
const exact = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)] ?? Number.NaN

describe('a percentile read from buckets', () => {
  it('is within the stated error of the true one, whatever the latencies', () => {
    const random = randomOf(7)
    const shapes: Record<string, () => number> = {
      even: () => Math.floor(random() * 1_000),
      quick: () => Math.floor(random() * 12),
      'with a long tail': () => Math.floor(10 ** (random() * 5.7)),
      'of two kinds': () => (random() < 0.94 ? 3 : 20_000 + Math.floor(random() * 1_000)),
    }
    for (const [shape, value] of Object.entries(shapes))
      for (const size of [1, 2, 7, 100, 5_000]) {
        const values = Array.from({ length: size }, value)
        for (const share of [0.5, 0.95, 0.99]) {
          const truth = exact(values, share)
          const read = percentile(counted(values), share) ?? Number.NaN
          expect(Math.abs(read - truth), `p${share} of ${size} ${shape}: ${truth}`).toBeLessThanOrEqual(
            truth * LATENCY_ERROR + 0.5,
          )
        }
      }
  })

  it('holds for every latency by itself', () => {
    for (let ms = 0; ms < 20_000; ms++)
      expect(Math.abs((percentile({ [bucketOf(ms)]: 1 }, 0.5) ?? -1) - ms)).toBeLessThanOrEqual(
        ms * LATENCY_ERROR + 0.5,
      )
  })

  it('is exact for what is quickest, where a few milliseconds make the difference', () => {
    for (let ms = 0; ms <= 8; ms++) expect(percentile({ [bucketOf(ms)]: 3 }, 0.99)).toBe(ms)
  })

  it('is null where there is none', () => expect(percentile({}, 0.5)).toBeNull())

  it('takes whatever a clock may say', () => {
    for (const odd of [-5, 0.4, Number.POSITIVE_INFINITY, MOST_LATENCY_MS * 9]) {
      expect(bucketOf(odd)).toBeGreaterThanOrEqual(0)
      expect(bucketOf(odd)).toBeLessThan(BUCKETS)
    }
    expect(bucketOf(Number.NaN)).toBe(0)
    expect(BUCKETS).toBeLessThan(256)
  })
})
