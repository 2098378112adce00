import type { Check } from '../../http/checks'
import { routeOf } from '../../http/notes'
import { isUuid } from '../../lib/ids'
import { problem } from '../../lib/problem'

/** Paths where a platform credential works without a target tenant: they are about the caller. */
const ABOUT_THE_CALLER = /^\/api\/v1\/(?:auth|partners)(?:\/|$)/

/** Paths that serve only who says whose they are. */
const NAMES_ITS_TENANT = /^\/api\/tenant\//

/** The tenant that a header names; null without it, 400 for what is no id. */
export function tenantNamed(headers: Headers, name: string): string | null {
  const named = headers.get(name)?.trim().toLowerCase() ?? null
  if (named !== null && !isUuid(named))
    throw problem('malformed_header', `${name} must be a UUID`, { details: { header: name } })
  return named
}

const NAMING = ['X-Tenant-ID', 'X-Client-ID']

/** A tenant that a header names must be the one acted in; SINGLE_TENANT_ID admits that tenant's credentials only. */
export const checkTenant: Check = (c) => {
  const ctx = c.get('ctx')
  if (!ctx) return
  const headers = c.req.raw.headers
  for (const name of NAMING)
    if ((tenantNamed(headers, name) ?? ctx.tenant.id) !== ctx.tenant.id)
      throw problem('tenant_mismatch', `${name} names another tenant than the credential`)
  const single = ctx.settings.SINGLE_TENANT_ID
  if (single && single !== ctx.tenant.id)
    throw problem('tenant_mismatch', 'This service serves another tenant')
}

/** Platform routes are for platform administrators, and a platform credential is for platform routes. */
export const routeBoundary: Check = (c) => {
  const ctx = c.get('ctx')
  if (!ctx) return
  const isPlatform = ctx.principal.scopes.has('platform:*')
  const { note, pattern } = routeOf(c)
  if (note?.platform && !isPlatform) throw problem('platform_only', 'This is for platform administrators')
  if (isPlatform && !note?.platform && !ABOUT_THE_CALLER.test(pattern))
    throw problem('target_tenant_required', 'A platform credential has no tenant here')
  // That it is the caller’s own has been checked.
  if (NAMES_ITS_TENANT.test(pattern) && !NAMING.some((name) => c.req.raw.headers.has(name)))
    throw problem('tenant_header_required', 'This is for who names the tenant in X-Tenant-ID')
}
