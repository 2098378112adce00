import { and, desc, eq, isNull, ne, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { bareTenant, contextFor } from '../../../data/system'
import { randomBytes, sha256 } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { mailStatement } from '../../mail/compose'
import { tenants } from '../../tenancy/tenants/table'
import { mailTokens, type UserRow, users } from './table'

/** A verification link works for a day (identity.md). */
const VERIFY_MS = 24 * 3600_000
/** An address that waits in more tenants than this gets a mail for the newest ones. */
const MOST_MAILS = 3

/** The statements that send a verification mail: the token's hash and the mail that carries the token. */
export async function verificationMail(ctx: Context, user: Pick<UserRow, 'id' | 'email'>) {
  const token = base64url(randomBytes(32))
  const row = {
    tenant_id: ctx.tenant.id,
    hash: await sha256(token),
    user_id: user.id,
    purpose: 'verify_email' as const,
    expires_at: iso(ctx.now + VERIFY_MS),
  }
  const link = `${ctx.settings.PUBLIC_URL}/verify-email#token=${token}`
  return [ctx.db.insert(mailTokens).values(row), mailStatement(ctx, user.email, 'verify_email', link)]
}

/** Confirms an address by the token of its mail; 422 where the token is unknown, used or too old. */
export async function confirmEmail(request: RequestContext, token: string): Promise<{ message: string }> {
  const hash = await sha256(token)
  const row = await directory(request.env).select().from(mailTokens).where(eq(mailTokens.hash, hash)).get()
  const refusal = problem.invalid({ token: 'is not valid (any more); ask for a new mail' })
  const now = iso(request.now)
  if (row?.purpose !== 'verify_email' || row.used_at || row.expires_at <= now) throw refusal
  const ctx = contextFor(request, bareTenant(row.tenant_id))
  const use = ctx.db
    .update(mailTokens)
    .set({ used_at: now })
    .where(
      and(eq(mailTokens.tenant_id, row.tenant_id), eq(mailTokens.hash, hash), isNull(mailTokens.used_at)),
    )
  const verify = ctx.db
    .update(users)
    .set({ email_verified_at: now, updated_at: now, version: sql`version + 1` })
    .where(and(eq(users.tenant_id, row.tenant_id), eq(users.id, row.user_id)))
  return commit(ctx, {
    statements: [{ statement: use, otherwise: refusal }, verify],
    result: { message: 'Email verified' },
    audit: { action: 'user.verify_email', resource: 'user', resource_id: row.user_id },
  })
}

/** Sends the mail again to every unverified user of the address; the answer is the same whether there is one. */
export async function resendVerification(
  request: RequestContext,
  email: string,
): Promise<{ message: string }> {
  const result = { message: 'If the address is registered and not verified, a mail is on its way' }
  const rows = await directory(request.env)
    .select({ user: users })
    .from(users)
    .innerJoin(tenants, eq(tenants.id, users.tenant_id))
    .where(and(eq(users.email, email), isNull(users.email_verified_at), ne(tenants.status, 'cancelled')))
    .orderBy(desc(users.created_at))
    .limit(MOST_MAILS)
    .all()
  for (const { user } of rows) {
    const ctx = { ...contextFor(request, bareTenant(user.tenant_id)), idempotency: null }
    await commit(ctx, { statements: await verificationMail(ctx, user), result })
  }
  return result
}
