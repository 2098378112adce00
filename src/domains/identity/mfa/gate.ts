import { sql } from 'drizzle-orm'
import { type Check, commit } from '../../../data/commit'
import type { RequestContext } from '../../../data/context'
import { randomBytes, sha256 } from '../../../lib/crypto'
import { base64url } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { type Problem, problem } from '../../../lib/problem'
import {
  type Candidate,
  loginContext,
  type OpenOptions,
  openSession,
  refuseStanding,
  type Tokens,
} from '../sessions/open'
import type { UserRow } from '../users/table'
import { totpOf } from './proof'
import { mfaChallenges, totpEnrolments } from './table'

/** By what a user logged in. */
export type LoginMethod = 'password' | 'oauth' | 'passkey'

/** A challenge waits so long for its second factor. */
export const CHALLENGE_MS = 5 * 60_000

/**
 * Lets who proved to be the user in: a session, or 401 `mfa_required` with a challenge where an authenticator app is
 * enrolled. A passkey is two factors itself: the device, and who unlocked it. 403 where the tenant or the user is
 * suspended. What `options` brings is written in either case.
 */
export async function finishLogin(
  request: RequestContext,
  candidate: Candidate,
  method: LoginMethod,
  options: OpenOptions = {},
): Promise<Tokens> {
  refuseStanding(candidate)
  request.usedBy = { tenant_id: candidate.tenant.id, caller: 'user' }
  if (method !== 'passkey') {
    const totp = await totpOf(loginContext(request, candidate), candidate.user.id)
    if (totp?.confirmed_at) throw await challenge(request, candidate, method, options)
  }
  return openSession(request, candidate, {
    statements: [...(options.statements ?? []), ...(method === 'passkey' ? [] : [stillWithout(candidate)])],
    evidence: { ...options.evidence, method },
  })
}

/** An app that is confirmed while a login is under way ends the sessions that proved none; this one was not there yet. */
const stillWithout = ({ user }: Candidate): Check => ({
  holds: sql`not exists (select 1 from ${totpEnrolments} where tenant_id = ${user.tenant_id}
    and user_id = ${user.id} and confirmed_at is not null)`,
  otherwise: problem('conflict', 'Two-step login was switched on just now: log in again'),
})

async function challenge(
  request: RequestContext,
  candidate: Candidate,
  method: LoginMethod,
  { statements = [], evidence }: OpenOptions,
): Promise<Problem> {
  const { user } = candidate
  const ctx = loginContext(request, candidate)
  const secret = base64url(randomBytes(32))
  const row = {
    tenant_id: user.tenant_id,
    hash: await sha256(secret),
    user_id: user.id,
    method,
    password_mark: await passwordMark(user.password_hash),
    expires_at: iso(request.now + CHALLENGE_MS),
  }
  await commit(ctx, {
    statements: [...statements, ctx.db.insert(mfaChallenges).values(row)],
    result: undefined,
    audit: {
      action: 'mfa.challenge',
      resource: 'user',
      resource_id: user.id,
      after: { ...evidence, method },
    },
  })
  return problem.unauthorized('mfa_required', 'A second factor is needed', {
    challenge: secret,
    expires_in: CHALLENGE_MS / 1000,
    methods: ['totp', 'recovery_code'],
  })
}

/** By which a challenge knows that the password is still the one that was given. */
export function passwordMark(passwordHash: UserRow['password_hash']): Promise<string> {
  return sha256(passwordHash ?? '')
}
