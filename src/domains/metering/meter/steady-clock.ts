/** How much later than its isolate reckons a request may arrive before the Meter's own clock is doubted. */
const SLACK_MS = 2_000

/**
 * The Meter's time: the wall clock, but it never goes back, and it does not run ahead of what an isolate has measured
 * since it asked last. A jump makes buckets stay longer, never shorter.
 */
export class SteadyClock {
  constructor(
    private ahead = 0,
    private last = 0,
  ) {}

  /** The time now. `since` is a time of this clock, and the milliseconds an isolate counted from it to now. */
  read(wall: number, since?: { at: number; elapsed: number } | undefined): number {
    let time = wall + this.ahead
    if (since) time = Math.min(time, since.at + since.elapsed + SLACK_MS)
    time = Math.max(time, this.last)
    this.ahead = time - wall
    this.last = time
    return time
  }

  /** For keeping. */
  state(): { ahead: number; last: number } {
    return { ahead: this.ahead, last: this.last }
  }
}
