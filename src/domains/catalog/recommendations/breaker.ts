// Spares a service that is down the requests, and whoever asks it the wait. Its state is this isolate's own.

/** It opens when half of so many calls, one after the other, failed. */
const CALLS = 20
const FAILURES = CALLS / 2
/** So long nothing is asked; then one call finds out. */
const OPEN_MS = 30_000
/** Whoever made that call may be gone without having said what came of it. */
const TRIAL_MS = 15_000

export class CircuitBreaker {
  /** What came of the last calls; true where one failed. */
  #outcomes: boolean[] = []
  /** Until when nothing is asked; null while it is closed. */
  #until: number | null = null

  /** Whether a call may be made now. Half-open, that is one call, until it is known what came of it. */
  admits(now: number): boolean {
    if (this.#until === null) return true
    if (now < this.#until) return false
    this.#until = now + TRIAL_MS
    return true
  }

  succeeded(): void {
    if (this.#until !== null) this.#outcomes = []
    this.#until = null
    this.#add(false)
  }

  failed(now: number): void {
    this.#add(true)
    const tripped = this.#outcomes.length === CALLS && this.#outcomes.filter(Boolean).length >= FAILURES
    if (this.#until !== null || tripped) {
      this.#until = now + OPEN_MS
      this.#outcomes = []
    }
  }

  #add(failed: boolean): void {
    this.#outcomes = [...this.#outcomes, failed].slice(-CALLS)
  }
}
