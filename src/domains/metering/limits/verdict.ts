import type { HeldWindow, WindowState } from './held-window'

export type Verdict = {
  admitted: boolean
  /** How the windows stand, in the order of the wants. */
  windows: WindowState[]
  /** The window that refuses; where several do, the one that takes longest. */
  refusedBy: WindowState | null
  /** How it was decided: by a lease, or while the Meter is silent at the last lease's rate or by the isolate alone. */
  by: 'lease' | 'last_rate' | 'alone'
}

export function admitted(windows: HeldWindow[], now: number, by: Verdict['by']): Verdict {
  return { admitted: true, windows: windows.map((window) => window.state(now)), refusedBy: null, by }
}

/** `until`: when each window of `lacking` can admit again. */
export function refused(
  windows: HeldWindow[],
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
  return { admitted: false, windows: states, refusedBy: states[windows.indexOf(longest.window)] ?? null, by }
}

/** Whole seconds, rounded up and at least one, so that nobody comes back too early. */
export const secondsTo = (time: number, now: number): number => Math.max(1, Math.ceil((time - now) / 1_000))
