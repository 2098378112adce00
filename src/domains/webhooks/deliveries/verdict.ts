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
  status: 'delivered' | 'pending' | 'failed' | 'exhausted'
  /** Set where the status is `pending`. */
  next_attempt_at: number | null
  /** The receiver wants no more: it is gone, or asked for it. */
  disable: 'gone' | 'asked' | null
  /** The whole endpoint waits until then. */
  wait_until: number | null
}

/** Judges attempt `number` (1 for the first), ended at `now`. `random` in [0, 1) spreads the next one. */
export function judge(outcome: Outcome, number: number, now: number, random: number): Verdict {
  const { response_status: status, directive } = outcome
  const disable = directive === 'disable' ? 'asked' : status === 410 ? 'gone' : null
  const verdict: Verdict = { status: 'failed', next_attempt_at: null, disable, wait_until: null }
  if (outcome.error === null) return { ...verdict, status: 'delivered' }
  if (disable !== null || directive === 'abort-message') return verdict
  const asked = status === 429 || status === 503 ? retryAfter(outcome.retry_after, now) : null
  const wait = waitAfter(number, random)
  const wait_until = asked === null ? null : now + asked
  if (wait === null) return { ...verdict, status: 'exhausted', wait_until }
  return { ...verdict, status: 'pending', next_attempt_at: Math.max(now + wait, wait_until ?? 0), wait_until }
}

/** An attempt that a crash cut off: whether it arrived is unknown, so it is made again, at once. */
export function interrupted(now: number): Verdict {
  return { status: 'pending', next_attempt_at: now, disable: null, wait_until: null }
}
