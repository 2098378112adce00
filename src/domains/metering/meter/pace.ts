import { SlidingWindow } from './window'

/** What may be done now, and after how many milliseconds more may. */
export type Paced = { count: number; wait: number }

/** So much later at most comes who has to wait, so that those who wait do not all come back at once. */
const SPREAD_MS = 40

/**
 * Holds what is too much for a second, instead of refusing it. In memory only: what a restart forgives is a second's
 * worth.
 */
export class Pace {
  private readonly window = new SlidingWindow('second')
  private last = 0

  /** So many of `wanted` may be done at once; `random` is in [0, 1). */
  take(wanted: number, limit: number, wall: number, random: number): Paced {
    // A clock that goes back must not hold anybody for longer.
    if (wall < this.last) this.window.clear()
    this.last = wall
    const count = Math.max(0, Math.min(wanted, limit - this.window.used(wall)))
    this.window.book(this.window.bucketAt(wall), count)
    if (count === wanted) return { count, wait: 0 }
    const next = this.window.availableAt(wall, limit, 1) ?? wall
    return { count, wait: Math.max(1, next - wall) + Math.round(SPREAD_MS * random) }
  }
}
