import type { Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { bareTenant, contextFor } from '../../../data/system'
import { portalTenants } from '../../tenancy/partners/portal'
import type { UsageQuery } from './schema'
import { usage } from './service'

type Asked = Pick<UsageQuery, 'from' | 'to'> & { limit: number; cursor?: string | undefined }

export type TenantUsage = Record<
  'requests' | 'errors' | 'request_size_bytes' | 'response_size_bytes',
  number
> & { id: string; tenant_id: string; name: string }

/** What each tenant of the caller's partner used, by whole days; of the one alone that is acted in. */
export async function partnerUsage(ctx: Context, input: Asked): Promise<Page<TenantUsage>> {
  const { items, next_cursor } = await portalTenants(ctx, input)
  const rows = items.map(async ({ id, name }) => {
    const inside = contextFor(ctx, bareTenant(id), ctx.principal)
    const days = await usage(inside, { from: input.from, to: input.to, group_by: 'day' })
    const sum = (field: 'requests' | 'errors' | 'request_size_bytes' | 'response_size_bytes') =>
      days.reduce((total, day) => total + day[field], 0)
    return {
      ...{ id, tenant_id: id, name, requests: sum('requests'), errors: sum('errors') },
      request_size_bytes: sum('request_size_bytes'),
      response_size_bytes: sum('response_size_bytes'),
    }
  })
  return { items: await Promise.all(rows), next_cursor }
}
