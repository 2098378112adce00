import { DurableObject } from 'cloudflare:workers'
import type { GaugeReport } from '../../../data/gauges'
import type { MetricsReport } from '../../../data/metrics'
import type { Bindings } from '../../../env'
import type { Counted } from '../../../lib/tally'
import { Sums } from './sums'

/** One of the objects that sum up what isolates count; each isolate reports to the same one always. */
export class MetricsShard extends DurableObject<Bindings> {
  private readonly sums: Sums

  constructor(ctx: DurableObjectState, env: Bindings) {
    super(ctx, env)
    this.sums = new Sums(ctx.storage)
  }

  /** When this resolves the report is kept, and counts once, however often it is sent. */
  async add(report: MetricsReport): Promise<void> {
    this.sums.add(report, Date.now())
  }

  /** Keeps how a gauge stands at one of the sources of this shard. */
  async hold(report: GaugeReport): Promise<void> {
    this.sums.hold(report, Date.now())
  }

  /** What was reported to this shard since the beginning, and how its gauges stand. */
  async totals(): Promise<Counted & { gauges: Record<string, number> }> {
    return { ...this.sums.read(), gauges: this.sums.gauges(Date.now()) }
  }
}
