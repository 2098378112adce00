import { type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { passkeys } from '../passkeys/table'
import { users } from '../users/table'
import { oauthAccounts } from './table'

/**
 * The condition that a user can log in without the linked login `id`, or that it is none of theirs: by a password, a
 * passkey, or a login at another provider that is still configured. Asked in the batch that removes it.
 */
export function isNotTheLastWay(ctx: Context, userId: string, id: string): SQL {
  const tenant = ctx.tenant.id
  const configured = JSON.stringify(Object.keys(ctx.settings.OAUTH_PROVIDERS))
  const accounts = sql`select 1 from ${oauthAccounts} where tenant_id = ${tenant} and user_id = ${userId}`
  return sql`(not exists (${accounts} and id = ${id})
    or exists (select 1 from ${users} where tenant_id = ${tenant} and id = ${userId} and password_hash is not null)
    or exists (select 1 from ${passkeys} where tenant_id = ${tenant} and user_id = ${userId})
    or exists (${accounts} and id <> ${id} and provider in (select value from json_each(${configured}))))`
}
