/** A difference up to this is the network's: few calls take so much longer than the one before. */
const SLACK_MS = 250

/** A time of the Meter's clock, and the milliseconds that an isolate counted from it to now. */
export type Measured = { at: number; elapsed: number }

/**
 * The Meter's time: the wall clock, but it never goes back, nor ahead of what an isolate measured since it asked last. So
 * a jump makes buckets stay longer, never shorter. (A slow call that is taken for a jump does so too, by its slowness.)
 */
export class SteadyClock {
  /** How far the last reading lies ahead of what the isolate measured, for time that was told does not come again. */
  unslowed = 0
  private kept: number

  constructor(
    private ahead = 0,
    private last = 0,
  ) {
    this.kept = ahead
  }

  read(wall: number, measured?: Measured | undefined): number {
    const time = wall + this.ahead
    const excess = measured ? time - measured.at - measured.elapsed : 0
    const slowed = excess > SLACK_MS ? time - excess : time
    this.last = Math.max(slowed, this.last)
    this.unslowed = this.last - slowed
    this.ahead = this.last - wall
    return this.last
  }

  /** Whether it differs from what `state` said last by more than the network does. */
  get jumped(): boolean {
    return Math.abs(this.ahead - this.kept) > SLACK_MS
  }

  /** For keeping. */
  state(): { ahead: number; last: number } {
    this.kept = this.ahead
    return { ahead: this.ahead, last: this.last }
  }
}
