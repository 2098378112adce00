import type { LeaseAnswer, LeaseRequest, Report, Unleased } from '../meter/lease'
import { MAX_LIFE_MS } from '../meter/sizing'
import { type Measured, type Passed, UsageSums } from '../usage/sums'
import { Courier, type Flight, HOP_LIMIT_MS } from './courier'
import type { HeldWindow, Want } from './held-window'
import { HeldWindows } from './held-windows'
import type { Defer, Ports } from './ports'
import { decideAlone } from './silence'
import { admitted, refused, type Verdict } from './verdict'

/** So long after its end a lease that nobody renewed is reported. */
const GRACE_MS = 1_500
/** What was measured is sent again so long after a call that brought no answer, also if no request comes any more. */
const RETRY_MS = 5_000
/** In each round somebody was admitted, so more than these only come where clocks or Meters go mad. */
const MOST_ROUNDS = 50

/** `askedAt` is null where the clock went back since: nothing may be spent any more. */
type Lease = { sequence: number; askedAt: number | null; endsAt: number; phase: number }
type Closed = { sequence: number; askedAt: number | null; spent: Report['spent'] }

/** The isolate's side of one Meter: admits from memory, and asks at most once a lease. */
export class Limiter {
  private readonly windows = new HeldWindows()
  private readonly courier: Courier
  private revision = 0
  private lease: Lease | null = null
  /** The last lease, until the Meter has taken its report. */
  private closed: Closed | null = null
  /** What was admitted in silence, until the Meter has taken it. */
  private unleased: Unleased | null = null
  /** What was measured, until the Meter has taken it. */
  private readonly usage = new UsageSums()
  private lastNow = 0
  private answeredAt = Number.NEGATIVE_INFINITY
  /** The call after which a report was arranged for. */
  private reportedAfter = -1

  constructor(
    /** Unique among all limiters that ever ask this Meter. */
    private readonly id: string,
    private readonly ports: Ports,
  ) {
    this.courier = new Courier(ports, {
      compose: (sequence, now, demanding) => this.compose(sequence, now, demanding),
      receive: (answer, flight) => this.receive(answer, flight),
      missed: ({ defer }) => this.usage.waits && this.arrangeReport(RETRY_MS, defer),
    })
  }

  /** Whether a request passes all windows, each by one. Where a lease is at hand the answer is no promise. */
  admit(wants: readonly Want[], defer: Defer): Verdict | Promise<Verdict> {
    const now = this.tick()
    const windows = this.windows.heed(wants, now)
    if (this.courier.silentSince !== null) this.courier.probe(now, defer)
    const verdict = this.decide(windows, now)
    if (!verdict) return this.wait(windows, defer)
    this.arrangeReport(MAX_LIFE_MS + GRACE_MS, defer)
    return this.counted(verdict)
  }

  /** Makes sure that what changed ten seconds ago is known, for requests that no window counts. */
  refresh(defer: Defer): void | Promise<void> {
    const now = this.tick()
    if (now < this.answeredAt + MAX_LIFE_MS) return
    if (this.courier.silentSince === null) return this.courier.wait(now, defer)
    this.courier.probe(now, defer)
  }

  /** How the windows stand, for what belongs to a request that was counted already. */
  look(wants: readonly Want[]): Verdict {
    return admitted(this.windows.known(wants), this.tick(), 'lease')
  }

  /** The refusal that a request would get, where it is known that it would; it counts nothing. */
  refusal(wants: readonly Want[]): Verdict | null {
    const now = this.tick()
    return this.spent(this.windows.known(wants), now)
  }

  /** Counts an answered request in; the Meter hears of it within ten seconds. */
  measure(request: Measured, defer: Defer): void {
    this.usage.add(request)
    this.arrangeReport(MAX_LIFE_MS + GRACE_MS, defer)
  }

  /** The same for bytes of a stream or socket, whose request was counted in when it was answered. */
  measureBytes(passed: Passed, defer: Defer): void {
    this.usage.addBytes(passed)
    this.arrangeReport(MAX_LIFE_MS + GRACE_MS, defer)
  }

  /** Resolves when the Meter knows of all that was measured until now; false where it does not answer. */
  async settleUsage(defer: Defer): Promise<boolean> {
    // A call that is under way may have left without the last of it.
    for (let call = 0; call < 3 && this.usage.waits; call++) {
      if (this.courier.silentSince !== null) return false
      await this.courier.wait(this.tick(), defer)
    }
    return !this.usage.waits
  }

  /** Requests that this isolate holds of a window and has not spent. */
  unspent(name: string): number {
    return this.windows.get(name)?.tokens ?? 0
  }

  /** Whether what changed ten seconds ago is known. */
  isCurrent(): boolean {
    return this.tick() < this.answeredAt + MAX_LIFE_MS
  }

  /** Whether the Meter does not answer. */
  get isSilent(): boolean {
    return this.courier.silentSince !== null
  }

  private async wait(windows: HeldWindow[], defer: Defer): Promise<Verdict> {
    for (const window of windows) window.waiting += 1
    try {
      for (let round = 0; round < MOST_ROUNDS; round++) {
        await this.courier.wait(this.tick(), defer)
        const verdict = this.decide(windows, this.tick())
        if (verdict) return this.counted(verdict)
      }
      const now = this.tick()
      const lacking = windows.map((window) => ({ window, until: now + HOP_LIMIT_MS }))
      return this.counted(refused(windows, lacking, now, 'lease'))
    } finally {
      for (const window of windows) window.waiting -= 1
    }
  }

  /** The verdict, where it can be told without asking. */
  private decide(windows: HeldWindow[], now: number): Verdict | null {
    const { lease } = this
    const age = lease && lease.askedAt !== null && now < lease.endsAt ? now - lease.askedAt : null
    if (lease && age !== null && haveTokens(windows)) {
      for (const window of windows) window.take(age, lease.phase)
      return admitted(windows, now, 'lease')
    }
    const { silentSince } = this.courier
    if (silentSince !== null) return decideAlone(windows, silentSince, now)
    // Spent until the next bucket leaves. Now and then it is asked all the same, for what changed.
    if (now >= this.answeredAt + MAX_LIFE_MS) return null
    return this.spent(windows, now)
  }

  /** The refusal by windows that are known to be spent. */
  private spent(windows: readonly HeldWindow[], now: number): Verdict | null {
    const spent = windows.filter((window) => window.tokens === 0 && window.isSpent(now))
    if (spent.length === 0) return null
    const lacking = spent.map((window) => ({ window, until: window.freeAt() }))
    return refused(windows, lacking, now, 'lease')
  }

  /** The request for the next call: the lease that is at hand ends with it. */
  private compose(sequence: number, now: number, demanding: boolean): LeaseRequest {
    this.close()
    const demands = demanding ? this.windows.demands(now) : []
    this.unleased ??= this.windows.takeUnleased(sequence, now)
    const { closed } = this
    const report: Report | null = closed && {
      lease: closed.sequence,
      elapsed: closed.askedAt === null ? null : now - closed.askedAt,
      spent: closed.spent,
    }
    const { id: isolate, revision, unleased } = this
    const usage = this.usage.report()
    return { isolate, sequence, revision, demands, report, unleased, ...(usage && { usage }) }
  }

  private receive(answer: LeaseAnswer, flight: Flight): void {
    const now = this.tick()
    const { sequence, startedAt, defer } = flight
    const endsAt = (startedAt ?? now) + answer.life
    const lease: Lease = { sequence, askedAt: startedAt, endsAt, phase: answer.phase }
    this.closed = null
    this.unleased = null
    this.usage.answered()
    this.lease = lease
    // By the asking: what changed while the answer was on its way is not in it.
    this.answeredAt = answer.more ? Number.NEGATIVE_INFINITY : (startedAt ?? Number.NEGATIVE_INFINITY)
    for (const grant of answer.grants) {
      const window = this.windows.get(grant.name)
      window?.receive(grant, answer.life, now)
      // By a timer, not by the clock: a clock that jumps must not open what is not free yet.
      for (const { ms, count } of window ? grant.later : [])
        defer(this.ports.sleep(ms).then(() => this.lease === lease && window?.open(count)))
    }
    this.windows.forget(now)
    this.revision = answer.revision
    if (answer.changes.length > 0) this.ports.learn(answer.changes)
    const lent = answer.grants.length > 0 ? answer.life + GRACE_MS : Number.POSITIVE_INFINITY
    const next = Math.min(lent, this.usageDueIn(now))
    if (next < Number.POSITIVE_INFINITY) this.arrangeReport(next, defer)
  }

  /** When what was measured since the last report must be told: at once, where the Meter was silent for long. */
  private usageDueIn(now: number): number {
    const { since } = this.usage
    if (since === null) return Number.POSITIVE_INFINITY
    return Math.max(0, Math.min(MAX_LIFE_MS + GRACE_MS, since + MAX_LIFE_MS + GRACE_MS - now))
  }

  private close(): void {
    const spent = this.windows.close()
    if (this.lease) this.closed = { sequence: this.lease.sequence, askedAt: this.lease.askedAt, spent }
    this.lease = null
  }

  /** What is left over and what was used reaches the Meter, also if no request comes any more. */
  private arrangeReport(ms: number, defer: Defer): void {
    const { sequence } = this.courier
    if (this.reportedAfter === sequence) return
    this.reportedAfter = sequence
    const send = () => {
      if (this.courier.sequence !== sequence) return
      if (this.isSilent) this.courier.probe(this.tick(), defer)
      else this.courier.send(this.tick(), defer, false)
    }
    defer(this.ports.sleep(ms).then(send))
  }

  /** The time now. Where the clock went back, nothing that it measured is good any more. */
  private tick(): number {
    const now = this.ports.now()
    if (now < this.lastNow) {
      if (this.lease) this.lease.askedAt = null
      if (this.closed) this.closed.askedAt = null
      this.windows.rewind()
      this.answeredAt = Number.NEGATIVE_INFINITY
      this.courier.rewind(now)
    }
    this.lastNow = now
    return now
  }

  private counted(verdict: Verdict): Verdict {
    const { counts } = this.ports
    counts[verdict.admitted ? 'admitted' : 'refused'] += 1
    if (verdict.by !== 'lease') counts[verdict.admitted ? 'admitted_alone' : 'refused_alone'] += 1
    return verdict
  }
}

function haveTokens(windows: readonly HeldWindow[]): boolean {
  for (const window of windows) if (window.tokens <= 0) return false
  return true
}
