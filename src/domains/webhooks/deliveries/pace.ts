import { meterOf } from '../../../data/objects'
import type { Bindings } from '../../../env'
import { log } from '../../../lib/log'

/** Longer than this no attempt waits to be told whether it may begin. */
const PATIENCE_MS = 1_000

/**
 * How many of `wanted` attempts may begin now by the rate of the tenant, over all its endpoints, and how long the others
 * are held. A Meter that does not answer holds nothing.
 */
export async function paceOf(
  env: Pick<Bindings, 'DB' | 'METERS'>,
  tenantId: string,
  wanted: number,
): Promise<{ count: number; wait: number }> {
  const all = { count: wanted, wait: 0 }
  const answer = meterOf(env, tenantId)
    .then((meter) => meter.pace(wanted))
    .catch((error: unknown) => {
      log.warn('deliveries_unpaced', { tenant_id: tenantId, cause: String(error) })
      return all
    })
  return Promise.race([answer, scheduler.wait(PATIENCE_MS).then(() => all)])
}
