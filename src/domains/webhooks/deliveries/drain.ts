import type { AttemptLog, Report } from './attempt-log'
import type { Attempt } from './schema'
import type { Verdict } from './verdict'

/** A delivery that is due, as it was read when its attempt is claimed. */
export type Due = {
  delivery_id: string
  event_id: string
  event_type: string
  attempt_count: number
  retries: number
}

/** What is due now, read together with the endpoint as it is now; `next_at` is when the next after these is due. */
export type Work<D extends Due> = { due: D[]; next_at: number | null }

/** The outside of a drain: D1, the network and the clock. */
export type DrainPorts<D extends Due> = {
  now: () => number
  /** At most `limit` due deliveries, none of `except`. */
  load: (except: readonly string[], limit: number) => Promise<Work<D>>
  /** So many of `wanted` attempts may begin now by the tenant's rate; `wait` is how long the others are held. */
  pace: (wanted: number) => Promise<{ count: number; wait: number }>
  attempt: (delivery: D, number: number) => Promise<{ attempt: Attempt; verdict: Verdict }>
  report: (reports: readonly Report[]) => Promise<void>
}

/**
 * Attempts of one endpoint in flight at once. A receiver that hangs holds these and no more; within the six
 * connections that may wait for an answer in one object, two are left for its storage.
 */
export const IN_FLIGHT = 4

/**
 * Makes the attempts of one endpoint, and reports them, until nothing is due. It alone claims: a delivery is busy from
 * its claim until D1 knows the result, so that no read of D1 hands it out twice.
 */
export class Drain<D extends Due> {
  private readonly busy = new Set<string>()
  private readonly unreported = new Map<string, Report>()
  private recovered = false
  private running = 0
  private reporting = false
  private woken = false
  private againAfterReport = false
  private failure: unknown
  private nextAt: number | null = null
  /** Before this the tenant's rate lets no attempt begin. */
  private heldUntil = 0
  private signal: () => void = () => {}

  constructor(
    private readonly log: AttemptLog,
    private readonly ports: DrainPorts<D>,
  ) {}

  /**
   * There may be new work: a run that is on looks again. `busyToo` where it may concern a delivery whose attempt is under
   * way (a retry by hand), which is then looked at once more when that attempt has ended.
   */
  wake(busyToo = false): void {
    this.woken = true
    this.againAfterReport ||= busyToo
    this.signal()
  }

  /** Answers with when the next delivery is due, null where none is; throws where D1 failed: run it again later. */
  async run(): Promise<number | null> {
    this.failure = undefined
    if (!this.recovered) for (const report of this.log.unreported()) this.enlist(report)
    this.recovered = true
    this.woken = true
    for (;;) {
      this.reportInBackground()
      if (this.failure !== undefined) throw this.failure
      if (this.mayClaim()) await this.claim()
      else if (this.running === 0 && this.unreported.size === 0 && !this.woken && !this.isDue())
        return this.nextAt
      else await this.change()
    }
  }

  private isDue(): boolean {
    return this.nextAt !== null && this.nextAt <= this.ports.now()
  }

  private mayClaim(): boolean {
    if (this.running >= IN_FLIGHT || !(this.woken || this.isDue())) return false
    if (this.ports.now() < this.heldUntil) return false
    // An answer that stops the endpoint, or makes it wait, counts from its arrival, not from when D1 knows.
    return ![...this.unreported.values()].some(({ verdict }) => verdict.disable ?? verdict.wait_until)
  }

  private async claim(): Promise<void> {
    this.woken = false
    const free = IN_FLIGHT - this.running
    const work = await this.ports.load([...this.busy], free)
    const wanted = work.due.length
    const { count, wait } = wanted === 0 ? { count: 0, wait: 0 } : await this.ports.pace(wanted)
    for (const delivery of work.due.slice(0, count)) this.start(delivery)
    this.nextAt = work.next_at
    if (count === wanted) return
    this.heldUntil = this.ports.now() + wait
    this.woken = true
  }

  private start(delivery: D): void {
    const number = this.log.begin(delivery, new Date(this.ports.now()).toISOString())
    this.busy.add(delivery.delivery_id)
    this.running += 1
    this.ports
      .attempt(delivery, number)
      .then(({ attempt, verdict }) => {
        const ended_at = this.ports.now()
        const { response_status, error } = attempt
        this.log.end({ delivery_id: delivery.delivery_id, number }, attempt, ended_at, verdict)
        const { delivery_id, event_id, event_type, retries } = delivery
        const subject = { delivery_id, event_id, event_type, retries }
        this.enlist({ ...subject, number, ended_at, response_status, error, verdict })
      })
      .catch((error) => {
        this.failure = error
      })
      .finally(() => {
        this.running -= 1
        this.signal()
      })
  }

  private enlist(report: Report): void {
    this.busy.add(report.delivery_id)
    this.unreported.set(report.delivery_id, report)
  }

  /** One report at a time: what ends meanwhile goes with the next. */
  private reportInBackground(): void {
    if (this.reporting || this.unreported.size === 0 || this.failure !== undefined) return
    this.reporting = true
    const reports = [...this.unreported.values()]
    this.ports
      .report(reports)
      .then(() => this.settle(reports))
      .catch((error) => {
        this.failure = error
      })
      .finally(() => {
        this.reporting = false
        this.signal()
      })
  }

  private settle(reports: readonly Report[]): void {
    this.log.reported(reports)
    if (this.againAfterReport) this.woken = true
    this.againAfterReport = this.againAfterReport && this.running > 0
    for (const { delivery_id, verdict } of reports) {
      this.unreported.delete(delivery_id)
      this.busy.delete(delivery_id)
      const at = verdict.next_attempt_at
      if (at !== null && (this.nextAt === null || at < this.nextAt)) this.nextAt = at
    }
  }

  /** Waits for an attempt's end, a report's, a wake, or the time of the next delivery while a slot is free. */
  private async change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.signal = resolve
    const now = this.ports.now()
    const next = this.woken || this.isDue() ? this.heldUntil : this.nextAt
    // Where it is due already, something else holds it back, and says so when it is over.
    const wait = next === null || next <= now ? null : next - now
    const timer = wait === null || this.running >= IN_FLIGHT ? null : setTimeout(resolve, wait)
    await promise
    if (timer !== null) clearTimeout(timer)
  }
}
