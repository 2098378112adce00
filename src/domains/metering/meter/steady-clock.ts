/** A difference up to this is the network's. */
const SLACK_MS = 150

/** A time of the Meter's clock, and the milliseconds that an isolate counted from it to now. */
export type Measured = { at: number; elapsed: number }

/**
 * The Meter's time: the wall clock, but it never goes back, nor ahead of what an isolate measured since it asked last. So
 * a jump makes buckets stay longer, never shorter. What a single slow call took for a jump is undone by the next isolate
 * that measured across it.
 */
export class SteadyClock {
  /** How much more than its isolate the wall clock counted, at the last reading; 0 where that is the network. */
  excess = 0
  /** Whether it differs from what `state` said last by more than the network does. */
  get jumped(): boolean {
    return Math.abs(this.ahead - this.kept) > SLACK_MS
  }

  private kept: number
  private doubt = 0
  private doubtedAt = 0

  constructor(
    private ahead = 0,
    private last = 0,
  ) {
    this.kept = ahead
  }

  read(wall: number, measured?: Measured | undefined): number {
    const before = wall + this.ahead
    const excess = measured ? before - measured.at - measured.elapsed : 0
    const doubted = excess > SLACK_MS
    // Measured since before the doubt, and yet in step with the wall clock: that had not jumped.
    const cleared = !doubted && measured && measured.at < this.doubtedAt && excess + this.doubt <= SLACK_MS
    const time = Math.max(doubted ? before - excess : cleared ? before + this.doubt : before, this.last)
    if (doubted) {
      this.doubt += before - time
      this.doubtedAt = time
    } else if (cleared) this.doubt = 0
    this.excess = doubted ? excess : 0
    this.ahead = time - wall
    this.last = time
    return time
  }

  /** For keeping. */
  state(): { ahead: number; last: number } {
    this.kept = this.ahead
    return { ahead: this.ahead, last: this.last }
  }
}
