import type { Context as HonoContext } from 'hono'
import type { Caller } from '../../../data/caller'
import type { AppEnv } from '../../../http/app-env'
import type { Check } from '../../../http/checks'
import { keepCurrent } from './current'

/**
 * Refuses a credential that is known not to count before its request is counted against the tenant. Where the refusal
 * may have been lifted (a suspension), that is asked first.
 */
export const refuseFallen: Check = (c) => {
  const caller = c.get('caller')
  if (!caller?.refusal) return
  const asked = keepCurrent(c.get('request'), caller.tenantId)
  return asked ? asked.then(() => confirm(c, caller)) : confirm(c, caller)
}

/** The credential against all that changed until ten seconds ago; after a lease was taken this waits for nothing. */
export const stillStands: Check = (c) => {
  const caller = c.get('caller')
  if (!caller) return
  const asked = keepCurrent(c.get('request'), caller.tenantId)
  return asked ? asked.then(() => confirm(c, caller)) : confirm(c, caller)
}

/** The same in the tenant that somebody acts in. */
export const actingStands: Check = (c) => (c.get('ctx')?.impersonator ? stillStands(c) : undefined)

function confirm(c: HonoContext<AppEnv>, caller: Caller): undefined {
  const { refusal } = caller
  if (refusal) throw refusal.problem()
  const ctx = c.get('ctx')
  // What was learned meanwhile holds for this request too.
  ctx.tenant = caller.tenant
  ctx.principal = caller.principal
}
