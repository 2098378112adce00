import type { Demand, Report, Unleased } from '../meter/lease'
import { HeldWindow, type Want } from './held-window'

/** All windows of one Meter as this isolate holds them. */
export class HeldWindows {
  private readonly windows = new Map<string, HeldWindow>()
  /** The windows by the list that asked for them: whoever asks has one list for all requests of a kind. */
  private found = new WeakMap<readonly Want[], HeldWindow[]>()
  private demandedAt: number | null = null

  /** The windows that a request must pass; each takes note of it. */
  heed(wants: readonly Want[], now: number): HeldWindow[] {
    let found = this.found.get(wants)
    if (!found) {
      found = wants.map((want) => this.windows.get(want.name) ?? this.add(want))
      this.found.set(wants, found)
    }
    for (let i = 0; i < found.length; i++) {
      const want = wants[i]
      if (want) found[i]?.heed(want, now)
    }
    return found
  }

  /** The same without a request. */
  known(wants: readonly Want[]): readonly HeldWindow[] {
    return this.found.get(wants) ?? []
  }

  get(name: string): HeldWindow | undefined {
    return this.windows.get(name)
  }

  /** What to ask for, of those that are in use. */
  demands(now: number): Demand[] {
    const elapsed = this.demandedAt === null ? 0 : Math.max(0, now - this.demandedAt)
    this.demandedAt = now
    const active = [...this.windows.values()].filter((window) => window.isActive(now))
    return active.map((window) => window.demand(elapsed))
  }

  /** Ends the lease: what was spent of it. */
  close(): Report['spent'] {
    const spent: Report['spent'] = []
    for (const window of this.windows.values()) {
      const spells = window.close()
      if (spells.length > 0) spent.push({ name: window.name, spells })
    }
    return spent
  }

  /** Takes what was admitted without a lease. */
  takeUnleased(sequence: number, now: number): Unleased | null {
    const spent: Unleased['spent'] = []
    for (const window of this.windows.values()) {
      const spells = window.takeUnleased(now)
      if (spells.length > 0) spent.push({ name: window.name, period: window.period, spells })
    }
    return spent.length > 0 ? { sequence, spent } : null
  }

  /** Forgets windows that no request needed for long. */
  forget(now: number): void {
    let forgotten = false
    for (const window of this.windows.values())
      if (window.isForgettable(now)) forgotten = this.windows.delete(window.name)
    if (forgotten) this.found = new WeakMap()
  }

  /** The clock went back: nothing is known by it any more. */
  rewind(): void {
    this.demandedAt = null
    for (const window of this.windows.values()) window.rewind()
  }

  private add(want: Want): HeldWindow {
    const window = new HeldWindow(want.name, want.period)
    this.windows.set(want.name, window)
    return window
  }
}
