import type { Report } from './attempt-log'

/** A result is told at once; successes that follow within this, or so many of them, are told together. */
const TOLD_AFTER_MS = 400
const TOLD_TOGETHER = 64

/** How often, and how long, who asks waits for D1 to be told. */
const LOOKS = 50
const LOOK_MS = 10

/** Whether the endpoint stands otherwise after this: it waits, is stopped, or its circuit changes. */
export const stops = ({ verdict }: Pick<Report, 'verdict'>): boolean =>
  Boolean(verdict.disable ?? verdict.wait_until ?? verdict.circuit)

/** Results of attempts that D1 does not know yet, and when it is to be told of them. */
export class Untold {
  private readonly reports = new Map<string, Report>()
  private telling = false
  private toldAt = 0
  /** Somebody wants to see what came of an attempt. */
  private asked = false

  get size(): number {
    return this.reports.size
  }

  add(report: Report): void {
    this.reports.set(report.delivery_id, report)
  }

  /** An answer that stops the endpoint, or makes it wait, counts from its arrival, not from when D1 knows. */
  isStopped(): boolean {
    for (const report of this.reports.values()) if (stops(report)) return true
    return false
  }

  /** When what has ended is to be told, null where nothing is: where nobody waits for it, not all too often. */
  tellAt(atOnce: boolean): number | null {
    if (this.telling || this.reports.size === 0) return null
    if (atOnce || this.asked || this.reports.size >= TOLD_TOGETHER) return 0
    for (const { verdict } of this.reports.values()) if (verdict.status !== 'delivered') return 0
    return this.isStopped() ? 0 : this.toldAt + TOLD_AFTER_MS
  }

  /** What is told now; what ends meanwhile goes with the next. */
  take(now: number): Report[] {
    this.telling = true
    this.toldAt = now
    this.asked = false
    return [...this.reports.values()]
  }

  /** The telling is over, whatever came of it. */
  release(): void {
    this.telling = false
  }

  /** D1 knows these. */
  settle(reports: readonly Report[]): void {
    for (const { delivery_id } of reports) this.reports.delete(delivery_id)
  }

  /** Resolves when D1 knows how the last attempt of a delivery ended, where one did; not much later in any case. */
  async told(deliveryId: string, signal: () => void): Promise<void> {
    this.asked ||= this.reports.has(deliveryId)
    signal()
    for (let look = 0; look < LOOKS && this.reports.has(deliveryId); look++)
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}
