import type { Want } from '../../src/domains/metering/limits/held-window'
import { Limiter } from '../../src/domains/metering/limits/limiter'
import { type LimiterCounts, newCounts } from '../../src/domains/metering/limits/ports'
import type { Verdict } from '../../src/domains/metering/limits/verdict'
import { Grants } from '../../src/domains/metering/meter/grants'
import type { LeaseAnswer, LeaseRequest } from '../../src/domains/metering/meter/lease'
import type { MeterStore, SavedMeter } from '../../src/domains/metering/meter/store'

// Isolates, their network and one Meter in a world with its own clock: every run with the same seed is the same.

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
    for (const window of structuredClone(saved.windows)) kept.set(window.name, window)
    this.saved = { ...structuredClone(saved), windows: [...kept.values()] }
  }
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

type Timer = { at: number; order: number; run: () => void }

/** An isolate: its clock may be wrong, and it may be killed. */
export type Isolate = { limiter: Limiter; ahead: number; killed: boolean; counts: LimiterCounts }

export class Simulation {
  /** The real time; nobody but the tests knows it. */
  now = 1_700_000_000_250
  meterAhead = 0
  /** How the Meter is: it answers, throws, or says nothing. */
  meterIs: 'well' | 'throwing' | 'hanging' = 'well'
  /** Milliseconds one way, in addition to the network's 1 to 15. */
  extraDelay = 0
  readonly store = new MemoryStore()
  readonly isolates: Isolate[] = []
  readonly admittedAt: number[] = []
  readonly refusals: Verdict[] = []
  readonly requests: LeaseRequest[] = []
  private grants: Grants
  private timers: Timer[] = []
  private order = 0
  private readonly random: () => number

  constructor(seed = 1) {
    this.random = randomOf(seed)
    this.grants = new Grants(this.store, this.now)
  }

  get meterCalls(): number {
    return this.requests.length
  }

  get meter(): Grants {
    return this.grants
  }

  addIsolate(ahead = (this.random() - 0.5) * 1e7): Isolate {
    const counts = newCounts()
    const isolate: Isolate = { limiter: undefined as never, ahead: Math.round(ahead), killed: false, counts }
    isolate.limiter = new Limiter(`isolate-${this.isolates.length}`, {
      now: () => this.now + isolate.ahead,
      sleep: (ms) =>
        new Promise<void>((resolve) => this.at(this.now + ms, () => !isolate.killed && resolve())),
      ask: (request) => this.ask(request),
      learn: () => undefined,
      counts,
    })
    this.isolates.push(isolate)
    return isolate
  }

  at(time: number, run: () => void): void {
    const timers = this.timers
    timers.push({ at: Math.max(time, this.now), order: this.order++, run })
    let i = timers.length - 1
    for (let parent = (i - 1) >> 1; i > 0 && this.before(i, parent); parent = (i - 1) >> 1) {
      this.swap(i, parent)
      i = parent
    }
  }

  /** Evenly spaced requests to the isolates by chance, `perMinute` together, from now on. */
  load(perMinute: number, ms: number, wants: readonly Want[], isolates = this.isolates): void {
    const gap = 60_000 / perMinute
    const from = this.now
    for (let i = 0; i * gap < ms; i++) {
      const isolate = isolates[Math.floor(this.random() * isolates.length)]
      const jitter = this.random() * gap
      if (isolate) this.at(Math.floor(from + i * gap + jitter), () => this.request(isolate, wants))
    }
  }

  /** One request; its verdict when it is there. */
  request(isolate: Isolate, wants: readonly Want[]): Verdict | Promise<Verdict> | null {
    if (isolate.killed) return null
    const verdict = isolate.limiter.admit(wants, () => undefined)
    if (!(verdict instanceof Promise)) return this.seen(verdict)
    return verdict.then((settled) => this.seen(settled))
  }

  /** The Meter begins anew with what is on disk. */
  restartMeter(): void {
    this.grants = new Grants(this.store, this.now + this.meterAhead)
  }

  /** Lets time pass. */
  async run(ms: number): Promise<void> {
    const until = this.now + ms
    for (let next = this.timers[0]; next && next.at <= until; next = this.timers[0]) {
      this.now = next.at
      this.pop()
      const before = this.order
      next.run()
      // Whoever waits for something has set a timer, and whoever was waited for was woken by one.
      if (this.order !== before || this.timed) await this.settle()
    }
    this.now = until
    await this.settle()
  }
  private timed = true

  async settle(): Promise<void> {
    for (let i = 0; i < 40; i++) await null
  }

  private seen(verdict: Verdict): Verdict {
    if (verdict.admitted) this.admittedAt.push(this.now)
    else this.refusals.push(verdict)
    return verdict
  }

  private ask(request: LeaseRequest): Promise<LeaseAnswer> {
    const copy = structuredClone(request)
    this.requests.push(copy)
    return new Promise((resolve, reject) => {
      this.at(this.now + this.delay(), () => {
        if (this.meterIs === 'hanging') return
        if (this.meterIs === 'throwing') return reject(new Error('the object was reset'))
        const { fresh, ...decision } = this.grants.lease(copy, Math.round(this.now + this.meterAhead))
        const answer = { ...structuredClone(decision), revision: copy.revision, changes: [], more: false }
        this.at(this.now + this.delay(), () => resolve(answer))
      })
    })
  }

  private delay(): number {
    return Math.round(1 + this.random() * 14 + this.extraDelay)
  }

  private pop(): void {
    const last = this.timers.pop()
    if (!last || this.timers.length === 0) return
    this.timers[0] = last
    for (let i = 0; ; ) {
      const [left, right] = [2 * i + 1, 2 * i + 2]
      let least = i
      if (left < this.timers.length && this.before(left, least)) least = left
      if (right < this.timers.length && this.before(right, least)) least = right
      if (least === i) return
      this.swap(i, least)
      i = least
    }
  }

  private before(i: number, j: number): boolean {
    const [a, b] = [this.timers[i] as Timer, this.timers[j] as Timer]
    return a.at < b.at || (a.at === b.at && a.order < b.order)
  }

  private swap(i: number, j: number): void {
    const [a, b] = [this.timers[i] as Timer, this.timers[j] as Timer]
    this.timers[i] = b
    this.timers[j] = a
  }
}

/** The most that was admitted in any span of `ms`. */
export function mostIn(times: readonly number[], ms: number): number {
  const sorted = [...times].sort((a, b) => a - b)
  let most = 0
  for (let from = 0, to = 0; to < sorted.length; to++) {
    while ((sorted[to] as number) - (sorted[from] as number) >= ms) from++
    most = Math.max(most, to - from + 1)
  }
  return most
}
