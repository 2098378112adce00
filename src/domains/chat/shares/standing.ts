import { sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { inTeam } from '../../tenancy/teams/members'
import type { ChatRow } from '../chats/table'
import { type Caller, mayEnter } from '../room/caller'
import { chatShares } from './table'

/** What somebody may do in a chat, each more than the one before; who has `chats:admin` may do what the owner may. */
const LEVELS = ['viewer', 'editor', 'owner'] as const
export type Level = (typeof LEVELS)[number]

/** The most that shares allow a user, and when the last of them ends; null for never. */
export type Grant = { role: 'viewer' | 'editor'; until: string | null }

/** What a chat’s public link allows now, by the hash of its token; null where it has ended, or its tenant does not stand. */
export async function grantOfLink(ctx: Context, chatId: string, hash: string): Promise<Grant | null> {
  const rows = await ctx.db.all<Grant>(sql`
    select s.role as role, s.expires_at as until
    from chat_shares as s join tenants as t on t.id = s.tenant_id and t.status = 'active'
    where s.tenant_id = ${ctx.tenant.id} and s.chat_id = ${chatId} and s.subject = 'public'
      and s.token_hash = ${hash} and (s.expires_at is null or s.expires_at > ${iso(ctx.now)})`)
  return rows[0] ?? null
}

type Asker = Pick<Caller, 'user_id' | 'scopes'>

/** Who is no user (a key that the platform made) can still be one of the tenant. */
export const userOf = ({ user_id }: Pick<Caller, 'user_id'>): string => user_id ?? ''

/** What a chat’s shares allow each of the users now; who is missing may do nothing. */
export async function grantsOf(
  ctx: Context,
  chatId: string,
  userIds: readonly string[],
): Promise<Map<string, Grant>> {
  const rows = await ctx.db.all<Grant & { user_id: string }>(sql`
    select u.value as user_id, s.role as role, s.expires_at as until
    from chat_shares as s cross join json_each(${JSON.stringify([...new Set(userIds)])}) as u
    where s.tenant_id = ${ctx.tenant.id} and s.chat_id = ${chatId}
      and (s.expires_at is null or s.expires_at > ${iso(ctx.now)})
      and (s.subject = 'tenant' or s.subject = 'user:' || u.value
        or (s.subject glob 'team:*' and ${inTeam(ctx, sql`substr(s.subject, 6)`, sql`u.value`)}))`)
  const grants = new Map<string, Grant>()
  for (const { user_id, role, until } of rows) {
    const before = grants.get(user_id)
    const later = before && (before.until === null || (until !== null && before.until > until))
    grants.set(user_id, {
      role: before?.role === 'editor' ? 'editor' : role,
      until: later ? before.until : until,
    })
  }
  return grants
}

/**
 * Lets in who may do at least that much in the chat, and says by which share; null for the owner. 404 where the chat is
 * not there for the caller, 403 `chat_role_required` where it is shared for less.
 */
export async function enter(
  ctx: Context,
  caller: Asker,
  chat: ChatRow,
  required: Level = 'viewer',
): Promise<Grant | null> {
  if (mayEnter(caller, chat.user_id)) return null
  const user = userOf(caller)
  const grant = (await grantsOf(ctx, chat.id, [user])).get(user)
  if (!grant) throw problem.notFound('chat', chat.id)
  if (LEVELS.indexOf(grant.role) < LEVELS.indexOf(required))
    throw problem('chat_role_required', `The chat is shared with you as its ${grant.role} alone`, {
      details: { required, role: grant.role },
    })
  return grant
}

/** The users with whom a chat is shared by name. */
export async function namedIn(ctx: Context, chatId: string): Promise<string[]> {
  const rows = await ctx.db.all<{ subject: string }>(sql`
    select subject from chat_shares
    where tenant_id = ${ctx.tenant.id} and chat_id = ${chatId} and subject glob 'user:*'`)
  return rows.map(({ subject }) => subject.slice('user:'.length))
}

/** The statement that ends all shares of a chat that is deleted. */
export const withoutShares = (ctx: Context, chatId: string) =>
  ctx.db
    .delete(chatShares)
    .where(sql`${chatShares.tenant_id} = ${ctx.tenant.id} and ${chatShares.chat_id} = ${chatId}`)
