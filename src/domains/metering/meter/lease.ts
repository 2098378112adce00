import type { UsageReport } from '../usage/line'
import type { Change } from './ledger'
import type { Dated, Period } from './window'

// What an isolate and its Meter say to each other. Every time is a duration: their clocks need not agree.

/** What an isolate asks of one window. */
export type Demand = {
  name: string
  period: Period
  limit: number
  /** Requests a second that the isolate saw lately, admitted or not. */
  rate: number
  /** Requests that wait for this very answer. */
  wanted: number
}

/** So many requests after, or before, so many milliseconds. */
export type Spell = { ms: number; count: number }

/** How a lease was spent. */
export type Report = {
  /** The sequence number by which the lease was asked. */
  lease: number
  /** Milliseconds from that asking to this one; null where the isolate's clock went back in between. */
  elapsed: number | null
  /** For each of the Meter's buckets: milliseconds from the asking to the last request in it, and how many. */
  spent: { name: string; spells: Spell[] }[]
}

/** What was admitted without a lease while the Meter was silent. */
export type Unleased = {
  /** The sequence number that carried it first: it was applied if that was. */
  sequence: number
  /** How long ago at least, and how many. */
  spent: { name: string; period: Period; spells: Spell[] }[]
}

export type LeaseRequest = {
  /** One limiter of one isolate; never used again by another. */
  isolate: string
  /** Ascends with each asking; what comes late is not answered any more. */
  sequence: number
  /** The last revision of the changes that the isolate knows. */
  revision: number
  demands: Demand[]
  report: Report | null
  unleased: Unleased | null
  /** What the isolate measured, where it measured anything. */
  usage?: UsageReport
}

/** What one window grants. */
export type Grant = {
  name: string
  limit: number
  /** Requests that may be admitted at once. */
  count: number
  /** Requests that may be admitted so many milliseconds after the answer came: by then a bucket has left. */
  later: Spell[]
  /** What the window has left for others. */
  left: number
  /** Milliseconds until asking again can bring more. */
  next: number
  /** Milliseconds until the oldest bucket leaves. */
  reset: number
}

export type LeaseAnswer = {
  sequence: number
  /** Milliseconds from the asking in which the grants may be spent. */
  life: number
  /** Milliseconds into the Meter's bucket, so that the isolate adds up by the Meter's buckets. */
  phase: number
  grants: Grant[]
  revision: number
  changes: Change[]
  /** Whether there are more changes than one answer holds. */
  more: boolean
}

/** What the Meter remembers of an isolate's last lease. What of it is not reported counts as spent. */
export type Lent = {
  sequence: number
  /** When it was asked and ends, by the Meter's time. */
  at: number
  end: number
  windows: {
    name: string
    granted: number
    /** The parts that open later: at that time of the Meter, so many. */
    promised: Dated[]
    /** Requests a second that its isolate sees. */
    rate: number
  }[]
}
