import { PERIODS } from '../meter/window'
import { HOP_LIMIT_MS } from './courier'
import type { HeldWindow } from './held-window'
import { admitted, refused, type Verdict } from './verdict'

/** So long requests go on at the rate of the last lease (limits.md). */
const LAST_RATE_MS = 30_000

/**
 * The rule while the Meter is silent: for 30 s the rate of the last lease, then the isolate's own number. Strict
 * windows, and those that never had a lease, go by that number at once.
 */
export function decideAlone(windows: HeldWindow[], since: number, now: number): Verdict {
  const silent = Math.max(0, now - since)
  const lacking: { window: HeldWindow; until: number }[] = []
  let alone = false
  for (const window of windows) {
    const byRate = goesByRate(window, silent)
    alone ||= !byRate
    const until = byRate ? freeByRate(window, silent, now) : freeAlone(window, now)
    if (until > now) lacking.push({ window, until })
  }
  const by = alone ? 'alone' : 'last_rate'
  if (lacking.length > 0) return refused(windows, lacking, now, by)
  for (const window of windows) {
    if (goesByRate(window, silent)) window.atLastRate += 1
    else window.aloneWindow.book(window.aloneWindow.bucketAt(now), 1)
    window.unleased.book(window.unleased.bucketAt(now), 1)
  }
  return admitted(windows, now, by)
}

const goesByRate = ({ strict, lastRate }: HeldWindow, silent: number) =>
  !strict && lastRate !== null && silent < LAST_RATE_MS

/** What waited for the silent Meter comes on top: a second's worth, at least one. */
function freeByRate({ lastRate, atLastRate }: HeldWindow, silent: number, now: number): number {
  const rate = (lastRate ?? 0) / 1_000
  const allowed = Math.max(1, rate * (silent + HOP_LIMIT_MS))
  if (atLastRate + 1 <= allowed) return now
  return now + (atLastRate + 1 - allowed) / rate
}

function freeAlone({ aloneWindow, alone, period }: HeldWindow, now: number): number {
  return aloneWindow.availableAt(now, alone, 1) ?? now + PERIODS[period].length
}
