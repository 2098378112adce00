import { actingUser, type Context } from '../../data/context'
import { problem } from '../../lib/problem'
import type { Credential } from '../identity/recheck'

/** Who listens to a channel, and the scope without which there is nothing to hear; small enough to lie beside a socket. */
export type Listener = Credential & { scope: string }

/** The context's caller as one whose credential can be looked at again. */
export function credentialOf(ctx: Context): Credential {
  const { principal, impersonator } = ctx
  if (principal.kind !== 'user' && principal.kind !== 'api_key')
    throw problem('user_required', 'Only users and API keys can listen')
  const session_id = principal.kind === 'user' ? principal.session_id : null
  return {
    key: `${principal.kind}:${principal.id}:${session_id ?? ''}`,
    kind: principal.kind,
    id: principal.id,
    user_id: actingUser(ctx),
    session_id,
    role: principal.role,
    ...(impersonator ? { impersonator } : {}),
  }
}
