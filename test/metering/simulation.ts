import type { Want } from '../../src/domains/metering/limits/held-window'
import { Limiter } from '../../src/domains/metering/limits/limiter'
import { type LimiterCounts, newCounts } from '../../src/domains/metering/limits/ports'
import type { Verdict } from '../../src/domains/metering/limits/verdict'
import { Grants } from '../../src/domains/metering/meter/grants'
import type { LeaseAnswer, LeaseRequest } from '../../src/domains/metering/meter/lease'
import { type Change, Ledger } from '../../src/domains/metering/meter/ledger'
import type { MeterStore, SavedMeter } from '../../src/domains/metering/meter/store'
import { randomOf, Timeline } from './timeline'

// Isolates, their network and one Meter in a world with its own clock: each run with the same seed is the same.

/** What stays when a Meter restarts. */
export class MemoryStore implements MeterStore {
  writes = 0
  private saved: SavedMeter = { windows: [], leases: [], clock: { ahead: 0, last: 0 } }

  read(): SavedMeter {
    return structuredClone(this.saved)
  }

  write(saved: SavedMeter, gone: string[]): void {
    this.writes += 1
    const kept = new Map(this.saved.windows.map((window) => [window.name, window]))
    for (const name of gone) kept.delete(name)
    for (const window of saved.windows) kept.set(window.name, window)
    this.saved = { ...saved, windows: [...kept.values()] }
  }
}

/** An isolate: its clock may be wrong, it may be killed, and so may the request that it is at. */
export type Isolate = {
  limiter: Limiter
  ahead: number
  killed: boolean
  dying: boolean
  counts: LimiterCounts
  learned: Change[]
}

export class Simulation {
  /** The real time, which only the tests know. */
  now = 1_700_000_000_137
  meterAhead = 0
  meterIs: 'well' | 'throwing' | 'hanging' = 'well'
  /** Milliseconds one way, in addition to the network's 1 to 15. */
  extraDelay = 0
  readonly store = new MemoryStore()
  readonly ledger = new Ledger()
  readonly isolates: Isolate[] = []
  readonly admittedAt: number[] = []
  readonly refusals: { at: number; verdict: Verdict }[] = []
  readonly calls: { at: number; request: LeaseRequest }[] = []
  private grants: Grants
  private stirred = false
  private stopped = false
  private readonly timeline = new Timeline()
  private readonly random: () => number

  constructor(seed = 1, isolates = 1) {
    this.random = randomOf(seed)
    this.grants = new Grants(this.store, this.now)
    for (let i = 0; i < isolates; i++) this.addIsolate()
  }

  get meter(): Grants {
    return this.grants
  }

  /** Isolates' clocks are hours apart. */
  addIsolate(): Isolate {
    const counts = newCounts()
    const learned: Change[] = []
    const ahead = Math.round((this.random() - 0.5) * 1e7)
    const limiter = new Limiter(`isolate-${this.isolates.length}`, {
      now: () => this.now + isolate.ahead,
      sleep: (ms) => this.sleep(isolate, ms),
      ask: (request) => this.ask(isolate, request),
      learn: (changes) => learned.push(...changes),
      counts,
    })
    const isolate: Isolate = { limiter, ahead, killed: false, dying: false, counts, learned }
    this.isolates.push(isolate)
    return isolate
  }

  /** Something that happens `ms` from now. */
  in(ms: number, run: () => void): void {
    this.timeline.add(this.now + ms, run)
  }

  /** Requests at a steady rate, `perMinute` together, each to an isolate by chance and up to a gap late. */
  load(perMinute: number, ms: number, wants: readonly Want[], isolates = this.isolates): void {
    const gap = 60_000 / perMinute
    for (let at = 0; at < ms; at += gap) {
      const isolate = isolates[Math.floor(this.random() * isolates.length)]
      if (isolate) this.in(Math.floor(at + this.random() * gap), () => this.request(isolate, wants))
    }
  }

  /** No more requests come. */
  stop(): void {
    this.stopped = true
  }

  /** One request; its verdict when it is there. */
  async request(isolate: Isolate, wants: readonly Want[]): Promise<Verdict | null> {
    if (isolate.killed || this.stopped) return null
    const verdict = isolate.limiter.admit(wants, () => undefined)
    if (!(verdict instanceof Promise)) return this.seen(verdict)
    this.stirred = true
    return this.seen(await verdict)
  }

  /** A request that its client leaves at once, and all that it began goes with it. */
  requestThatDies(isolate: Isolate, wants: readonly Want[]): void {
    isolate.dying = true
    void isolate.limiter.admit(wants, () => undefined)
    isolate.dying = false
  }

  /** The Meter begins anew with what is on disk. */
  restartMeter(): void {
    this.grants = new Grants(this.store, this.now + this.meterAhead)
  }

  /** Lets time pass. */
  async run(ms: number): Promise<void> {
    const until = this.now + ms
    this.stirred = true
    for (;;) {
      // Before time goes on, all go on who waited for nothing but each other.
      if (this.stirred) await this.settle()
      const next = this.timeline.next(until)
      if (!next) break
      this.now = next.at
      next.run()
    }
    this.now = until
  }

  private async settle(): Promise<void> {
    this.stirred = false
    for (let i = 0; i < 40; i++) await null
  }

  private seen(verdict: Verdict): Verdict {
    if (verdict.admitted) this.admittedAt.push(this.now)
    else this.refusals.push({ at: this.now, verdict })
    return verdict
  }

  private sleep(isolate: Isolate, ms: number): Promise<void> {
    return new Promise((resolve) => this.in(ms, this.unlessGone(isolate, resolve)))
  }

  private ask(isolate: Isolate, request: LeaseRequest): Promise<LeaseAnswer> {
    this.calls.push({ at: this.now, request })
    return new Promise((resolve, reject) => {
      const answer = this.unlessGone(isolate, () => resolve(reply))
      const fail = this.unlessGone(isolate, () => reject(new Error('the object was reset')))
      let reply: LeaseAnswer
      this.in(this.delay(), () => {
        if (this.meterIs === 'hanging') return
        if (this.meterIs === 'throwing') return fail()
        const { fresh: _, ...decision } = this.grants.lease(request, Math.round(this.now + this.meterAhead))
        reply = { ...decision, ...this.ledger.since(request.revision, this.now) }
        this.in(this.delay(), answer)
      })
    })
  }

  /** Makes what wakes somebody up say so. */
  stirring(run: () => void): () => void {
    return () => {
      this.stirred = true
      run()
    }
  }

  private unlessGone(isolate: Isolate, run: () => void): () => void {
    const { dying } = isolate
    return this.stirring(() => dying || isolate.killed || run())
  }

  private delay(): number {
    return Math.round(1 + this.random() * 14 + this.extraDelay)
  }
}

/** The window of the tests. */
export const minuteOf = (limit: number): Want => ({ name: 'minute', period: 'minute', limit, alone: 10 })
