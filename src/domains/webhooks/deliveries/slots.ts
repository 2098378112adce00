/** What is left free of each second, so that what takes a moment longer on its way does not make a second too full. */
const MARGIN = 1.004

/** So much that could not begin in time is made up for, a tenth faster than the rate. */
const CREDIT_MS = 1_000
const MAKING_UP = 0.9
/** Within so short a time what is late by a moment is made up for at once. */
const MOMENT_MS = 50

/**
 * When attempts may begin under an endpoint's own rate: at even distances where many wait, and never more than the rate
 * within any second.
 */
export class Slots {
  /** When the next is due by even distances. */
  private next = 0
  /** When the last ones began, as many as the rate at least. */
  private begun: number[] = []

  /** When the next may begin; `now` or earlier: at once. */
  at(rate: number, now: number): number {
    // A clock that goes back must not hold anybody for longer.
    if ((this.begun.at(-1) ?? 0) > now + 1_000) this.begun = []
    const full = this.begun.at(-rate) ?? 0
    const few = Math.ceil((rate * MOMENT_MS) / 1_000)
    const recent = (this.begun.at(-few) ?? 0) + ((few * 1_000) / rate) * MAKING_UP
    return Math.max(Math.min(this.next, now + 1_000), full + 1_000, recent)
  }

  /** One begins now. */
  take(rate: number, now: number): void {
    const even = Math.max(Math.min(this.next, now + 1_000), now - CREDIT_MS)
    this.next = even + (1_000 / rate) * MARGIN
    this.begun.push(now)
    if (this.begun.length > 2 * rate + 100) this.begun = this.begun.slice(-rate)
  }

  /** After a crash, whose last attempt began at `last`: what began before it is unknown, so that second counts as full. */
  resume(rate: number, last: number): void {
    this.begun = Array.from({ length: rate }, () => last)
    this.next = last + (1_000 / rate) * MARGIN
  }
}
