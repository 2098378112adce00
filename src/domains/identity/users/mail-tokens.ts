import { and, eq, gt, isNull, lt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { bareTenant, contextFor } from '../../../data/system'
import { randomBytes, sha256 } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { mailStatement } from '../../mail/compose'
import type { Template } from '../../mail/templates'
import { refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { tenants } from '../../tenancy/tenants/table'
import { mailTokens, type UserRow, users } from './table'

const HOUR_MS = 3600_000

/** What a mail's link lets its reader do, where it leads, and for how long (identity.md). */
const PURPOSES = {
  verify_email: { path: 'verify-email', life: 24 * HOUR_MS },
  reset_password: { path: 'reset-password', life: HOUR_MS },
} as const

type Purpose = keyof typeof PURPOSES
type Whose = Pick<UserRow, 'id' | 'email'>

/** The statements that send a link: the token's hash, and the mail that carries the token. */
export async function linkMail(
  ctx: Context,
  user: Whose,
  purpose: Purpose,
  template: Template = purpose,
  other: { life?: number; tenant?: string } = {},
) {
  const { path, life } = { ...PURPOSES[purpose], ...other }
  const token = base64url(randomBytes(32))
  const row = {
    tenant_id: ctx.tenant.id,
    hash: await sha256(token),
    user_id: user.id,
    purpose,
    expires_at: iso(ctx.now + life),
  }
  // After the #: what a browser never sends on, and no log keeps.
  const link = `${ctx.settings.PUBLIC_URL}/${path}#token=${token}`
  return [ctx.db.insert(mailTokens).values(row), mailStatement(ctx, user.email, template, link, other.tenant)]
}

/** Why a link is refused, whatever the reason. */
export const badToken = () => problem.invalid({ token: 'is not valid (any more); ask for a new mail' })

/**
 * The user a token was mailed to, and the statement that uses it up. 422 where the token is unknown, used, too old or of
 * another purpose; a use of one that was good before is on record.
 */
export async function redeem(request: RequestContext, token: string, purpose: Purpose) {
  const hash = await sha256(token)
  const found = await directory(request.env)
    .select({ token: mailTokens, user: users, tenant: tenants })
    .from(mailTokens)
    .innerJoin(users, and(eq(users.tenant_id, mailTokens.tenant_id), eq(users.id, mailTokens.user_id)))
    .innerJoin(tenants, eq(tenants.id, mailTokens.tenant_id))
    .where(and(eq(mailTokens.hash, hash), eq(mailTokens.purpose, purpose)))
    .get()
  if (!found) throw badToken()
  const { user, tenant } = found
  const ctx = contextFor(request, bareTenant(user.tenant_id))
  const now = iso(request.now)
  if (found.token.used_at || found.token.expires_at <= now || tenant.status === 'cancelled') {
    const audit = { action: 'user.refuse_token', resource: 'user', resource_id: user.id }
    await commit(
      { ...ctx, idempotency: null },
      { statements: [], result: null, audit: { ...audit, after: { purpose } } },
    )
    throw badToken()
  }
  refuseOtherTenant(request, tenant.id)
  if (tenant.status === 'suspended') throw problem('tenant_suspended', 'The tenant is suspended')
  const own = eq(mailTokens.tenant_id, user.tenant_id)
  const use = ctx.db
    .update(mailTokens)
    .set({ used_at: now })
    .where(and(own, eq(mailTokens.hash, hash), isNull(mailTokens.used_at), gt(mailTokens.expires_at, now)))
  return { ctx, user, tenant, use: { statement: use, otherwise: badToken() } }
}

/** The statement that makes worthless what was mailed to a user for that purpose and not used. */
export function voidTokens(ctx: Context, userId: string, purpose: Purpose) {
  return ctx.db
    .update(mailTokens)
    .set({ used_at: iso(ctx.now) })
    .where(
      and(
        eq(mailTokens.tenant_id, ctx.tenant.id),
        eq(mailTokens.user_id, userId),
        eq(mailTokens.purpose, purpose),
        isNull(mailTokens.used_at),
      ),
    )
}

/** Deletes a tenant's tokens that nobody can use any more, a week after they ended. */
export function dropOldMailTokens(ctx: Context): Promise<undefined> {
  const old = and(
    eq(mailTokens.tenant_id, ctx.tenant.id),
    lt(mailTokens.expires_at, iso(ctx.now - 7 * 24 * HOUR_MS)),
  )
  return commit(ctx, { statements: [ctx.db.delete(mailTokens).where(old)], result: undefined })
}
