import type { RequestContext } from '../../../data/context'
import { readGauges } from '../../../data/gauges'
import { METRICS_SHARDS, report, shardName, withinLimit } from '../../../data/metrics'
import type { Bindings } from '../../../env'
import { equalInConstantTime } from '../../../lib/crypto'
import { describeError, log } from '../../../lib/log'
import { type GaugeName, printMetrics } from '../../../lib/metrics'
import { problem } from '../../../lib/problem'
import { type Counted, Tally } from '../../../lib/tally'
import { type Backlog, backlog } from '../../webhooks/deliveries/backlog'

/** Nobody waits longer for a part of the page. */
const PATIENCE_MS = 5_000
/** The backlog is asked for at most this often by an isolate: each look costs rows. */
const KEPT_MS = 5_000

type Caller = Pick<RequestContext, 'env' | 'now' | 'requestId'>

/** Refuses whoever may not read the metrics: in development anyone may, elsewhere who has METRICS_TOKEN. */
export function checkReader(
  { settings }: Pick<RequestContext, 'settings'>,
  authorization: string | null,
): void {
  if (settings.development) return
  if (authorization === null) throw problem.unauthorized('credential_required', 'METRICS_TOKEN is needed')
  const token = /^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? ''
  // Where none is set, none is right.
  if (settings.METRICS_TOKEN === '' || !equalInConstantTime(token, settings.METRICS_TOKEN))
    throw problem.unauthorized('invalid_token', 'That is not METRICS_TOKEN')
}

/**
 * What all isolates counted, and how far the service is behind, in Prometheus’ text format. 503 where a shard does not
 * answer: a sum without its part would be taken for a restart, and what it lacked for new when it is back.
 */
export async function metricsPage(caller: Caller): Promise<string> {
  const { env } = caller
  // What this isolate counted so far is on the page too, so that who is alone sees all.
  await report(env)
  const [{ counted, open_streams }, waiting] = await Promise.all([totalsOf(env), backlogOf(caller)])
  return printMetrics(counted, { ...waiting, open_streams })
}

/** What all isolates counted. 503 where a shard does not answer. */
export async function totalsOf(env: Bindings): Promise<{ counted: Counted; open_streams: number }> {
  const tally = new Tally()
  let open_streams = 0
  try {
    const shards = Array.from({ length: METRICS_SHARDS }, (_, n) => env.METRICS.getByName(shardName(n)))
    const parts = await Promise.all(shards.map((shard) => withinLimit(shard.totals(), PATIENCE_MS)))
    for (const { counters, histograms, gauges } of parts) {
      open_streams += gauges.open_streams ?? 0
      for (const [name, value] of Object.entries(counters)) tally.count(name, value)
      for (const [name, value] of Object.entries(histograms)) tally.merge(name, value)
    }
  } catch (cause) {
    throw problem('service_unavailable', 'Not all that was counted can be read', {
      headers: { 'Retry-After': '5' },
      cause,
    })
  }
  return { counted: tally.take(), open_streams }
}

type Waiting = Backlog & Partial<Record<GaugeName, number>>

const kept = new WeakMap<object, { at: number; value: Waiting }>()

/** The backlog, or nothing of it where D1 is away: the rest is needed then more than ever. */
export async function backlogOf({ env, now, requestId }: Caller): Promise<Partial<Waiting>> {
  const last = kept.get(env)
  if (last && Math.abs(now - last.at) < KEPT_MS) return last.value
  try {
    const both = Promise.all([backlog(env, now), readGauges(env, now)])
    const value = Object.assign({}, ...(await withinLimit(both, PATIENCE_MS))) as Waiting
    kept.set(env, { at: now, value })
    return value
  } catch (error) {
    log.error('backlog_unknown', { request_id: requestId, cause: describeError(error) })
    return {}
  }
}
