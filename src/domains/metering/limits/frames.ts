import type { Impersonator } from '../../../data/context'
import { reportSoon } from '../../../data/metrics'
import type { Bindings } from '../../../env'
import { termsNow } from '../../tenancy/tenants/limits'
import { tenantLimiter } from '../isolate'
import { limitProblem } from './headers'
import { type Counted, type Kind, wantsOf } from './policy'
import type { Defer } from './ports'

/** Who sends over a socket; `impersonator` is who that is at home, where the tenant is not the sender's own. */
type Sender = Counted & { impersonator?: Impersonator | null }

/** Counts what comes over a socket as the request it stands for; 429 `rate_limited`. */
export async function countFrame(
  env: Bindings,
  tenantId: string,
  sender: Sender,
  kind: Kind,
  defer: Defer,
): Promise<void> {
  for (const countedIn of tenantsOf(tenantId, sender)) {
    const terms = await termsNow(env, countedIn)
    const { refusedBy } = await tenantLimiter(env, countedIn).admit(wantsOf(terms, sender, kind), defer)
    reportSoon(env, defer)
    if (refusedBy) throw limitProblem(refusedBy)
  }
}

/** As requests are counted: at home first, and what a partner's user does in the tenant as well. */
function tenantsOf(tenantId: string, { impersonator }: Sender): string[] {
  if (!impersonator) return [tenantId]
  return impersonator.partner_id === null ? [impersonator.tenant_id] : [impersonator.tenant_id, tenantId]
}
