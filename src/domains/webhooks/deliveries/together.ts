import { withinLimit } from '../../../data/metrics'
import { objectOf } from '../../../data/objects'
import type { Bindings } from '../../../env'
import { describeError, log } from '../../../lib/log'
import type { Report } from './attempt-log'

/** Nobody waits longer for the reporter. */
const PATIENCE_MS = 5_000

/** Tells D1 of deliveries that arrived, with those of the tenant's other endpoints; false where D1 may not know them. */
export async function tellTogether(
  env: Bindings,
  tenant_id: string,
  reports: readonly Report[],
): Promise<boolean> {
  try {
    const reporter = await objectOf(env, env.REPORTERS, tenant_id, tenant_id)
    await withinLimit(reporter.tell(tenant_id, [...reports]), PATIENCE_MS)
    return true
  } catch (error) {
    log.warn('reporter_away', { tenant_id, cause: describeError(error) })
    return false
  }
}
