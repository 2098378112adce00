import type { AttemptLog, Report } from './attempt-log'
import type { DrainPorts, Due } from './drain-ports'
import { LEAST_READ, Reading } from './reading'
import { Signal } from './signal'
import { Stopped, type Turn, Turns } from './turns'
import { stops, Untold } from './untold'

/**
 * Attempts of one endpoint in flight at once, once it has answered: one that hangs holds one connection. Of the six that
 * may wait for an answer in one object, two are left for its storage.
 */
export const IN_FLIGHT = 4

/** A receiver that answers within this will soon be free, so what is next for it is read beforehand. */
const QUICK_MS = 250

/**
 * Makes the attempts of one endpoint, and reports them, until nothing is due. It alone claims: a delivery is busy from
 * its claim until D1 knows the result, so that no read of D1 hands it out twice.
 */
export class Drain<D extends Due> {
  private readonly busy = new Set<string>()
  private readonly untold = new Untold()
  private readonly turns: Turns
  private readonly reading: Reading<D>
  private tookMs = Number.POSITIVE_INFINITY
  /** How many may be in flight: one until the endpoint has answered, and after an attempt that it did not answer. */
  private width = 1
  private recovered = false
  private running = 0
  private woken = false
  /** Goes up where nothing that was claimed may go out any more. */
  private stops = 0
  private againAfterReport = false
  private failure: unknown
  private readonly signal = new Signal()

  constructor(
    private readonly log: AttemptLog,
    private readonly ports: DrainPorts<D>,
    /** When the last attempt before a crash began. */
    lastBegun: number | null = null,
  ) {
    this.turns = new Turns(ports, lastBegun)
    this.reading = new Reading(ports)
  }

  /**
   * There may be new work: a run that is on looks again. `changed` where what was read may be so no longer, or it concerns
   * a delivery whose attempt is under way (a retry by hand), which is then looked at once more when that attempt has ended.
   */
  wake(changed = false): void {
    this.woken = true
    this.againAfterReport ||= changed
    if (changed) {
      this.reading.forget()
      this.stops += 1
    }
    this.signal.give()
  }

  /** Resolves when D1 knows how the last attempt of a delivery ended, where one did; not much later in any case. */
  told(deliveryId: string): Promise<void> {
    return this.untold.told(deliveryId, () => this.signal.give())
  }

  /**
   * Takes up deliveries that were made just now, without reading them; false where it has to look for itself, since others
   * may be due before them.
   */
  hand(deliveries: readonly D[]): boolean {
    const { loading, size } = this.reading
    const behind = this.woken || loading || this.reading.isDue() || size > LEAST_READ
    if (!this.recovered || behind || this.untold.isStopped() || this.failure !== undefined) return false
    this.reading.put(deliveries, this.busy)
    this.signal.give()
    return true
  }

  /**
   * Answers with when the next delivery is due, null where none is; throws where D1 failed: run it again later. `look`
   * where it is to look for what is due.
   */
  async run(look = true): Promise<number | null> {
    this.failure = undefined
    if (!this.recovered) for (const report of this.log.unreported()) this.enlist(report)
    this.woken ||= look || !this.recovered
    this.recovered = true
    for (;;) {
      const looked = this.ports.now()
      this.begin()
      this.reportInBackground()
      if (this.failure !== undefined) throw this.failure
      if (this.mayLoad()) this.loadInBackground()
      else if (this.isIdle()) return this.reading.nextAt
      else await this.change(looked)
    }
  }

  private isIdle(): boolean {
    if (this.running > 0 || this.untold.size > 0 || this.reading.size > 0) return false
    return !this.reading.loading && !this.woken && !this.reading.isDue()
  }

  private mayLoad(): boolean {
    const { loading, size, heldUntil } = this.reading
    if (loading || size >= IN_FLIGHT || !(this.woken || this.reading.isDue())) return false
    if (this.running >= this.width && this.tookMs > QUICK_MS) return false
    return this.ports.now() >= heldUntil && !this.untold.isStopped()
  }

  private loadInBackground(): void {
    this.reading.loading = true
    this.woken = false
    this.reading
      .load(this.busy)
      .then((again) => {
        this.woken ||= again
        this.turns.resume(this.reading.rate)
      })
      .catch((error) => {
        this.failure = error
      })
      .finally(() => {
        this.reading.loading = false
        this.signal.give()
      })
  }

  /** Begins what was read, as far as connections and the endpoint's own rate let. */
  private begin(): void {
    if (this.reading.size === 0) return
    if ((this.reading.isStale() || this.untold.isStopped()) && this.reading.forget()) this.woken = true
    while (this.mayClaim()) {
      const next = this.reading.shift()
      if (!next) return
      this.start(next, this.ports.now())
    }
  }

  private mayClaim(): boolean {
    const { rate } = this.reading
    return rate === null ? this.running < this.width : this.turns.claimAt(rate) <= this.ports.now()
  }

  private claim(): Turn | null {
    const { stops, reading } = this
    const stopped = () => stops !== this.stops
    const of = { stopped, width: () => this.width, taken: () => this.signal.give() }
    return reading.rate === null ? null : this.turns.claim(reading.rate, of)
  }

  private start(delivery: D, now: number): void {
    const begun = this.log.begin(delivery, new Date(now).toISOString())
    const { number } = begun
    const { stops } = this
    const turn = this.claim()
    let began = now
    this.busy.add(delivery.delivery_id)
    this.running += 1
    const go = async () => {
      if (stops !== this.stops) throw new Stopped()
      began = turn === null ? this.ports.now() : await turn.take()
      return began
    }
    this.ports
      .attempt(delivery, begun, go)
      .then(({ attempt, verdict }) => {
        const ended_at = this.ports.now()
        const { response_status, error } = attempt
        this.tookMs = ended_at - began
        this.width = response_status === null || error?.startsWith('timeout') ? 1 : IN_FLIGHT
        this.log.end({ delivery_id: delivery.delivery_id, number }, attempt, ended_at, verdict)
        const { delivery_id, event_id, event_type, retries } = delivery
        const ended = { ended_at, response_status, error, verdict }
        this.enlist({ delivery_id, event_id, event_type, retries, number, ...ended })
      })
      .catch((error) => {
        if (!(error instanceof Stopped)) this.failure = error
        // It did not go out, or how it ended could not be written down: it is made again.
        this.unclaim(delivery.delivery_id, number)
      })
      .finally(() => {
        this.running -= 1
        turn?.free()
        this.signal.give()
      })
  }

  /** It did not go out. */
  private unclaim(delivery_id: string, number: number): void {
    this.log.drop({ delivery_id, number })
    this.busy.delete(delivery_id)
    this.woken = true
  }

  private enlist(report: Report): void {
    this.busy.add(report.delivery_id)
    this.untold.add(report)
    if (stops(report)) this.stops += 1
  }

  private tellAt(): number | null {
    return this.untold.tellAt(this.reading.ordered || this.againAfterReport)
  }

  private reportInBackground(): void {
    const at = this.tellAt()
    if (at === null || at > this.ports.now() || this.failure !== undefined) return
    const reports = this.untold.take(this.ports.now())
    this.ports
      .report(reports)
      .then((more) => this.settle(reports, more))
      .catch((error) => {
        this.failure = error
      })
      .finally(() => {
        this.untold.release()
        this.signal.give()
      })
  }

  private settle(reports: readonly Report[], more: boolean): void {
    this.log.reported(reports)
    this.untold.settle(reports)
    if (this.againAfterReport || more) this.woken = true
    this.againAfterReport = this.againAfterReport && this.running > 0
    for (const { delivery_id, verdict } of reports) {
      this.busy.delete(delivery_id)
      const at = verdict.status === 'pending' ? verdict.next_attempt_at : null
      if (at === null) continue
      // What is being read just now leaves it out, as one that is busy.
      this.woken ||= this.reading.loading
      this.reading.expect(at)
    }
  }

  /**
   * Waits for an attempt's end, a reading's or a report's, a wake, or for a time at which something may go on: one that
   * had not come at `looked`, when it was last looked what there is to do.
   */
  private change(looked: number): Promise<void> {
    const { heldUntil, nextAt, rate, size } = this.reading
    const times = [heldUntil, nextAt, this.tellAt()]
    if (size > 0 && rate !== null) times.push(Math.ceil(this.turns.claimAt(rate)))
    return this.signal.wait(times, looked, this.ports.now())
  }
}
