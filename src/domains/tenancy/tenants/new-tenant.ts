import type { RequestContext } from '../../../data/context'
import { iso } from '../../../lib/ids'
import type { TenantRow } from './table'

/** A tenant's row as it begins. */
export function newTenant(
  request: Pick<RequestContext, 'now'>,
  fields: Pick<TenantRow, 'id' | 'name' | 'slug'> & Partial<TenantRow>,
): TenantRow {
  const now = iso(request.now)
  return {
    plan: 'starter',
    status: 'active',
    settings: {},
    rate_limits: {},
    region: null,
    is_platform: 0,
    version: 1,
    created_at: now,
    updated_at: now,
    cancelled_at: null,
    ...fields,
  }
}
