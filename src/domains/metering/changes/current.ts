import type { RequestContext } from '../../../data/context'
import { tenantLimiter } from '../isolate'
import type { Limiter } from '../limits/limiter'
import { readCopies } from './copies'

type Caller = Pick<RequestContext, 'env' | 'defer'>

/** Answers that bring only a part of what changed may follow each other; more than these hold a request up for too long. */
const MOST_ANSWERS = 5

/**
 * Makes sure that this isolate knows what was changed in the tenant ten seconds ago: by its lease, by asking the Meter,
 * or by KV's copies while that is silent. Undefined where there is nothing to wait for, as after a lease.
 */
export function keepCurrent(caller: Caller, tenantId: string): Promise<void> | undefined {
  const limiter = tenantLimiter(caller.env, tenantId)
  return limiter.isCurrent() ? undefined : catchUp(caller, tenantId, limiter)
}

async function catchUp({ env, defer }: Caller, tenantId: string, limiter: Limiter): Promise<void> {
  for (let answers = 0; answers < MOST_ANSWERS; answers++) {
    await limiter.refresh(defer)
    if (limiter.isCurrent()) return
    if (limiter.isSilent) return readCopies(env, tenantId, Date.now())
  }
}
