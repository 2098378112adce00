import type { LeaseAnswer, LeaseRequest } from '../meter/lease'
import type { Change } from '../meter/ledger'

/** Lets work go on after the answer (`waitUntil`). */
export type Defer = (work: Promise<unknown>) => void

/** What limiters did in this isolate, for metrics. */
export type LimiterCounts = {
  meter_calls: number
  /** Calls that failed or took longer than a second. */
  meter_silences: number
  admitted: number
  refused: number
  /** Of these, what was decided by the rule for a silent Meter. */
  admitted_alone: number
  refused_alone: number
}

export const newCounts = (): LimiterCounts => ({
  meter_calls: 0,
  meter_silences: 0,
  admitted: 0,
  refused: 0,
  admitted_alone: 0,
  refused_alone: 0,
})

export type Ports = {
  /** Milliseconds since 1970. */
  now: () => number
  sleep: (ms: number) => Promise<unknown>
  /** Asks the Meter; runs within the request that makes the call. */
  ask: (request: LeaseRequest) => Promise<LeaseAnswer>
  /** Is told what changed, before anyone who waited goes on. */
  learn: (changes: Change[]) => void
  counts: LimiterCounts
}
