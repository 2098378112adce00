import { objectOf } from '../../../data/objects'
import type { Bindings } from '../../../env'
import { log } from '../../../lib/log'
import type { Handed } from './ready'

type Named = { tenant_id: string; endpoint_id: string }

/** The object that makes an endpoint's attempts. */
export function senderOf(env: Bindings, { tenant_id, endpoint_id }: Named) {
  return objectOf(env, env.ENDPOINTS, tenant_id, `${tenant_id}/${endpoint_id}`)
}

/** The same with what was made for it just now, which may go out at once. */
export async function handTo(env: Bindings, endpoint: Named, handed: Handed): Promise<void> {
  try {
    const sender = await senderOf(env, endpoint)
    await sender.hand(endpoint.tenant_id, endpoint.endpoint_id, handed)
  } catch (error) {
    log.warn('endpoint_not_woken', { ...endpoint, cause: String(error) })
  }
}

/** Longer than this nobody waits for an object to hear of a change; within half a second it looks for itself. */
const PATIENCE_MS = 1_000

/**
 * Tells the endpoint's object that something is due; a failure is logged and left to the sweep. `changed` where what it
 * has read may be so no longer, or a person asked for an attempt of a delivery that may have one under way.
 */
export async function wakeEndpoint(env: Bindings, endpoint: Named, changed = false): Promise<void> {
  try {
    const sender = await senderOf(env, endpoint)
    await sender.wake(endpoint.tenant_id, endpoint.endpoint_id, changed)
  } catch (error) {
    log.warn('endpoint_not_woken', { ...endpoint, cause: String(error) })
  }
}

/** The same for what must not go out any more: when this resolves, nothing begins that was read before. */
export async function stopEndpoint(env: Bindings, endpoint: Named): Promise<void> {
  await Promise.race([wakeEndpoint(env, endpoint, true), scheduler.wait(PATIENCE_MS)])
}
