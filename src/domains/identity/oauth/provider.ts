import { base64url, utf8 } from '../../../lib/encoding'
import { describeError, log } from '../../../lib/log'
import { type Problem, problem } from '../../../lib/problem'
import type { Identity } from './identity'

/** What a login at a provider is asked with (RFC 6749, 4.1.1; RFC 7636; OpenID Connect Core, 3.1.2.1). */
export type Asking = {
  redirectUri: string
  state: string
  nonce: string
  verifier: string
  /** Milliseconds since 1970. */
  now: number
}

/** What came back from the provider by way of the browser. */
export type Returned = Omit<Asking, 'state'> & {
  code: string
  /** RFC 9207. */
  iss: string | undefined
}

/** A place where people log in; one adapter speaks OpenID Connect, one GitHub's own OAuth. */
export interface Provider {
  /** Where the browser goes to log in. */
  authorizationUrl(asking: Asking): Promise<string>
  /** Who logged in. 401 `oauth_refused` for a code or a token that does not hold, 502 where the provider fails. */
  identify(returned: Returned): Promise<Identity>
}

/** The name and value of the two parameters of PKCE, which no provider is asked without. */
export async function challengeOf(verifier: string): Promise<Record<string, string>> {
  const digest = await crypto.subtle.digest('SHA-256', utf8(verifier))
  return { code_challenge: base64url(new Uint8Array(digest)), code_challenge_method: 'S256' }
}

/** 401 where a code or a token of the provider does not hold; the log says more than the answer. */
export function oauthRefused(message: string, cause?: unknown): Problem {
  log.warn('oauth_refused', { reason: message, cause: cause === undefined ? null : describeError(cause) })
  return problem.unauthorized('oauth_refused', message)
}
