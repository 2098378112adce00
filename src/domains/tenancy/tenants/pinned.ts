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

/**
 * Counts a request whose proof names its tenant, by `count`, and refuses it where another one is pinned: 403
 * `tenant_mismatch`, which is in nobody's usage.
 */
export async function countPinned(
  request: RequestContext,
  tenantId: string,
  count: () => undefined | Promise<undefined>,
): Promise<void> {
  if (isAdmitted(request, tenantId)) request.usedBy = { tenant_id: tenantId, caller: 'public' }
  await count()
  refuseOtherTenant(request, tenantId)
}
