import type { HeldWindow, WindowState } from './held-window'

/** What came of a request, and how its windows stand as the isolate knows it when it is asked. */
export class Verdict {
  // Private at run time too: what was decided is all that a verdict shows by itself.
  readonly #held: readonly HeldWindow[]
  readonly #now: number
  readonly #states: readonly WindowState[] | null

  constructor(
    held: readonly HeldWindow[],
    now: number,
    /** How it was decided: by a lease, or while the Meter is silent at the last lease's rate or by the isolate alone. */
    readonly by: 'lease' | 'last_rate' | 'alone',
    readonly admitted: boolean,
    /** The window that refuses; where several do, the one that takes longest. */
    readonly refusedBy: WindowState | null = null,
    states: readonly WindowState[] | null = null,
  ) {
    this.#held = held
    this.#now = now
    this.#states = states
  }

  /** How the windows stand, in the order of the wants. */
  get windows(): readonly WindowState[] {
    return this.#states ?? this.#held.map((window) => window.state(this.#now))
  }

  /** The window that refuses, else the one of which least is left; null where nothing was counted. */
  get binding(): WindowState | null {
    if (this.refusedBy) return this.refusedBy
    let least: HeldWindow | null = null
    for (const window of this.#held) if (!least || window.remaining < least.remaining) least = window
    return least?.state(this.#now) ?? null
  }
}

export function admitted(windows: readonly HeldWindow[], now: number, by: Verdict['by']): Verdict {
  return new Verdict(windows, now, by, true)
}

/** `until`: when each window of `lacking` can admit again. */
export function refused(
  windows: readonly HeldWindow[],
  lacking: { window: HeldWindow; until: number }[],
  now: number,
  by: Verdict['by'],
): Verdict {
  const states = windows.map((window) => {
    const lack = lacking.find((one) => one.window === window)
    return lack
      ? { ...window.state(now), remaining: 0, reset: secondsTo(lack.until, now) }
      : window.state(now)
  })
  const longest = lacking.reduce((a, b) => (b.until > a.until ? b : a))
  return new Verdict(windows, now, by, false, states[windows.indexOf(longest.window)] ?? null, states)
}

/** Whole seconds, rounded up and at least one, so that nobody comes back too early. */
export const secondsTo = (time: number, now: number): number => Math.max(1, Math.ceil((time - now) / 1_000))
