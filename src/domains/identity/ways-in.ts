import { and, eq, isNotNull, type SQL, sql } from 'drizzle-orm'
import { oauthAccounts } from './oauth/table'
import { passkeys } from './passkeys/table'
import { users } from './users/table'

/**
 * A condition for `commit` that stands behind the removal of a way to log in: the user has another, be it a password, a
 * passkey or a linked account.
 */
export function hasAnotherWayIn(tenantId: string, userId: string): SQL {
  const withPassword = and(
    eq(users.tenant_id, tenantId),
    eq(users.id, userId),
    isNotNull(users.password_hash),
  )
  const ofPasskeys = and(eq(passkeys.tenant_id, tenantId), eq(passkeys.user_id, userId))
  const ofAccounts = and(eq(oauthAccounts.tenant_id, tenantId), eq(oauthAccounts.user_id, userId))
  return sql`(exists (select 1 from ${users} where ${withPassword})
    or exists (select 1 from ${passkeys} where ${ofPasskeys})
    or exists (select 1 from ${oauthAccounts} where ${ofAccounts}))`
}
