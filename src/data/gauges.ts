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

/** How gauges stand that whoever keeps them can read in one place. */
export type GaugeSource = (env: Bindings, now: number) => Promise<Partial<Record<GaugeName, number>>>

const sources: GaugeSource[] = []

/** Has gauges read for the page of metrics. */
export function onGauges(source: GaugeSource): void {
  sources.push(source)
}

/** All of them as they stand now. */
export async function readGauges(env: Bindings, now: number): Promise<Partial<Record<GaugeName, number>>> {
  const all = await Promise.all(sources.map((source) => source(env, now)))
  return Object.assign({}, ...all)
}
