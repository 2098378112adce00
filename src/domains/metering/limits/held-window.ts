import type { Demand, Grant, Spell } from '../meter/lease'
import { PERIODS, type Period, SlidingWindow } from '../meter/window'
import { secondsTo } from './verdict'

/** A window that a request must pass. */
export type Want = {
  name: string
  period: Period
  limit: number
  /** How many requests of a period this isolate lets pass by itself while the Meter is silent. */
  alone: number
  /** Where an outage must open no door (login, auth): the number above counts from its first moment. */
  strict?: boolean
}

/** How fast the known rate follows: it is that of about the last ten seconds. */
const MEMORY_MS = 10_000

/** A window that was needed this lately is asked for along with others: requests by several keys take turns. */
const ACTIVE_MS = 10_000
/** A window that no request needed for so long is forgotten. */
const FORGET_MS = 60_000

/** One window as this isolate holds it. Times are of the isolate's clock. */
export class HeldWindow {
  limit = 0
  alone = 0
  strict = false
  /** Requests that may be admitted while the lease lives. */
  tokens = 0
  /** Parts of the lease that timers are to open, and when the next is. */
  private pending = 0
  private opensAt = 0
  /** What the Meter had left for others. */
  left = 0
  /** Before this, asking brings nothing. */
  askAt = 0
  resetAt = 0
  /** Requests since the last asking, and those that wait for an answer. */
  seen = 0
  waiting = 0
  /** Requests a second that the last lease was good for; null before the first. */
  lastRate: number | null = null
  /** Requests admitted at that rate since the Meter fell silent. */
  atLastRate = 0
  private seenAt = 0
  private policy: string | null = null
  readonly aloneWindow: SlidingWindow
  /** Requests admitted without a lease, yet to be reported. */
  unleased: SlidingWindow
  private rate: number | null = null
  private spells = new Map<number, Spell>()
  /** The spell that is going on: most requests fall into the bucket of the one before. */
  private spell: Spell | null = null
  private spellBucket = 0

  constructor(
    readonly name: string,
    readonly period: Period,
  ) {
    this.aloneWindow = new SlidingWindow(period)
    this.unleased = new SlidingWindow(period)
  }

  /** Takes over what the caller knows; another limit is asked about at once. */
  heed(want: Want, now: number): this {
    this.seen += 1
    this.seenAt = now
    if (this.limit !== want.limit) {
      // What was lent of another limit goes back with the next asking.
      this.tokens = 0
      this.askAt = 0
      this.policy = null
      this.limit = want.limit
    }
    this.alone = want.alone
    this.strict = want.strict ?? false
    return this
  }

  /** Spends one token, `ms` after the lease was asked; adds up by the Meter's buckets. */
  take(ms: number, phase: number): void {
    this.tokens -= 1
    const bucket = Math.floor((phase + ms) / PERIODS.minute.bucket)
    let { spell } = this
    if (spell === null || bucket !== this.spellBucket) {
      spell = this.spells.get(bucket) ?? { ms, count: 0 }
      this.spells.set(bucket, spell)
      this.spell = spell
      this.spellBucket = bucket
    }
    if (ms > spell.ms) spell.ms = ms
    spell.count += 1
  }

  receive(grant: Grant, life: number, now: number): void {
    this.tokens = grant.count
    this.pending = grant.later.length
    this.opensAt = now + (grant.later[0]?.ms ?? 0)
    this.left = grant.left
    this.askAt = now + grant.next
    this.resetAt = now + grant.reset
    this.atLastRate = 0
    const granted = grant.later.reduce((sum, { count }) => sum + count, grant.count)
    if (granted > 0) this.lastRate = (granted * 1_000) / life
  }

  /** More of the lease may be spent. */
  open(count: number): void {
    this.tokens += count
    this.pending -= 1
  }

  /** Whether asking brings nothing, in a window without tokens. */
  isSpent(now: number): boolean {
    return now < this.askAt
  }

  /** The clock went back: nothing is known by it any more. */
  rewind(): void {
    this.askAt = 0
    this.aloneWindow.clear()
  }

  /** Ends the lease: what was spent of it. */
  close(): Spell[] {
    const spells = [...this.spells.values()]
    this.spells = new Map()
    this.spell = null
    this.tokens = 0
    this.pending = 0
    return spells
  }

  /** What to ask for after `elapsed` milliseconds; begins to count anew. */
  demand(elapsed: number): Demand {
    const { name, period, limit, waiting } = this
    const now = (this.seen * 1_000) / Math.max(1_000, elapsed)
    this.rate = this.rate === null ? now : now + (this.rate - now) * Math.exp(-elapsed / MEMORY_MS)
    this.seen = 0
    return { name, period, limit, rate: now > 2 * this.rate ? now : this.rate, wanted: waiting }
  }

  /** When more can be had, in a window without tokens. */
  freeAt(): number {
    return this.pending > 0 ? Math.min(this.opensAt, this.askAt) : this.askAt
  }

  /** What is left as the isolate knows it. */
  get remaining(): number {
    return Math.min(this.limit, this.left + this.tokens)
  }

  /** For the headers: what is left as the isolate knows it, and the seconds until the next bucket leaves. */
  state(now: number): WindowState {
    const { name, limit, remaining } = this
    const reset = secondsTo(remaining > 0 ? this.resetAt : this.freeAt(), now)
    return {
      name,
      limit,
      period: PERIODS[this.period].length / 1_000,
      remaining,
      reset,
      policy: this.policyText(),
    }
  }

  private policyText(): string {
    const { length } = PERIODS[this.period]
    const width = Number.isFinite(length) ? `;w=${length / 1_000}` : ''
    this.policy ??= `"${publicName(this.name)}";q=${this.limit}${width}`
    return this.policy
  }

  /** Takes what is to be reported: how long ago at least, and how many. */
  takeUnleased(now: number): Spell[] {
    const { bucket } = PERIODS[this.period]
    const entries = this.unleased.entries()
    this.unleased.clear()
    return entries.map(([at, count]) => ({ ms: Math.max(0, now - (at + 1) * bucket), count }))
  }

  isActive(now: number): boolean {
    return this.waiting > 0 || Math.abs(now - this.seenAt) < ACTIVE_MS
  }

  /** Whether no request needed it for long and nothing is left to report. */
  isForgettable(now: number): boolean {
    return this.waiting === 0 && this.unleased.isEmpty && Math.abs(now - this.seenAt) > FORGET_MS
  }
}

/** How a window stands; a total's `period` and, once it is spent, its `reset` are infinite. */
export type WindowState = {
  name: string
  limit: number
  /** Seconds. */
  period: number
  remaining: number
  /** Seconds until more is left; at least one. */
  reset: number
  /** As in the field RateLimit-Policy. */
  policy: string
}

/** What callers are told of a window's name: `api_key_minute` of `api_key_minute:{id}`. */
export function publicName(name: string): string {
  const end = name.indexOf(':')
  return end < 0 ? name : name.slice(0, end)
}
