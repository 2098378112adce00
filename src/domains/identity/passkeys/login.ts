import { and, eq, lt } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context, RequestContext } from '../../../data/context'
import { directory } from '../../../data/database'
import { fromBase64url } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { describeError } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { refuseOtherTenant } from '../../tenancy/tenants/pinned'
import { tenants } from '../../tenancy/tenants/table'
import { finishLogin } from '../mfa/gate'
import { type Candidate, loginContext, type Tokens } from '../sessions/open'
import { users } from '../users/table'
import { type Accepts, handleOf, verifiedLogin } from './ceremony'
import type { LoginAnswer } from './schema'
import { noteRefusal, takeOnce } from './service'
import { type PasskeyRow, passkeys, usedChallenges } from './table'

/** Logs in whoever holds the passkey; 401 `invalid_passkey` for an unknown one and for an answer that is not good. */
export async function loginByPasskey(
  request: RequestContext,
  response: LoginAnswer,
  accepts: Accepts,
): Promise<Tokens> {
  const refused = problem.unauthorized(
    'invalid_passkey',
    'The passkey is not known, or its answer is not good',
  )
  const found = await look(request, response.id)
  if (!found) throw refused
  const { passkey, ...candidate } = found
  refuseOtherTenant(request, candidate.tenant.id)
  const ctx = loginContext(request, candidate)
  const refuse = async (reason: string) => {
    await noteRefusal(ctx, passkey.user_id, { passkey_id: passkey.id, reason })
    throw refused
  }
  const proved = await verify(request, response, passkey, accepts).catch((error: unknown) =>
    refuse(describeError(error).slice(0, 200)),
  )
  // A counter that stands still or falls back: somebody else uses a copy of the key (WebAuthn, 6.1.1).
  const counts = proved.newCounter > 0 || passkey.counter > 0
  if (counts && proved.newCounter <= passkey.counter)
    return refuse(`the counter fell back from ${passkey.counter} to ${proved.newCounter}`)
  await request.admit?.(candidate.tenant)
  return finishLogin(request, candidate, 'passkey', {
    statements: [
      await takeOnce(ctx, response.response.clientDataJSON, refused),
      { statement: use(ctx, passkey, proved.newCounter, proved.credentialBackedUp), otherwise: refused },
    ],
    evidence: { passkey_id: passkey.id },
  })
}

async function verify(request: RequestContext, response: LoginAnswer, passkey: PasskeyRow, accepts: Accepts) {
  const handle = fromBase64url(response.response.userHandle)
  const owner = handleOf(passkey.tenant_id, passkey.user_id)
  if (handle?.length !== owner.length || !owner.every((byte, i) => byte === handle[i]))
    throw new Error('the passkey is another user’s')
  const publicKey = fromBase64url(passkey.public_key)
  if (!publicKey) throw new Error('the stored key can’t be read')
  return verifiedLogin(request, response, { id: passkey.credential_id, publicKey }, accepts)
}

/** Not async: it goes into a batch. The counter as it was read is a condition: two answers at once are one too many. */
function use(ctx: ReturnType<typeof loginContext>, passkey: PasskeyRow, counter: number, backedUp: boolean) {
  const now = iso(ctx.now)
  return ctx.db
    .update(passkeys)
    .set({ counter, backed_up: backedUp, last_used_at: now })
    .where(
      and(
        eq(passkeys.tenant_id, passkey.tenant_id),
        eq(passkeys.id, passkey.id),
        eq(passkeys.counter, passkey.counter),
      ),
    )
}

async function look(
  request: RequestContext,
  credentialId: string,
): Promise<(Candidate & { passkey: PasskeyRow }) | undefined> {
  return directory(request.env)
    .select({ passkey: passkeys, user: users, tenant: tenants })
    .from(passkeys)
    .innerJoin(users, and(eq(users.tenant_id, passkeys.tenant_id), eq(users.id, passkeys.user_id)))
    .innerJoin(tenants, eq(tenants.id, passkeys.tenant_id))
    .where(eq(passkeys.credential_id, credentialId))
    .get()
}

/** Deletes what is known of challenges of the tenant's users that are over. */
export function dropUsedChallenges(ctx: Context): Promise<undefined> {
  const old = and(eq(usedChallenges.tenant_id, ctx.tenant.id), lt(usedChallenges.expires_at, iso(ctx.now)))
  return commit(ctx, { statements: [ctx.db.delete(usedChallenges).where(old)], result: undefined })
}
