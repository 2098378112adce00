/**
 * How long each window looks back, and by how much it slides. The minute slides by quarters of a second, where limits.md
 * says a second: a request counts until its whole bucket has left, so by seconds it would count for 61 s, and no more
 * than 98.4 % of the limit could ever be admitted. What leases hold unspent comes off that: 97.4 % are left by
 * limits-accuracy.test.ts where the same page wants 98, and 98 only with a call for nearly every request.
 */
export const PERIODS = {
  /** For what is held instead of refused. */
  second: { length: 1_000, bucket: 25 },
  minute: { length: 60_000, bucket: 250 },
  hour: { length: 3_600_000, bucket: 60_000 },
  day: { length: 86_400_000, bucket: 3_600_000 },
  /** What never comes back: one bucket that never leaves. */
  total: { length: Number.POSITIVE_INFINITY, bucket: Number.MAX_SAFE_INTEGER },
} as const

export type Period = keyof typeof PERIODS

/** At that time, so many: a bucket on its way out, or a part of a lease that opens. */
export type Dated = { at: number; count: number }

/**
 * Counts what was booked in the last minute, hour or day, by buckets. A bucket that the window covers in part counts
 * whole, so in no span of the window's length is more admitted than `used` said. Bookings may lie ahead.
 */
export class SlidingWindow {
  private readonly buckets: Map<number, number>
  private total = 0
  /** The earliest bucket that may be there still. */
  private first = Number.POSITIVE_INFINITY

  constructor(
    readonly period: Period,
    saved: Iterable<readonly [bucket: number, count: number]> = [],
  ) {
    this.buckets = new Map()
    for (const [bucket, count] of saved) this.book(bucket, count)
  }

  /** The bucket that a time lies in. */
  bucketAt(time: number): number {
    return Math.floor(time / PERIODS[this.period].bucket)
  }

  /** When nothing in the bucket can lie within the window any more. */
  leavesAt(bucket: number): number {
    const { length, bucket: width } = PERIODS[this.period]
    return (bucket + 1) * width + length
  }

  book(bucket: number, count: number): void {
    if (count <= 0) return
    this.buckets.set(bucket, (this.buckets.get(bucket) ?? 0) + count)
    this.total += count
    if (bucket < this.first) this.first = bucket
  }

  /** Takes back at most `count` of what is booked there; returns how many that were. */
  release(bucket: number, count: number): number {
    const booked = this.buckets.get(bucket) ?? 0
    const released = Math.max(0, Math.min(booked, count))
    if (released === booked) this.buckets.delete(bucket)
    else this.buckets.set(bucket, booked - released)
    this.total -= released
    return released
  }

  used(now: number): number {
    if (this.leavesAt(this.first) <= now) this.prune(now)
    return this.total
  }

  /** What leaves after `now`, in order. */
  leaving(now: number): Dated[] {
    const found: Dated[] = []
    for (const [bucket, count] of this.buckets) {
      const at = this.leavesAt(bucket)
      if (at > now) found.push({ at, count })
    }
    return found.sort((a, b) => a.at - b.at)
  }

  /** When `count` are available if nothing more is booked; `now` if they are already, null if the limit is too small. */
  availableAt(now: number, limit: number, count: number): number | null {
    let missing = this.used(now) + count - limit
    if (missing <= 0) return now
    for (const leaving of this.leaving(now)) {
      missing -= leaving.count
      if (missing <= 0) return leaving.at
    }
    return null
  }

  clear(): void {
    this.buckets.clear()
    this.total = 0
  }

  get isEmpty(): boolean {
    return this.total === 0
  }

  /** When the next bucket leaves; null in an empty window. */
  nextLeave(now: number): number | null {
    this.used(now)
    return this.buckets.size === 0 ? null : this.leavesAt(Math.min(...this.buckets.keys()))
  }

  /** What is booked, for keeping. */
  entries(): [bucket: number, count: number][] {
    return [...this.buckets]
  }

  /** Brings bookings that lie after `bucket` back to it: a clock that was set back must not make them stay for long. */
  capAt(bucket: number): void {
    for (const [at, count] of [...this.buckets]) {
      if (at > bucket) this.book(bucket, this.release(at, count))
    }
  }

  private prune(now: number): void {
    this.first = Number.POSITIVE_INFINITY
    for (const [bucket, count] of this.buckets) {
      if (this.leavesAt(bucket) <= now) {
        this.buckets.delete(bucket)
        this.total -= count
      } else if (bucket < this.first) this.first = bucket
    }
  }
}
