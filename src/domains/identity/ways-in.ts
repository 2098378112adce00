import { and, eq, inArray, isNotNull, isNull, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { iso } from '../../lib/ids'
import { apiKeys } from './api-keys/table'
import { mfaChallenges, recoveryCodes, totpEnrolments } from './mfa/table'
import { oauthAccounts } from './oauth/table'
import { passkeys } from './passkeys/table'
import { users } from './users/table'

/**
 * A condition for `commit` that stands behind the removal of a way to log in: the user has another, be it a password, a
 * passkey or a linked account of a provider that is still configured.
 */
export function hasAnotherWayIn(ctx: Context, userId: string): SQL {
  const tenantId = ctx.tenant.id
  const withPassword = and(
    eq(users.tenant_id, tenantId),
    eq(users.id, userId),
    isNotNull(users.password_hash),
  )
  const ofPasskeys = and(eq(passkeys.tenant_id, tenantId), eq(passkeys.user_id, userId))
  const ofAccounts = and(
    eq(oauthAccounts.tenant_id, tenantId),
    eq(oauthAccounts.user_id, userId),
    inArray(oauthAccounts.provider, Object.keys(ctx.settings.OAUTH_PROVIDERS)),
  )
  return sql`(exists (select 1 from ${users} where ${withPassword})
    or exists (select 1 from ${passkeys} where ${ofPasskeys})
    or exists (select 1 from ${oauthAccounts} where ${ofAccounts}))`
}

const OF_USERS = [passkeys, totpEnrolments, recoveryCodes, mfaChallenges, oauthAccounts] as const

/**
 * What takes away what was added to an account whose address nobody had confirmed, its API keys among it: whoever
 * registered with another's address must not keep a way in, nor shut the owner out, once the owner has taken the account
 * over. The statements stand before the address is confirmed, and do nothing where it was.
 */
export function withoutUnproven(ctx: Context, userId: string) {
  const unproven = sql`exists (select 1 from users where tenant_id = ${ctx.tenant.id} and id = ${userId}
    and email_verified_at is null)`
  const keys = and(
    eq(apiKeys.tenant_id, ctx.tenant.id),
    eq(apiKeys.created_by, userId),
    isNull(apiKeys.revoked_at),
    unproven,
  )
  const deletions = OF_USERS.map((table) =>
    ctx.db.delete(table).where(and(eq(table.tenant_id, ctx.tenant.id), eq(table.user_id, userId), unproven)),
  )
  const revocation = ctx.db
    .update(apiKeys)
    .set({ revoked_at: iso(ctx.now) })
    .where(keys)
  return {
    statements: [...deletions, revocation],
    tell: [{ kind: 'api_key', from: sql`${apiKeys} where ${keys}` }],
  }
}
