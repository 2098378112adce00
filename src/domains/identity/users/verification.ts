import { and, desc, eq, isNull, or, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { tenants } from '../../tenancy/tenants/table'
import { mayMail } from './mail-limit'
import { linkMail, redeem } from './mail-tokens'
import { provePassword } from './new-password'
import { mailUsersOf } from './of-address'
import { type UserRow, users } from './table'

/**
 * The statements that send a verification mail: the token's hash and the mail that carries the token. Where an earlier
 * registration of the address was replaced it says so: its owner may be waiting for the mail of that one, and would
 * confirm the account of whoever replaced it.
 */
function verificationMail(ctx: Context, user: Pick<UserRow, 'id' | 'email'>, hasReplaced: boolean) {
  return linkMail(ctx, user, 'verify_email', hasReplaced ? 'verify_email_again' : 'verify_email')
}

const PASSWORD_NEEDED =
  'is needed, since the address was registered more than once; who does not know it asks for a new one (password/forgot)'

/** The same for who registers just now; none where the address had five of them within the hour. */
export async function registrationMail(
  ctx: Context,
  user: Pick<UserRow, 'id' | 'email'>,
  hasReplaced = false,
) {
  const isSent = await mayMail(ctx, user.email, 'registration_mails')
  return isSent ? verificationMail(ctx, user, hasReplaced) : []
}

/** Whether a personal registration of the address was replaced, or ended, before anybody confirmed it. */
async function wasReplaced(request: RequestContext, email: string): Promise<boolean> {
  const ended = and(
    eq(users.email, email),
    eq(users.id, users.tenant_id),
    isNull(users.email_verified_at),
    or(eq(tenants.status, 'cancelled'), eq(users.is_personal, 0)),
  )
  const row = await directory(request.env)
    .select({ id: users.id })
    .from(users)
    .innerJoin(tenants, eq(tenants.id, users.tenant_id))
    .where(ended)
    .get()
  return row !== undefined
}

/**
 * Confirms an address by the token of its mail; 422 where the token is unknown, used or too old. Where the account took
 * the place of an earlier registration its password is asked for: the address's owner may be waiting for the mail of that
 * one, and must not confirm the account of a stranger, who would keep a way in.
 */
export async function confirmEmail(
  request: RequestContext,
  { token, password }: { token: string; password?: string | undefined },
): Promise<{ message: string }> {
  const { ctx, user, use } = await redeem(request, token, 'verify_email')
  if (user.is_personal === 1 && (await wasReplaced(request, user.email))) {
    if (password === undefined) throw problem.invalid({ password: PASSWORD_NEEDED })
    await provePassword(ctx, user, { password })
  }
  const now = iso(request.now)
  const verify = ctx.db
    .update(users)
    .set({ email_verified_at: now, updated_at: now, version: sql`version + 1` })
    .where(and(eq(users.tenant_id, user.tenant_id), eq(users.id, user.id)))
  return commit(ctx, {
    statements: [use, verify],
    result: { message: 'Email verified' },
    audit: { action: 'user.verify_email', resource: 'user', resource_id: user.id },
  })
}

/**
 * Sends the mail again to every unverified user of the address. The answer comes before the address is looked up, so
 * neither its words nor its time tell whether there is one.
 */
export function resendVerification(request: RequestContext, email: string): { message: string } {
  request.defer(sendAgain(request, email))
  return { message: 'If the address is registered and not verified, a mail is on its way' }
}

const sendAgain = (request: RequestContext, email: string): Promise<void> =>
  mailUsersOf(request, email, {
    wanted: isNull(users.email_verified_at),
    order: [desc(users.created_at)],
    mail: async (ctx, user) => {
      const hasReplaced = user.is_personal === 1 && (await wasReplaced(request, email))
      return { statements: await verificationMail(ctx, user, hasReplaced) }
    },
  })
