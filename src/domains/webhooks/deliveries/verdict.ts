import { retryAfter, waitAfter } from './schedule'

/** What came of one attempt, as the table of webhooks.md reads it. */
export type Outcome = {
  response_status: number | null
  /** Null for a delivery. */
  error: string | null
  /** The answer's `Retry-After` and `webhook-delivery`. */
  retry_after: string | null
  directive: string | null
}

/** What the attempt means for its delivery and its endpoint. Times are milliseconds since 1970. */
export type Verdict = {
  status: 'delivered' | 'pending' | 'held' | 'failed' | 'exhausted'
  /** Set where the status is `pending`; of a probe that failed, before when it is no probe again. */
  next_attempt_at: number | null
  /** The receiver wants no more: it is gone, or asked for it. */
  disable: 'gone' | 'asked' | null
  /** The whole endpoint waits until then. */
  wait_until: number | null
  /** What it does to the endpoint's circuit (health.ts). */
  circuit: 'trip' | 'probe' | 'reset' | null
}

/** Judges attempt `number` (1 for the first), ended at `now`. `random` in [0, 1) spreads the next one. */
export function judge(
  outcome: Outcome,
  number: number,
  now: number,
  random: number,
  schedule: readonly number[] | null = null,
): Verdict {
  const { response_status: status, directive } = outcome
  const disable = directive === 'disable' ? 'asked' : status === 410 ? 'gone' : null
  const verdict: Verdict = {
    ...{ status: 'failed', next_attempt_at: null, disable },
    ...{ wait_until: null, circuit: null },
  }
  if (outcome.error === null) return { ...verdict, status: 'delivered' }
  if (disable !== null || directive === 'abort-message') return verdict
  const asked = status === 429 || status === 503 ? retryAfter(outcome.retry_after, now) : null
  const wait = waitAfter(number, random, schedule)
  const wait_until = asked === null ? null : now + asked
  if (wait === null) return { ...verdict, status: 'exhausted', wait_until }
  const next_attempt_at = Math.max(now + wait, wait_until ?? 0)
  return { ...verdict, status: 'pending', next_attempt_at, wait_until }
}

/** An attempt that a crash cut off: whether it arrived is unknown, so it is made again, at once. */
export function interrupted(now: number): Verdict {
  return { status: 'pending', next_attempt_at: now, disable: null, wait_until: null, circuit: null }
}

/** So long a delivery that failed as a probe lets others be the probe, so that one that always fails blocks nobody. */
const STEPS_BACK_MS = 3600_000

/** The same attempt as a probe: its delivery's own schedule stands still, unless the receiver ended it. */
export function ofProbe(verdict: Verdict, now: number): Verdict {
  if (verdict.status !== 'pending' && verdict.status !== 'exhausted') return verdict
  return { ...verdict, status: 'held', next_attempt_at: now + STEPS_BACK_MS }
}
