import { and, desc, eq, isNull, ne, sql } from 'drizzle-orm'
import { type Change, commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { Problem, problem } from '../../../lib/problem'
import { mailStatement } from '../../mail/compose'
import { countWrongOf } from '../attempts/passwords'
import { ownSession } from '../sessions/service'
import { sessions } from '../sessions/table'
import { withoutUnproven } from '../ways-in'
import { bcryptCost } from './bcrypt'
import { linkMail, redeem, voidTokens } from './mail-tokens'
import { mailUsersOf } from './of-address'
import { hashPassword, verifyEach } from './password'
import type { ChangePassword, ResetPassword } from './schema'
import { type UserRow, users } from './table'

type Notice = { message: string }

/**
 * Mails a link to every active user of the address. The answer comes before the address is looked up, so neither its
 * words nor its time tell whether anybody has it.
 */
export function forgotPassword(request: RequestContext, email: string): Notice {
  request.defer(mailLinks(request, email))
  return { message: 'If the address is registered, a mail is on its way' }
}

const mailLinks = (request: RequestContext, email: string): Promise<void> =>
  mailUsersOf(request, email, {
    wanted: eq(users.status, 'active'),
    order: [desc(sql`${users.email_verified_at} is not null`), desc(users.last_login_at)],
    mail: async (ctx, user) => ({
      statements: await linkMail(ctx, user, 'reset_password'),
      audit: { action: 'user.forgot_password', resource: 'user', resource_id: user.id },
    }),
  })

/**
 * Sets the password of who has the mail's token, and ends all the user's sessions. Who reads the address's mail has it:
 * it is confirmed, and where it was not before, nothing else that was set up for the user lets anybody in any more. 422
 * where the token is unknown, used or too old.
 */
export async function resetPassword(request: RequestContext, input: ResetPassword): Promise<Notice> {
  const { ctx, user, use } = await redeem(request, input.token, 'reset_password')
  const { statements, tell } = replaced(ctx, user, await hashPassword(input.password), null)
  const unproven = withoutUnproven(ctx, user.id)
  return commit(ctx, {
    statements: [use, ...unproven.statements, ...statements, verified(ctx, user)],
    tell: [...tell, ...unproven.tell],
    result: { message: 'Password changed' },
    audit: {
      action: 'user.reset_password',
      resource: 'user',
      resource_id: user.id,
      after: { address_confirmed: user.email_verified_at === null },
    },
  })
}

/** Who reads the address's mail has it. */
function verified(ctx: Context, user: UserRow) {
  return ctx.db
    .update(users)
    .set({ email_verified_at: iso(ctx.now) })
    .where(and(eq(users.tenant_id, user.tenant_id), eq(users.id, user.id), isNull(users.email_verified_at)))
}

/** Changes the caller's own password and ends the other sessions. 422 where the current one is wrong, 429 after ten. */
export async function changePassword(ctx: Context, input: ChangePassword): Promise<Notice> {
  const own = ownSession(ctx)
  const user = await ctx.db
    .select()
    .from(users)
    .where(and(eq(users.tenant_id, ctx.tenant.id), eq(users.id, own.user_id)))
    .get()
  if (!user) throw problem.notFound('user', own.user_id)
  await provePassword(ctx, user, { current_password: input.current_password })
  const { statements, tell } = replaced(ctx, user, await hashPassword(input.new_password), own.session_id)
  return commit(ctx, {
    statements,
    tell,
    result: { message: 'Password changed' },
    audit: { action: 'user.change_password', resource: 'user', resource_id: user.id },
  })
}

/** 422 where the field's value is not the user's password, 429 after ten of those within the hour. */
export async function provePassword(
  request: RequestContext,
  user: UserRow,
  field: Record<string, string>,
): Promise<void> {
  const [[name, password] = ['password', '']] = Object.entries(field)
  await countWrongOf(request, user.id, () => demand(password, user)).catch((error: unknown) => {
    if (!(error instanceof Problem) || error.code !== 'invalid_credentials') throw error
    // The caller's credential is good; it is a field that is wrong.
    throw problem.invalid({ [name]: 'is not the current password' })
  })
}

async function demand(password: string, { password_hash: stored }: UserRow): Promise<void> {
  const [fits] = await verifyEach(password, [stored], bcryptCost(stored))
  if (!fits) throw problem.unauthorized('invalid_credentials', 'The password is wrong')
}

/**
 * The new password in place of the one that was read, every session but `kept` ended, mailed links made worthless, and a
 * mail that tells the owner. 409 where the password was changed meanwhile.
 */
function replaced(
  ctx: Context,
  user: UserRow,
  hash: string,
  kept: string | null,
): Pick<Change<unknown>, 'statements'> & { tell: NonNullable<Change<unknown>['tell']> } {
  const now = iso(ctx.now)
  const set = { password_hash: hash, updated_at: now, version: sql`version + 1` }
  const asRead = sql`${users.password_hash} is ${user.password_hash}`
  const others = and(
    eq(sessions.tenant_id, user.tenant_id),
    eq(sessions.user_id, user.id),
    isNull(sessions.ended_at),
    kept === null ? undefined : ne(sessions.id, kept),
  )
  const update = ctx.db
    .update(users)
    .set(set)
    .where(and(eq(users.tenant_id, user.tenant_id), eq(users.id, user.id), asRead))
  return {
    statements: [
      { statement: update, otherwise: problem('conflict', 'The password was changed meanwhile') },
      ctx.db.update(sessions).set({ ended_at: now }).where(others),
      voidTokens(ctx, user.id, 'reset_password'),
      mailStatement(ctx, user.email, 'password_changed', `${ctx.settings.PUBLIC_URL}/forgot-password`),
    ],
    tell: [{ kind: 'session', from: sql`${sessions} where ${others}` }],
  }
}
