import type { Bindings } from '../env'
import type { GaugeName } from '../lib/metrics'
import { METRICS_SHARDS, shardName } from './metrics'

// Gauges that nobody can read in one place: each source says how its own stands, whole, so that a lost word is made good
// by the next, and the shards add them up.

/** How a gauge stands at one source; zero where there is nothing (any more). */
export type GaugeReport = { metric: GaugeName; source: string; value: number }

/** Tells the shard of `source`, a tenant's id, how a gauge stands there. It is kept when this resolves. */
export async function tellGauge(env: Pick<Bindings, 'METRICS'>, report: GaugeReport): Promise<void> {
  // Ids end in random digits.
  const shard = shardName((Number.parseInt(report.source.slice(-4), 16) || 0) % METRICS_SHARDS)
  await env.METRICS.getByName(shard).hold(report)
}
