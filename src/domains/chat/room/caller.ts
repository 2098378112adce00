import { actingUser, type Context, type Impersonator } from '../../../data/context'
import { problem } from '../../../lib/problem'
import type { KeyLimits } from '../../identity/api-keys/limits'

/** Who reads or writes a chat, as the object knows and re-checks it; small enough to lie beside a sleeping socket. */
export type Caller = {
  /** Names the credential. */
  key: string
  kind: 'user' | 'api_key'
  /** Of the user, or of the API key. */
  id: string
  /** The person; null for a key that the platform made. */
  user_id: string | null
  session_id: string | null
  role: string
  /** Of an API key: its own limits. Absent beside sockets that were opened before there were any. */
  limits?: KeyLimits | null
  /** Of who has the chat’s public link, and is nobody else: the hash of its token. */
  link?: string
  /** Of the scopes only those of chats. */
  scopes: string[]
  /** Of somebody from another tenant: who that is at home. */
  impersonator?: Impersonator
}

/** A context in which a public link is the caller. */
export type LinkContext = Context & { link: string }

/** Who has the link reads the chat. */
const linkCaller = (link: string): Caller => ({
  ...{ key: `link:${link}`, kind: 'api_key', id: '', link, user_id: null, session_id: null },
  ...{ role: '', scopes: ['chats:read'] },
})

/** The context’s caller for the chat’s object. */
export function callerOf(ctx: Context & { link?: string }): Caller {
  if (ctx.link !== undefined) return linkCaller(ctx.link)
  const { principal } = ctx
  if (principal.kind !== 'user' && principal.kind !== 'api_key')
    throw problem('user_required', 'A chat is for users and API keys')
  const session = principal.kind === 'user' ? principal.session_id : null
  return {
    key: `${principal.kind}:${principal.id}:${session ?? ''}`,
    kind: principal.kind,
    id: principal.id,
    user_id: actingUser(ctx),
    session_id: session,
    role: principal.role,
    ...(principal.kind === 'api_key' && principal.limits ? { limits: principal.limits } : {}),
    scopes: chatScopes(principal.scopes),
    ...(ctx.impersonator ? { impersonator: ctx.impersonator } : {}),
  }
}

/** The user of the tenant behind a caller; null for who acts here from elsewhere, and for a key that is nobody’s. */
export const personOf = ({
  user_id,
  impersonator,
}: Pick<Caller, 'user_id' | 'impersonator'>): string | null => (impersonator ? null : user_id)

export const chatScopes = (scopes: Iterable<string>): string[] =>
  [...scopes].filter((scope) => scope.startsWith('chats:'))

/** Whether the chat of `owner` is there for the caller at all; to all others it does not exist. */
export function mayEnter(caller: Pick<Caller, 'user_id' | 'scopes'>, owner: string): boolean {
  return caller.user_id === owner || caller.scopes.includes('chats:admin')
}
