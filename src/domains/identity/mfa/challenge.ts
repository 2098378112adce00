import { and, eq, gt, isNull, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { sha256 } from '../../../lib/crypto'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { tenants } from '../../tenancy/tenants/table'
import { loginContext, openSession, refuseStanding, type Tokens } from '../sessions/open'
import { users } from '../users/table'
import { passwordMark } from './gate'
import { type Given, noteRefusal, prove } from './proof'
import { mfaChallenges, totpEnrolments } from './table'

/** A challenge is spoilt by so many wrong answers. */
const MOST_TRIES = 5

/**
 * Finishes a login by its second factor. 401 `invalid_token` for a challenge that is unknown, used, spoilt or too old,
 * 401 `invalid_code` for a second factor that does not fit or was used before.
 */
export async function answerChallenge(
  request: RequestContext,
  input: Given & { challenge: string },
): Promise<Tokens> {
  const spoilt = problem.unauthorized('invalid_token', 'The challenge is not valid (any more): log in again')
  const found = await look(request, await sha256(input.challenge))
  if (!found) throw spoilt
  const { challenge, user, tenant, totp } = found
  refuseOtherTenant(request, tenant.id)
  const now = iso(request.now)
  // Whether it fits is never said of one that is over.
  if (challenge.used_at !== null || challenge.expires_at <= now || challenge.tries >= MOST_TRIES) throw spoilt
  if (challenge.password_mark !== (await passwordMark(user.password_hash))) throw spoilt
  refuseStanding({ user, tenant })
  await request.admit?.(tenant)

  const ctx = loginContext(request, { user, tenant })
  const left = MOST_TRIES - 1 - challenge.tries
  const wrong = problem.unauthorized('invalid_code', 'The code is wrong, or was used before', {
    tries_left: left,
  })
  const proof = await prove(ctx, totp, input, wrong)
  const open = and(
    eq(mfaChallenges.tenant_id, tenant.id),
    eq(mfaChallenges.hash, challenge.hash),
    isNull(mfaChallenges.used_at),
    gt(mfaChallenges.expires_at, now),
    lt(mfaChallenges.tries, MOST_TRIES),
  )
  // One statement for right and wrong answers: of a hundred that are sent at once, five are looked at.
  const attempt = ctx.db
    .update(mfaChallenges)
    .set({ tries: sql`tries + 1`, ...(proof.fits ? { used_at: now } : {}) })
    .where(open)
  const counted = { statement: attempt, otherwise: spoilt }
  if (!proof.fits) {
    await noteRefusal(ctx, user.id, proof, [counted])
    throw wrong
  }
  const unchanged = {
    holds: sql`exists (select 1 from ${users} where tenant_id = ${user.tenant_id} and id = ${user.id}
      and password_hash is ${user.password_hash})`,
    otherwise: spoilt,
  }
  return openSession(
    request,
    { user, tenant },
    {
      statements: [counted, unchanged, ...proof.statements],
      evidence: { method: challenge.method, second_factor: proof.factor },
    },
  )
}

function look(request: RequestContext, hash: string) {
  return directory(request.env)
    .select({ challenge: mfaChallenges, user: users, tenant: tenants, totp: totpEnrolments })
    .from(mfaChallenges)
    .innerJoin(users, and(eq(users.tenant_id, mfaChallenges.tenant_id), eq(users.id, mfaChallenges.user_id)))
    .innerJoin(tenants, eq(tenants.id, mfaChallenges.tenant_id))
    .innerJoin(
      totpEnrolments,
      and(
        eq(totpEnrolments.tenant_id, mfaChallenges.tenant_id),
        eq(totpEnrolments.user_id, mfaChallenges.user_id),
      ),
    )
    .where(eq(mfaChallenges.hash, hash))
    .get()
}

/** Deletes the tenant's challenges that are over. */
export function dropOldChallenges(ctx: Context): Promise<undefined> {
  const old = and(eq(mfaChallenges.tenant_id, ctx.tenant.id), lt(mfaChallenges.expires_at, iso(ctx.now)))
  return commit(ctx, { statements: [ctx.db.delete(mfaChallenges).where(old)], result: undefined })
}
