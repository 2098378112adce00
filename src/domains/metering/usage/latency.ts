// Latencies are counted in buckets that grow by a constant factor, so that a percentile read from them is off by no more
// than a constant part of itself, and counts of many isolates and minutes add up (DDSketch, VLDB 2019).

/** A percentile is at most this part of itself away from the true one, and half a millisecond where it is rounded. */
export const LATENCY_ERROR = 0.05
/** Ten minutes: an answer does not begin later than that. */
export const MOST_LATENCY_MS = 600_000

const GROWTH = (1 + LATENCY_ERROR) / (1 - LATENCY_ERROR)
const LN_GROWTH = Math.log(GROWTH)

/** How many requests fell into which bucket. */
export type Latencies = Record<number, number>

/** Bucket 0 holds what took no measurable time; bucket i what took more than GROWTH^(i-2) ms, up to GROWTH^(i-1). */
export function bucketOf(ms: number): number {
  const quick = QUICK[ms]
  return quick === undefined ? reckon(ms) : quick
}

const reckon = (ms: number): number =>
  ms >= 1 ? 1 + Math.ceil(Math.log(Math.min(ms, MOST_LATENCY_MS)) / LN_GROWTH - 1e-9) : 0

/** Nearly every request takes less than a second, and a look-up less than a logarithm. */
const QUICK = Uint8Array.from({ length: 1_000 }, (_, ms) => reckon(ms))

export const BUCKETS = reckon(MOST_LATENCY_MS) + 1

/** The milliseconds that stand for a bucket: as far from its lower as from its upper end, relatively. */
const msOf = (bucket: number): number =>
  bucket === 0 ? 0 : Math.round((2 * GROWTH ** (bucket - 1)) / (GROWTH + 1))

/** The latency that `share` of the requests did not exceed, in whole milliseconds; null where there were none. */
export function percentile(latencies: Latencies, share: number): number | null {
  // Keys that are whole numbers come in ascending order (ECMA-262, OrdinaryOwnPropertyKeys).
  const counted = Object.entries(latencies)
  const total = counted.reduce((sum, [, count]) => sum + count, 0)
  let left = Math.ceil(total * share)
  for (const [bucket, count] of counted) {
    left -= count
    if (left <= 0 && total > 0) return msOf(Number(bucket))
  }
  return null
}
