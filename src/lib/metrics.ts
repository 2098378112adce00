import { type Counted, type Labels, seriesOf } from './tally'

// Every metric there is. Labels take few values, all known beforehand: a route's pattern, never a path; never an id.

type Family = {
  help: string
  /** Labels whose values are known only when they come. */
  labels?: readonly string[]
  /** The one label whose values stand at zero from the beginning, so that a first one is a rise and not a birth. */
  known?: { label: string; values: readonly string[] }
} & ({ type: 'counter' | 'gauge' } | { type: 'histogram'; buckets: readonly number[] })

/** What the category of an answer's problem is, by its status (`PROBLEMS` keeps to it). */
export const CATEGORIES = [
  ...(['validation', 'authentication', 'authorization', 'not_found'] as const),
  ...(['conflict', 'rate_limit', 'service_error'] as const),
]

const LATENCY_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
/** A delivery may be tried for days: ten attempts within 75 hours. */
const DELIVERY_S = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200, 259_200]

const by = { label: 'by', values: ['lease', 'silence'] } as const

/** By name, in the order of the page. A histogram's buckets are never changed, only replaced under another name. */
export const METRICS = {
  api_requests_total: {
    type: 'counter',
    help: 'Requests answered.',
    labels: ['endpoint', 'method', 'status_code'],
  },
  api_errors_total: {
    type: 'counter',
    help: 'Requests refused or failed, by the category of the error.',
    known: { label: 'category', values: CATEGORIES },
  },
  api_latency_seconds: {
    type: 'histogram',
    help: 'Time from a request to its answer; to its first byte where it streams.',
    labels: ['endpoint'],
    buckets: LATENCY_S,
  },
  webhook_attempts_total: {
    type: 'counter',
    help: 'Attempts to deliver an event to an endpoint.',
    known: { label: 'outcome', values: ['succeeded', 'failed'] },
  },
  webhook_deliveries_total: {
    type: 'counter',
    help: 'Deliveries that ended, by how.',
    known: { label: 'outcome', values: ['delivered', 'failed', 'exhausted'] },
  },
  webhook_delivery_latency_seconds: {
    type: 'histogram',
    help: 'Time from an event to its delivery, over all its attempts.',
    buckets: DELIVERY_S,
  },
  outbox_entries: {
    type: 'gauge',
    help: 'Events whose deliveries are not made yet; counted up to ten thousand.',
  },
  outbox_oldest_seconds: { type: 'gauge', help: 'Age of the oldest such event.' },
  deliveries_due: {
    type: 'gauge',
    help: 'Deliveries whose time for an attempt has come; counted up to ten thousand.',
  },
  deliveries_overdue_seconds: { type: 'gauge', help: 'How long the most overdue of them has been due.' },
  pipeline_batches_total: {
    type: 'counter',
    help: 'Batches of interactions sent to the data pipeline, by what came of it.',
    known: { label: 'outcome', values: ['taken', 'refused', 'away'] },
  },
  pipeline_interactions_waiting: {
    type: 'gauge',
    help: 'Interactions that the data pipeline has not taken; what is in no batch is counted up to ten thousand.',
  },
  pipeline_batches_refused: {
    type: 'gauge',
    help: 'Batches that the data pipeline refused, and gets again.',
  },
  pipeline_oldest_seconds: { type: 'gauge', help: 'Age of the oldest interaction that it has not taken.' },
  open_streams: { type: 'gauge', help: 'Streams and sockets that are open, as the tenants’ Meters know.' },
  lease_admissions_total: {
    type: 'counter',
    help: 'Requests that a limiter admitted, by a lease or by the rule for a silent Meter.',
    known: by,
  },
  lease_refusals_total: {
    type: 'counter',
    help: 'Requests that a limiter refused, by a lease or by the rule for a silent Meter.',
    known: by,
  },
  meter_calls_total: { type: 'counter', help: 'Calls of isolates to Meters.' },
  meter_silences_total: {
    type: 'counter',
    help: 'Calls to Meters that failed or took longer than a second.',
  },
} as const satisfies Record<string, Family>

export type Metric = keyof typeof METRICS
type OfType<T extends Family['type']> = {
  [M in Metric]: (typeof METRICS)[M]['type'] extends T ? M : never
}[Metric]
export type CounterName = OfType<'counter'>
export type HistogramName = OfType<'histogram'>
export type GaugeName = OfType<'gauge'>

/** The series of one of our metrics. */
export const series = (metric: Metric, labels?: Labels): string => seriesOf(metric, labels)

export const TEXT_FORMAT = 'text/plain; version=0.0.4; charset=utf-8'

/** Prometheus' text format. Gauges that could not be read are left out. */
export function printMetrics(counted: Counted, gauges: Partial<Record<GaugeName, number>>): string {
  const names = [...Object.keys(counted.counters), ...Object.keys(counted.histograms)].sort()
  const found = Map.groupBy(names, (name) => name.replace(/\{.*/s, ''))
  return Object.entries<Family>(METRICS)
    .map(([metric, family]) => {
      const all = new Set([...zerosOf(metric, family), ...(found.get(metric) ?? [])])
      const lines =
        family.type === 'histogram'
          ? [...all].flatMap((one) => histogramLines(one, family.buckets, counted))
          : family.type === 'counter'
            ? [...all].map((one) => `${one} ${counted.counters[one] ?? 0}`)
            : gaugeLines(metric, gauges[metric as GaugeName])
      return [`# HELP ${metric} ${family.help}`, `# TYPE ${metric} ${family.type}`, ...lines, ''].join('\n')
    })
    .join('')
}

/** The series that are there before anything was counted. */
function zerosOf(metric: string, { labels, known }: Family): string[] {
  if (known) return known.values.map((value) => seriesOf(metric, { [known.label]: value }))
  return labels ? [] : [metric]
}

const gaugeLines = (metric: string, value: number | undefined) =>
  value === undefined ? [] : [`${metric} ${value}`]

function histogramLines(name: string, bounds: readonly number[], { histograms }: Counted): string[] {
  const { buckets, sum } = histograms[name] ?? { buckets: [], sum: 0 }
  const [, metric = name, labels = ''] = /^(\w+)(?:\{(.*)\})?$/s.exec(name) ?? []
  const before = labels === '' ? '' : `${labels},`
  let total = 0
  const lines = [...bounds, '+Inf'].map((bound, i) => {
    total += buckets[i] ?? 0
    return `${metric}_bucket{${before}le="${bound}"} ${total}`
  })
  const braces = labels === '' ? '' : `{${labels}}`
  return [...lines, `${metric}_sum${braces} ${sum}`, `${metric}_count${braces} ${total}`]
}
