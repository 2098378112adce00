import type { RequestContext } from '../../../data/context'
import { problem } from '../../../lib/problem'

/** The tenant that a request without a credential is for: the one it names, else the one that SINGLE_TENANT_ID pins. */
export function tenantMeant(
  request: Pick<RequestContext, 'settings'>,
  named: string | undefined,
): string | undefined {
  return named || request.settings.SINGLE_TENANT_ID || undefined
}

/** Whether SINGLE_TENANT_ID, where it is set, pins this tenant. */
export function isAdmitted({ settings }: Pick<RequestContext, 'settings'>, tenantId: string | null): boolean {
  const single = settings.SINGLE_TENANT_ID
  return !single || single === tenantId
}

/** Refuses a tenant that SINGLE_TENANT_ID does not admit, or any new one (null): 403 `tenant_mismatch`. */
export function refuseOtherTenant(request: Pick<RequestContext, 'settings'>, tenantId: string | null): void {
  if (!isAdmitted(request, tenantId))
    throw problem('tenant_mismatch', 'This service is for one tenant, and not for this one')
}
