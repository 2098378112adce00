/** Wakes the one who waits for something to change. */
export class Signal {
  private resolve: () => void = () => {}

  /** Something has changed. */
  give(): void {
    this.resolve()
  }

  /** Resolves when something has, or when the first of `times` has come: one that had not come at `looked`. */
  async wait(times: readonly (number | null)[], looked: number, now: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.resolve = resolve
    // Where it is time already, something else holds it back, and says so when it is over.
    const waits = times.flatMap((at) => (at === null || at <= looked ? [] : Math.max(at - now, 0)))
    const timer = waits.length === 0 ? null : setTimeout(resolve, Math.min(...waits))
    await promise
    if (timer !== null) clearTimeout(timer)
  }
}
