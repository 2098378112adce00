import { objectOf } from '../../../data/objects'
import type { Bindings } from '../../../env'
import { log } from '../../../lib/log'

type Named = { tenant_id: string; endpoint_id: string }

/** The object that makes an endpoint's attempts. */
export function senderOf(env: Bindings, { tenant_id, endpoint_id }: Named) {
  return objectOf(env, env.ENDPOINTS, tenant_id, `${tenant_id}/${endpoint_id}`)
}

/**
 * Tells the endpoint's object that something is due; a failure is logged and left to the sweep. `retry` where a person
 * asked for an attempt of a delivery that may have one under way.
 */
export async function wakeEndpoint(env: Bindings, endpoint: Named, retry = false): Promise<void> {
  try {
    const sender = await senderOf(env, endpoint)
    await sender.wake(endpoint.tenant_id, endpoint.endpoint_id, retry)
  } catch (error) {
    log.warn('endpoint_not_woken', { ...endpoint, cause: String(error) })
  }
}
