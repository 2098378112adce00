import { DurableObject } from 'cloudflare:workers'
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

  /** What was reported to this shard since the beginning. */
  async totals(): Promise<Counted> {
    return this.sums.read()
  }
}
