import { MAX_LIFE_MS } from './sizing'
import type { SavedWindow } from './store'
import { type Period, SlidingWindow } from './window'

/** A Meter that restarts counts at most so much of the limit too much (limits.md). */
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

  /** Whether the disk would count too little, were it read now. */
  get uncovered(): boolean {
    return this.stale || this.granted > this.reserve
  }

  /** How many the disk counts too much. */
  get surplus(): number {
    return this.reserve - this.granted + this.released
  }

  /** What to write. Unless `idle`, the reserve grows with the demand, so that few grants need a write. */
  save(idle: boolean): SavedWindow {
    const block = Math.floor(this.limit * BLOCK)
    this.reserve = idle ? 0 : Math.min(block, Math.max(this.granted, 2 * this.reserve))
    this.granted = 0
    this.released = 0
    this.stale = false
    const { name, window } = this
    return { name, period: window.period, buckets: window.entries(), reserve: this.reserve }
  }
}
