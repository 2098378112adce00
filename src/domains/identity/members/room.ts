import { sql } from 'drizzle-orm'
import type { Check } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { effectiveSettings } from '../../tenancy/tenants/settings'
import { memberCounts } from './table'

/**
 * The condition that a tenant has room for one more user, asked in the batch that adds one; a lower number that was set
 * since `maxUsers` was read counts too. 409 `user_limit_reached`.
 */
export const roomFor = (ctx: Context, maxUsers: number): Check => ({
  holds: sql`not exists (select 1 from ${memberCounts} where tenant_id = ${ctx.tenant.id}
    and (${memberCounts.users} >= ${maxUsers} or ${memberCounts.users} >= (
      select json_extract(settings, '$.max_users') from tenants where tenants.id = ${ctx.tenant.id})))`,
  otherwise: problem('user_limit_reached', `The tenant has its ${maxUsers} users`, {
    details: { limit: maxUsers },
  }),
})

/** The most users that the context's tenant may have. */
export const roomOf = ({ tenant }: Context): number =>
  effectiveSettings(tenant.plan, tenant.settings).max_users

export const memberExists = () => problem('already_exists', 'The tenant has a user with this address')
