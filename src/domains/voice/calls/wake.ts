import { objectOf } from '../../../data/objects'
import type { Bindings } from '../../../env'
import { log } from '../../../lib/log'

/** Tells who drives a tenant's calls that something is due; a failure is left to the sweep. */
export async function wakeCalls(env: Bindings, tenantId: string): Promise<void> {
  try {
    const driver = await objectOf(env, env.CALLS, tenantId, tenantId)
    await driver.wake(tenantId)
  } catch (error) {
    log.warn('calls_not_woken', { tenant_id: tenantId, cause: String(error) })
  }
}
