import { count, measure } from '../../../data/metrics'
import type { Verdict } from './verdict'

/** Counts an attempt that was made and, where it was the last, how its delivery ended. `timestamp` is the event's. */
export function countAttempt(env: object, { status }: Verdict, timestamp: string, now: number): void {
  count(env, 'webhook_attempts_total', { outcome: status === 'delivered' ? 'succeeded' : 'failed' })
  if (status !== 'pending' && status !== 'held') count(env, 'webhook_deliveries_total', { outcome: status })
  const since = Date.parse(timestamp)
  if (status === 'delivered' && Number.isFinite(since))
    measure(env, 'webhook_delivery_latency_seconds', Math.max(0, now - since) / 1_000)
}
