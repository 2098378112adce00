import { reportSoon } from '../../../data/metrics'
import type { Bindings } from '../../../env'
import { termsNow } from '../../tenancy/tenants/limits'
import { tenantLimiter } from '../isolate'
import { limitProblem } from './headers'
import { type Counted, type Kind, wantsOf } from './policy'
import type { Defer } from './ports'

/** Counts what comes over a socket as the request it stands for; 429 `rate_limited`. */
export async function countFrame(
  env: Bindings,
  tenantId: string,
  sender: Counted,
  kind: Kind,
  defer: Defer,
): Promise<void> {
  const tenant = await termsNow(env, tenantId)
  const wants = wantsOf(tenant, sender, kind)
  const { refusedBy } = await tenantLimiter(env, tenantId).admit(wants, defer)
  reportSoon(env, defer)
  if (refusedBy) throw limitProblem(refusedBy)
}
