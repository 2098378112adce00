import type { Bindings } from '../env'
import { describeError, log } from '../lib/log'
import { type CATEGORIES, type CounterName, type HistogramName, METRICS, series } from '../lib/metrics'
import { type Counted, emptyHistogram, type Histogram, type Labels, observe, Tally } from '../lib/tally'

// Every isolate counts in memory and tells a shard now and then; the shards know the totals. What was told may be told
// again, by its number, and counts once; what an isolate had not told when it was killed is lost.

/** What an isolate counted since its last report. */
export type MetricsReport = Counted & { isolate: string; sequence: number }

type Defer = (work: Promise<unknown>) => void

/** Reports of isolates are spread over so many objects. */
export const METRICS_SHARDS = 8
/** An isolate reports at most this often, and what it counted at most so late. */
const REPORT_EVERY_MS = 15_000
/** Who arranged for a report that has not begun by then is gone. */
const GONE_AFTER_MS = REPORT_EVERY_MS + 5_000
/** Nobody waits longer for a shard. */
const PATIENCE_MS = 5_000
/** Analytics Engine takes no more of one request (developers.cloudflare.com/analytics/analytics-engine/limits). */
const MOST_POINTS = 250
/** A report that could not be told for a day is given up: its shard may have forgotten the isolate. */
const GIVE_UP_MS = 24 * 3600_000

/** One endpoint's requests: how many by method and status, and how long they took. */
type Requests = { answers: Map<number, number>; latency: Histogram }

type Isolate = {
  id: string
  sequence: number
  tally: Tally
  requests: Map<string, Requests>
  /** Counters that others keep, as they stood at the last report. */
  watched: { read: () => Record<string, number>; told: Record<string, number> }[]
  /** A report that was sent and not confirmed; it is sent again as it is. */
  pending: { report: MetricsReport; madeAt: number } | null
  arrangedAt: number | null
  sendingSince: number | null
}

/** What an isolate counts hangs on its bindings, so that tests can play several. */
const isolates = new WeakMap<object, Isolate>()

function isolateOf(env: object): Isolate {
  let isolate = isolates.get(env)
  if (!isolate) {
    isolate = {
      id: crypto.randomUUID(),
      sequence: 0,
      tally: new Tally(),
      requests: new Map(),
      watched: [],
      pending: null,
      arrangedAt: null,
      sendingSince: null,
    }
    isolates.set(env, isolate)
  }
  return isolate
}

const METHODS = ['OTHER', 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const LATENCY_BOUNDS = METRICS.api_latency_seconds.buckets

/** Counts an answered request. `endpoint` is the route's pattern. This is on every request's way: it makes no strings. */
export function countRequest(
  env: Bindings,
  request: { endpoint: string; method: string; status: number; ms: number },
  defer: Defer,
): void {
  const isolate = isolateOf(env)
  let requests = isolate.requests.get(request.endpoint)
  if (!requests) {
    requests = { answers: new Map(), latency: emptyHistogram(LATENCY_BOUNDS) }
    isolate.requests.set(request.endpoint, requests)
  }
  const answer = Math.max(0, METHODS.indexOf(request.method)) * 1_000 + request.status
  requests.answers.set(answer, (requests.answers.get(answer) ?? 0) + 1)
  observe(requests.latency, LATENCY_BOUNDS, request.ms / 1_000)
  arrange(env, isolate, defer)
}

/** Counts something that happened. In an object, which may be gone before any timer, whoever counts sees to `report`. */
export function count(env: object, metric: CounterName, labels?: Labels, by = 1): void {
  isolateOf(env).tally.count(series(metric, labels), by)
}

/** Counts how long, or how much, something was. */
export function measure(env: object, metric: HistogramName, value: number, labels?: Labels): void {
  isolateOf(env).tally.observe(series(metric, labels), METRICS[metric].buckets, value)
}

/** Has counters that are kept elsewhere told along; `read` gives their series as they stand. */
export function watchCounters(env: object, read: () => Record<string, number>): void {
  isolateOf(env).watched.push({ read, told: {} })
}

/** Sees to it that what was counted is told, for who counts what is no request and may be all that its isolate runs. */
export function reportSoon(env: Bindings, defer: Defer): void {
  arrange(env, isolateOf(env), defer)
}

function arrange(env: Bindings, isolate: Isolate, defer: Defer): void {
  const now = Date.now()
  const { arrangedAt } = isolate
  if (arrangedAt !== null && Math.abs(now - arrangedAt) < GONE_AFTER_MS) return
  isolate.arrangedAt = now
  // Whoever was to report is gone with its request: no more waiting.
  if (arrangedAt !== null) defer(report(env))
  else defer(scheduler.wait(REPORT_EVERY_MS).then(() => report(env)))
}

/**
 * Tells the isolate's shard all that was counted. Never throws: what could not be told is told with the next report.
 * Where another report is under way it resolves at once.
 */
export async function report(env: Bindings): Promise<void> {
  const isolate = isolateOf(env)
  isolate.arrangedAt = null
  const { sendingSince } = isolate
  if (sendingSince !== null && Math.abs(Date.now() - sendingSince) < PATIENCE_MS) return
  isolate.sendingSince = Date.now()
  try {
    // Two at most: one that was sent and not confirmed, and what was counted since.
    for (let next = nextReport(env, isolate); next; next = nextReport(env, isolate)) {
      const shard = env.METRICS.getByName(shardOf(isolate.id))
      await withinLimit(shard.add(next), PATIENCE_MS)
      if (isolate.pending?.report === next) isolate.pending = null
    }
  } catch (error) {
    log.warn('metrics_report_failed', { cause: describeError(error) })
  } finally {
    isolate.sendingSince = null
  }
}

/** What to send: what was not confirmed, else what was counted since; null where that is nothing. */
function nextReport(env: Bindings, isolate: Isolate): MetricsReport | null {
  const now = Date.now()
  const { pending } = isolate
  if (pending && Math.abs(now - pending.madeAt) < GIVE_UP_MS) return pending.report
  isolate.pending = null
  gather(isolate)
  if (isolate.tally.isEmpty) return null
  isolate.sequence += 1
  const { id, sequence } = isolate
  const made = { isolate: id, sequence, ...isolate.tally.take() }
  isolate.pending = { report: made, madeAt: now }
  if (env.ANALYTICS) writePoints(env.ANALYTICS, made)
  return made
}

/** Brings together what is counted in forms of its own. */
function gather({ tally, requests, watched }: Isolate): void {
  for (const [endpoint, { answers, latency }] of requests) {
    tally.merge(series('api_latency_seconds', { endpoint }), latency)
    for (const [answer, times] of answers) {
      const status = answer % 1_000
      const labels = { endpoint, method: METHODS[(answer - status) / 1_000] ?? '', status_code: `${status}` }
      tally.count(series('api_requests_total', labels), times)
      const category = categoryOf(status)
      if (category) tally.count(series('api_errors_total', { category }), times)
    }
  }
  requests.clear()
  for (const one of watched) {
    const stands = one.read()
    for (const [name, value] of Object.entries(stands)) tally.count(name, value - (one.told[name] ?? 0))
    one.told = stands
  }
}

/** The category of an error, which its status tells. */
export function categoryOf(status: number): (typeof CATEGORIES)[number] | null {
  if (status < 400) return null
  if (status >= 500) return 'service_error'
  const own: Record<number, (typeof CATEGORIES)[number]> = {
    401: 'authentication',
    403: 'authorization',
    404: 'not_found',
    409: 'conflict',
    429: 'rate_limit',
  }
  return own[status] ?? 'validation'
}

/** The same for Analytics Engine: a point for each series, indexed by the metric. */
function writePoints(analytics: AnalyticsEngineDataset, { counters, histograms }: MetricsReport): void {
  const points = [
    ...Object.entries(counters).map(([name, value]) => ({ name, doubles: [value] })),
    ...Object.entries(histograms).map(([name, { buckets, sum }]) => ({
      name,
      doubles: [buckets.reduce((a, b) => a + b, 0), sum, ...buckets],
    })),
  ]
  for (const { name, doubles } of points.slice(0, MOST_POINTS)) {
    const [metric = name, labels = ''] = name.split(/[{}]/)
    analytics.writeDataPoint({ indexes: [metric], blobs: [metric, ...valuesOf(labels)], doubles })
  }
}

const valuesOf = (labels: string) =>
  [...labels.matchAll(/="((?:[^"\\]|\\.)*)"/g)].map(([, value = '']) => value)

/** The shard of an isolate: any will do, as long as it is always the same. */
const shardOf = (isolate: string) => shardName(Number.parseInt(isolate.slice(0, 4), 16) % METRICS_SHARDS)

export const shardName = (n: number): string => `metrics-${n}`

/** Rejects where `work` takes longer; the answer of an object that hangs is waited for by nobody. */
export async function withinLimit<T>(work: Promise<T>, ms: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer in ${ms} ms`)), ms)
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
