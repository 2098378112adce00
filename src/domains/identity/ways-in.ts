import { and, eq, isNotNull, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { mfaChallenges, recoveryCodes, totpEnrolments } from './mfa/table'
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

const OF_USERS = [passkeys, totpEnrolments, recoveryCodes, mfaChallenges, oauthAccounts] as const

/**
 * The statements that take away what was added to an account whose address nobody had confirmed: whoever registered with
 * another's address must not keep a way in, nor shut the owner out, once the owner has taken the account over. They
 * stand before the address is confirmed, and do nothing where it was.
 */
export function withoutUnproven(ctx: Context, userId: string) {
  const unproven = sql`exists (select 1 from users where tenant_id = ${ctx.tenant.id} and id = ${userId}
    and email_verified_at is null)`
  return OF_USERS.map((table) =>
    ctx.db.delete(table).where(and(eq(table.tenant_id, ctx.tenant.id), eq(table.user_id, userId), unproven)),
  )
}
