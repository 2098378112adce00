import type { Demand, LeaseAnswer, LeaseRequest, Report, Unleased } from '../meter/lease'
import { MAX_LIFE_MS } from '../meter/sizing'
import { Courier, type Flight, HOP_LIMIT_MS } from './courier'
import { HeldWindow, type Want } from './held-window'
import type { Defer, Ports } from './ports'
import { decideAlone } from './silence'
import { admitted, refused, type Verdict } from './verdict'

/** So long after its end a lease that nobody renewed is reported. */
const GRACE_MS = 1_500
/** In each round somebody was admitted, so more than these only come where clocks or Meters go mad. */
const MOST_ROUNDS = 50

/** `askedAt` is null where the clock went back since: nothing may be spent any more. */
type Lease = { sequence: number; askedAt: number | null; endsAt: number; phase: number }
type Closed = { sequence: number; askedAt: number | null; spent: Report['spent'] }

/** The isolate's side of one Meter: admits from memory, and asks at most once a lease. */
export class Limiter {
  private readonly windows = new Map<string, HeldWindow>()
  /** The windows by the list that asked for them: whoever asks has one list for all requests of a kind. */
  private found = new WeakMap<readonly Want[], HeldWindow[]>()
  private readonly courier: Courier
  private revision = 0
  private lease: Lease | null = null
  /** The last lease, until the Meter has taken its report. */
  private closed: Closed | null = null
  /** What was admitted in silence, until the Meter has taken it. */
  private unleased: Unleased | null = null
  private lastNow = 0
  private demandedAt: number | null = null
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
    })
  }

  /** Whether a request passes all windows, each by one. Where a lease is at hand the answer is no promise. */
  admit(wants: readonly Want[], defer: Defer): Verdict | Promise<Verdict> {
    const now = this.tick()
    const windows = this.windowsOf(wants, now)
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
    return admitted(this.found.get(wants) ?? [], this.tick(), 'lease')
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
    const spent = windows.filter((window) => window.tokens === 0 && window.isSpent(now))
    if (spent.length === 0) return null
    const lacking = spent.map((window) => ({ window, until: window.freeAt() }))
    return refused(windows, lacking, now, 'lease')
  }

  /** The request for the next call: the lease that is at hand ends with it. */
  private compose(sequence: number, now: number, demanding: boolean): LeaseRequest {
    this.close()
    const demands = demanding ? this.demands(now) : []
    this.unleased ??= this.takeUnleased(sequence, now)
    const { closed } = this
    const report: Report | null = closed && {
      lease: closed.sequence,
      elapsed: closed.askedAt === null ? null : now - closed.askedAt,
      spent: closed.spent,
    }
    return { isolate: this.id, sequence, revision: this.revision, demands, report, unleased: this.unleased }
  }

  private demands(now: number): Demand[] {
    const elapsed = this.demandedAt === null ? 0 : Math.max(0, now - this.demandedAt)
    this.demandedAt = now
    const active = [...this.windows.values()].filter((window) => window.isActive(now))
    return active.map((window) => window.demand(elapsed))
  }

  private receive(answer: LeaseAnswer, flight: Flight): void {
    const now = this.tick()
    const { sequence, startedAt, defer } = flight
    const endsAt = (startedAt ?? now) + answer.life
    const lease: Lease = { sequence, askedAt: startedAt, endsAt, phase: answer.phase }
    this.closed = null
    this.unleased = null
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
    this.forget(now)
    this.revision = answer.revision
    if (answer.changes.length > 0) this.ports.learn(answer.changes)
    if (answer.grants.length > 0) this.arrangeReport(answer.life + GRACE_MS, defer)
  }

  private close(): void {
    const spent: Report['spent'] = []
    for (const window of this.windows.values()) {
      const spells = window.close()
      if (spells.length > 0) spent.push({ name: window.name, spells })
    }
    if (this.lease) this.closed = { sequence: this.lease.sequence, askedAt: this.lease.askedAt, spent }
    this.lease = null
  }

  /** What is left over and what was used reaches the Meter, also if no request comes any more. */
  private arrangeReport(ms: number, defer: Defer): void {
    const { sequence } = this.courier
    if (this.reportedAfter === sequence) return
    this.reportedAfter = sequence
    const send = () => this.courier.sequence === sequence && this.courier.send(this.tick(), defer, false)
    defer(this.ports.sleep(ms).then(send))
  }

  private takeUnleased(sequence: number, now: number): Unleased | null {
    const spent: Unleased['spent'] = []
    for (const window of this.windows.values()) {
      const spells = window.takeUnleased(now)
      if (spells.length > 0) spent.push({ name: window.name, period: window.period, spells })
    }
    return spent.length > 0 ? { sequence, spent } : null
  }

  private windowsOf(wants: readonly Want[], now: number): HeldWindow[] {
    let found = this.found.get(wants)
    if (!found) {
      found = wants.map((want) => this.windows.get(want.name) ?? this.newWindow(want))
      this.found.set(wants, found)
    }
    for (let i = 0; i < found.length; i++) {
      const want = wants[i]
      if (want) found[i]?.heed(want, now)
    }
    return found
  }

  private newWindow(want: Want): HeldWindow {
    const window = new HeldWindow(want.name, want.period)
    this.windows.set(want.name, window)
    return window
  }

  private forget(now: number): void {
    let forgotten = false
    for (const window of this.windows.values())
      if (window.isForgettable(now)) forgotten = this.windows.delete(window.name)
    if (forgotten) this.found = new WeakMap()
  }

  /** The time now. Where the clock went back, nothing that it measured is good any more. */
  private tick(): number {
    const now = this.ports.now()
    if (now < this.lastNow) {
      if (this.lease) this.lease.askedAt = null
      if (this.closed) this.closed.askedAt = null
      for (const window of this.windows.values()) window.rewind()
      this.answeredAt = Number.NEGATIVE_INFINITY
      this.demandedAt = null
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
