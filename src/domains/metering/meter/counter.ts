import { leastLease, MAX_LIFE_MS } from './sizing'
import type { SavedWindow } from './store'
import { type Period, SlidingWindow } from './window'

/** So much of the limit may be granted before the window is written again; limits.md allows twice that. */
const BLOCK = 0.01

/**
 * One window of a Meter and what is on disk of it. There stand the bookings as they were and a reserve, which covers
 * what is granted next; only when it is used up, the window is written again.
 */
export class Counter {
  readonly window: SlidingWindow
  limit = 0
  /** How many more than `granted` the disk counts as granted since it was written. */
  private reserve = 0
  private granted = 0
  private released = 0
  private stale = false

  constructor(
    readonly name: string,
    period: Period,
    saved?: { buckets: SavedWindow['buckets']; reserve: number },
    now = 0,
  ) {
    this.window = new SlidingWindow(period, saved?.buckets)
    if (!saved) return
    // Whatever was granted before the restart is spent before then.
    const last = this.window.bucketAt(now + MAX_LIFE_MS)
    this.window.capAt(last)
    this.window.book(last, saved.reserve)
  }

  /** Books a grant at the end of its lease. */
  grant(bucket: number, count: number): void {
    this.window.book(bucket, count)
    this.granted += count
  }

  /** Moves what was spent from the end of its lease to when it was spent. */
  move(from: number, to: number, count: number): void {
    const moved = this.window.release(from, count)
    this.window.book(to, moved)
    if (to > from && moved > 0) this.stale = true
  }

  /** Books what was admitted without a grant. */
  add(bucket: number, count: number): void {
    this.window.book(bucket, count)
    if (count > 0) this.stale = true
  }

  /** Takes back what a lease left over. */
  release(bucket: number, count: number): void {
    this.released += this.window.release(bucket, count)
  }

  /** Whether to write: the disk would count too little, or too much by more than a restart should cost. */
  isDue(lent: boolean): boolean {
    if (this.stale || this.granted > this.reserve) return true
    const surplus = this.reserve - this.granted + this.released
    return surplus > (lent ? 2 * this.block : leastLease(this.limit))
  }

  /** What to write. While requests are `lent`, the reserve grows with the demand, so that few grants need a write. */
  save(lent: boolean): SavedWindow {
    this.reserve = lent ? Math.min(this.block, Math.max(this.granted, 2 * this.reserve)) : 0
    this.granted = 0
    this.released = 0
    this.stale = false
    const { name, window } = this
    return { name, period: window.period, buckets: window.entries(), reserve: this.reserve }
  }

  private get block(): number {
    return Math.floor(this.limit * BLOCK)
  }
}
