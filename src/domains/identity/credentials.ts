import type { RequestContext } from '../../data/context'
import { problem } from '../../lib/problem'
import { callerByKey } from './api-keys/verify'
import { type KnownCaller, recall, TokenCaller } from './callers'
import { callerByIssuedToken } from './issuers/standing'
import { callerByToken } from './sessions/standing'

/** The credential in an Authorization header; null without one, 401 where it is no bearer's. */
export function bearerOf(header: string | null): string | null {
  if (header === null) return null
  // Nearly every header is written like this, and the expression takes its time over a long one.
  const plain = header.startsWith('Bearer ') && !header.includes(' ', 7)
  const token = plain ? header.slice(7) : /^Bearer +([^\s]+)\s*$/i.exec(header)?.[1]
  if (!token) throw problem.unauthorized('invalid_token', 'Authorization must be: Bearer <token>')
  return token
}

/**
 * Who a token or key stands for, whatever became of it since; 401 where it is none of ours. `named` is the tenant that the
 * caller names, where a token of the tenant's own issuer counts.
 */
export function callerByCredential(
  request: RequestContext,
  credential: string,
  named: string | null,
): KnownCaller | Promise<KnownCaller> {
  if (credential.startsWith('sk_')) return callerByKey(request, credential)
  const known = recall(request.env, credential)
  if (known instanceof TokenCaller) return callerByToken(request, credential, known)
  return callerByIssuedToken(request, credential, named) ?? callerByToken(request, credential)
}
