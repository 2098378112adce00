import { and, count, eq, isNull, ne, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { mailStatement } from '../../mail/compose'
import { freshSession } from '../sessions/fresh'
import { ownSession } from '../sessions/service'
import { sessions } from '../sessions/table'
import { type Given, noteRefusal, type Proof, prove, totpBound, totpOf, totpSealer } from './proof'
import { newRecoveryCodes } from './recovery-codes'
import { mfaChallenges, recoveryCodes, type TotpRow, totpEnrolments } from './table'
import { enrolmentOf, newSecret, stepOf } from './totp'

/** An enrolment that is not confirmed by then is begun anew. */
const PENDING_MS = 15 * 60_000

type RecoveryCodes = { message: string; recovery_codes: string[] }

/** How the caller's second factor stands. */
export async function totpStatus(ctx: Context) {
  const { user_id } = ownSession(ctx)
  const row = await totpOf(ctx, user_id)
  const unused = and(ofUser(ctx, recoveryCodes, user_id), isNull(recoveryCodes.used_at))
  const left = await ctx.db.select({ left: count() }).from(recoveryCodes).where(unused).get()
  const status = row?.confirmed_at ? 'active' : row && isPending(ctx, row) ? 'pending' : 'none'
  return {
    status: status as 'active' | 'pending' | 'none',
    confirmed_at: row?.confirmed_at ?? null,
    recovery_codes_left: left?.left ?? 0,
  }
}

/** Begins to enrol an authenticator app; it counts once its first code is confirmed. 409 where one counts already. */
export async function enrolTotp(ctx: Context) {
  const { user_id, email } = await freshSession(ctx)
  const secret = newSecret()
  const row = {
    tenant_id: ctx.tenant.id,
    user_id,
    secret_sealed: await totpSealer(ctx).seal(secret, totpBound(ctx.tenant.id, user_id)),
    created_at: iso(ctx.now),
  }
  const { secret_sealed, created_at } = row
  const begin = ctx.db
    .insert(totpEnrolments)
    .values(row)
    .onConflictDoUpdate({
      target: [totpEnrolments.tenant_id, totpEnrolments.user_id],
      set: { secret_sealed, created_at },
      setWhere: isNull(totpEnrolments.confirmed_at),
    })
  return commit(ctx, {
    statements: [{ statement: begin, otherwise: enrolledAlready() }],
    result: { secret, ...enrolmentOf(secret, email) },
    audit: { action: 'totp.enrol', resource: 'user', resource_id: user_id },
    secret: true,
  })
}

/**
 * Confirms the enrolment by a code of the app, and answers with ten recovery codes, which are seen only here. The user's
 * other sessions end, since nobody proved a second factor there.
 */
export async function confirmTotp(ctx: Context, code: string): Promise<RecoveryCodes> {
  const { user_id, session_id, email } = ownSession(ctx)
  const row = await totpOf(ctx, user_id)
  if (row?.confirmed_at) throw enrolledAlready()
  if (!row || !isPending(ctx, row)) throw problem.notFound('enrolment that waits', user_id)
  const secret = await totpSealer(ctx).open(row.secret_sealed, totpBound(ctx.tenant.id, user_id))
  const step = stepOf(secret, code, ctx.now)
  if (step === null) throw problem.invalid({ code: 'is not what the app shows now: check its clock' })
  const confirm = ctx.db
    .update(totpEnrolments)
    .set({ confirmed_at: iso(ctx.now), last_step: step })
    // The very secret that the code is of.
    .where(
      and(
        ofUser(ctx, totpEnrolments, user_id),
        isNull(totpEnrolments.confirmed_at),
        eq(totpEnrolments.secret_sealed, row.secret_sealed),
      ),
    )
  const { codes, statements } = await renewal(ctx, user_id)
  const others = and(ofUser(ctx, sessions, user_id), ne(sessions.id, session_id), isNull(sessions.ended_at))
  const end = ctx.db
    .update(sessions)
    .set({ ended_at: iso(ctx.now) })
    .where(others)
  return commit(ctx, {
    statements: [
      { statement: confirm, otherwise: enrolledAlready() },
      ...statements,
      end,
      mailStatement(ctx, email, 'two_step_added', `${ctx.settings.PUBLIC_URL}/forgot-password`),
    ],
    result: { message: 'Two-step login is on', recovery_codes: codes },
    audit: { action: 'totp.confirm', resource: 'user', resource_id: user_id },
    tell: [{ kind: 'session', from: sql`${sessions} where ${others}` }],
    secret: true,
  })
}

/** Ten new recovery codes in place of all old ones, for who proves the second factor. */
export async function renewRecoveryCodes(ctx: Context, given: Given): Promise<RecoveryCodes> {
  const { user_id, email } = ownSession(ctx)
  const proof = await proveNow(ctx, user_id, given)
  const { codes, statements } = await renewal(ctx, user_id)
  return commit(ctx, {
    statements: [
      ...proof.statements,
      ...statements,
      mailStatement(ctx, email, 'recovery_codes_renewed', `${ctx.settings.PUBLIC_URL}/forgot-password`),
    ],
    result: { message: 'The old recovery codes are void', recovery_codes: codes },
    audit: {
      action: 'recovery_codes.renew',
      resource: 'user',
      resource_id: user_id,
      after: { proved_by: proof.factor },
    },
    secret: true,
  })
}

/** Takes the authenticator app away, for who proves the second factor once more. */
export async function removeTotp(ctx: Context, given: Given): Promise<undefined> {
  const { user_id, email } = ownSession(ctx)
  const proof = await proveNow(ctx, user_id, given)
  return commit(ctx, {
    statements: [
      ...proof.statements,
      ctx.db.delete(totpEnrolments).where(ofUser(ctx, totpEnrolments, user_id)),
      ctx.db.delete(recoveryCodes).where(ofUser(ctx, recoveryCodes, user_id)),
      ctx.db.delete(mfaChallenges).where(ofUser(ctx, mfaChallenges, user_id)),
      mailStatement(ctx, email, 'two_step_removed', `${ctx.settings.PUBLIC_URL}/forgot-password`),
    ],
    result: undefined,
    audit: {
      action: 'totp.remove',
      resource: 'user',
      resource_id: user_id,
      after: { proved_by: proof.factor },
    },
  })
}

async function proveNow(ctx: Context, userId: string, given: Given): Promise<Proof> {
  const row = await totpOf(ctx, userId)
  if (!row?.confirmed_at) throw problem.notFound('authenticator app', userId)
  const field = given.code === undefined ? 'recovery_code' : 'code'
  const wrong = problem.invalid({ [field]: 'is wrong, or was used before' })
  const proof = await prove(ctx, row, given, wrong)
  if (proof.fits) return proof
  await noteRefusal(ctx, userId, proof)
  throw wrong
}

async function renewal(ctx: Context, userId: string) {
  const { codes, hashes } = await newRecoveryCodes()
  const rows = hashes.map((hash) => ({ tenant_id: ctx.tenant.id, user_id: userId, hash }))
  const statements = [
    ctx.db.delete(recoveryCodes).where(ofUser(ctx, recoveryCodes, userId)),
    ctx.db.insert(recoveryCodes).values(rows),
  ]
  return { codes, statements }
}

type OfUsers = typeof recoveryCodes | typeof totpEnrolments | typeof mfaChallenges | typeof sessions

const ofUser = (ctx: Context, table: OfUsers, userId: string) =>
  and(eq(table.tenant_id, ctx.tenant.id), eq(table.user_id, userId))

const isPending = (ctx: Context, { created_at }: TotpRow) => created_at > iso(ctx.now - PENDING_MS)

const enrolledAlready = () =>
  problem('already_exists', 'An authenticator app is enrolled already: remove it first')
