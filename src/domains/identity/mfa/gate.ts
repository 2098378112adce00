import type { RequestContext } from '../../../data/context'
import { type Candidate, type OpenOptions, openSession, refuseStanding, type Tokens } from '../sessions/open'

/** By what a user logged in. */
export type LoginMethod = 'password' | 'oauth' | 'passkey'

/** Lets who proved to be the user in: 403 where the tenant or the user is suspended, else a session. */
export function finishLogin(
  request: RequestContext,
  candidate: Candidate,
  method: LoginMethod,
  options: OpenOptions = {},
): Promise<Tokens> {
  refuseStanding(candidate)
  return openSession(request, candidate, { ...options, evidence: { ...options.evidence, method } })
}
