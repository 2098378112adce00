// Counting for metrics: what one isolate saw since it last told. Pure; who is told, and when, is decided elsewhere.

export type Labels = Record<string, string>

/** Observations by bucket (each counted once, in the first bucket that takes it; the last takes the rest) and their sum. */
export type Histogram = { buckets: number[]; sum: number }

/** What was counted, by series: a metric's name with its labels as Prometheus prints them. */
export type Counted = { counters: Record<string, number>; histograms: Record<string, Histogram> }

/** The name of a series: `api_errors_total{category="conflict"}`. */
export function seriesOf(metric: string, labels: Labels = {}): string {
  const printed = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`)
  return printed.length === 0 ? metric : `${metric}{${printed.join(',')}}`
}

/** Label values as the text format wants them (prometheus.io/docs/instrumenting/exposition_formats). */
const escaped = (value: string) => value.replace(/[\\"\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`))

/** Counters and histograms that grow until they are taken. */
export class Tally {
  private readonly counters = new Map<string, number>()
  private readonly histograms = new Map<string, Histogram>()

  get isEmpty(): boolean {
    return this.counters.size === 0 && this.histograms.size === 0
  }

  count(series: string, by = 1): void {
    if (by > 0) this.counters.set(series, (this.counters.get(series) ?? 0) + by)
  }

  observe(series: string, bounds: readonly number[], value: number): void {
    let histogram = this.histograms.get(series)
    if (!histogram) {
      histogram = emptyHistogram(bounds)
      this.histograms.set(series, histogram)
    }
    observe(histogram, bounds, value)
  }

  /** Adds a histogram of the same bounds. */
  merge(series: string, more: Histogram): void {
    const before = this.histograms.get(series)
    this.histograms.set(series, before ? sumOf(before, more) : more)
  }

  /** Takes out all there is. */
  take(): Counted {
    const counters = Object.fromEntries(this.counters)
    const histograms = Object.fromEntries(this.histograms)
    this.counters.clear()
    this.histograms.clear()
    return { counters, histograms }
  }
}

export const emptyHistogram = (bounds: readonly number[]): Histogram => ({
  buckets: new Array<number>(bounds.length + 1).fill(0),
  sum: 0,
})

/** Counts a value in the first bucket whose bound it does not exceed. */
export function observe(histogram: Histogram, bounds: readonly number[], value: number): void {
  let i = 0
  while (i < bounds.length && value > (bounds[i] as number)) i++
  histogram.buckets[i] = (histogram.buckets[i] ?? 0) + 1
  histogram.sum += value
}

/** Both together. Where the bounds were changed in between, the old counts can't be told apart and only `b` goes on. */
export function sumOf(a: Histogram, b: Histogram): Histogram {
  if (a.buckets.length !== b.buckets.length) return b
  return { buckets: a.buckets.map((count, i) => count + (b.buckets[i] ?? 0)), sum: a.sum + b.sum }
}
