import type { Context } from '../../../data/context'
import { getBalance } from '../../billing/service'
import { percentile } from '../../metering/usage/latency'
import { usageTotals } from '../../metering/usage/service'
import type { Stat } from '../../metering/usage/stat'
import { failedAttempts } from '../../webhooks/failures/service'
import { MINUTE_MS } from './clock'
import type { Metric, RuleRow } from './table'

/** What a metric of requests is of those of a window; null where the window has none. */
const OF_REQUESTS: Partial<Record<Metric, (stat: Stat) => number | null>> = {
  requests: ({ requests }) => requests,
  error_rate: ({ requests, errors }) => (requests === 0 ? null : errors / requests),
  latency_p95: ({ latency }) => percentile(latency, 0.95),
}

/** Asks for each window once, however many rules have it; answers by its minutes. */
async function byWindow<T>(
  rules: readonly RuleRow[],
  end: number,
  ask: (spans: { from: number; to: number }[]) => Promise<T[]>,
): Promise<Map<number, T>> {
  const windows = [...new Set(rules.map(({ window_minutes }) => window_minutes))]
  if (windows.length === 0) return new Map()
  const found = await ask(windows.map((minutes) => ({ from: end - minutes * MINUTE_MS, to: end })))
  return new Map(found.map((one, i) => [windows[i] ?? 0, one]))
}

/** What each rule's metric was in its window before `end`, by the rule's id; null where there is none. */
export async function measure(
  ctx: Context,
  rules: readonly RuleRow[],
  end: number,
): Promise<Map<string, number | null>> {
  const ofRequests = rules.filter(({ metric }) => metric in OF_REQUESTS)
  const ofFailures = rules.filter(({ metric }) => metric === 'deliveries_failed')
  const [stats, failures, credit] = await Promise.all([
    byWindow(ofRequests, end, (spans) => usageTotals(ctx, spans)),
    byWindow(ofFailures, end, (spans) => failedAttempts(ctx, spans)),
    rules.some(({ metric }) => metric === 'credit') ? getBalance(ctx) : null,
  ])
  const metricOf = ({ metric, window_minutes }: RuleRow): number | null => {
    if (metric === 'credit') return credit?.balance ?? null
    if (metric === 'deliveries_failed') return failures.get(window_minutes) ?? null
    const stat = stats.get(window_minutes)
    return (stat && OF_REQUESTS[metric]?.(stat)) ?? null
  }
  return new Map(rules.map((rule) => [rule.id, metricOf(rule)]))
}
