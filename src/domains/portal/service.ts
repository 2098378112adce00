import type { Context } from '../../data/context'
import { iso } from '../../lib/ids'
import { Problem } from '../../lib/problem'
import { countUsers } from '../identity/members/service'
import { usage } from '../metering/usage/service'
import { currentTenant } from '../tenancy/tenants/service'
import type { Portal } from './schema'

const DAY_MS = 24 * 3600_000

/** The caller's tenant, its users in numbers, and what it used in the last 24 hours. */
export async function portalOf(ctx: Context): Promise<Portal> {
  const [tenant, users, used] = await Promise.all([currentTenant(ctx), countUsers(ctx), usedLately(ctx)])
  const { total, suspended } = users
  return {
    tenant,
    members: { total, active: total - suspended, suspended, limit: tenant.settings.max_users },
    usage: used,
  }
}

async function usedLately(ctx: Context): Promise<Portal['usage']> {
  const [from, to] = [iso(ctx.now - DAY_MS), iso(ctx.now)]
  try {
    const rows = await usage(ctx, { from, to, group_by: 'hour' })
    const sum = (field: 'requests' | 'errors') => rows.reduce((all, row) => all + row[field], 0)
    return { from, to, requests: sum('requests'), errors: sum('errors') }
  } catch (error) {
    // The rest is worth showing without it.
    if (error instanceof Problem && error.code === 'service_unavailable') return null
    throw error
  }
}
