import { and, eq, gt, isNull, lte, or, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { find } from '../../../data/revise'
import { iso } from '../../../lib/ids'
import { type Problem, problem } from '../../../lib/problem'
import { isUser } from '../../identity/users/exists'
import { isTeam } from '../../tenancy/teams/service'
import { type ChatRow, chats } from '../chats/table'
import { removeFromInboxes, tellInboxes } from '../inbox/feed'
import { callerOf, mayEnter } from '../room/caller'
import { linkOf, newToken, PUBLIC } from './link'
import { recheck } from './lost'
import type { PutShare, ShareFilters } from './schema'
import { enter, type Level } from './standing'
import { chatShares, type ShareRow } from './table'

/** A chat is shared with so many at most: each look at somebody’s rights reads them. */
export const MOST_SHARES = 100

/** The chat, for who may do that much in it. */
async function entered(ctx: Context, chatId: string, required: Level): Promise<ChatRow> {
  const chat = await find(ctx, chats, chatId)
  if (!chat) throw problem.notFound('chat', chatId)
  await enter(ctx, callerOf(ctx), chat, required)
  return chat
}

const of = (ctx: Context, chatId: string) =>
  and(eq(chatShares.tenant_id, ctx.tenant.id), eq(chatShares.chat_id, chatId))

const current = (ctx: Context) => or(isNull(chatShares.expires_at), gt(chatShares.expires_at, iso(ctx.now)))

/** How a share is kept under whom it names; null where it names nobody. */
function subjectOf({ user_id, team_id, scope }: ShareFilters): string | null {
  if (user_id !== undefined) return `user:${user_id}`
  if (team_id !== undefined) return `team:${team_id}`
  return scope ?? null
}

/** A share, with its link where the caller may know that. */
async function shown(ctx: Context, share: ShareRow, isOwner: boolean) {
  const { subject, ...row } = share
  const [kind, id = null] = subject.split(':')
  // Who acts here from elsewhere could read on when the right to act is gone.
  const link = isOwner && !ctx.impersonator ? await linkOf(ctx.settings, share) : null
  return {
    ...row,
    token: link?.token ?? null,
    url: link?.url ?? null,
    user_id: kind === 'user' ? id : null,
    team_id: kind === 'team' ? id : null,
    scope: (['tenant', PUBLIC] as const).find((one) => one === kind) ?? null,
  }
}
type Shown = Awaited<ReturnType<typeof shown>>

/** With whom a chat is shared; there are at most MOST_SHARES. */
export async function listShares(ctx: Context, chatId: string): Promise<Page<Shown>> {
  const chat = await entered(ctx, chatId, 'viewer')
  const isOwner = mayEnter(callerOf(ctx), chat.user_id)
  const rows = await ctx.db
    .select()
    .from(chatShares)
    .where(and(of(ctx, chatId), current(ctx)))
    .orderBy(chatShares.subject)
  const items = await Promise.all(rows.map((row) => shown(ctx, row, isOwner)))
  return { items, next_cursor: null }
}

/** Tries to share before a link that changes all the while is left as it is. */
const ATTEMPTS = 5

/** Shares a chat, or changes how it is shared. 404, 403 `chat_role_required` for who is not the owner. */
export async function putShare(ctx: Context, chatId: string, input: PutShare): Promise<Shown> {
  const chat = await entered(ctx, chatId, 'owner')
  const meanwhile = problem('conflict', 'The link was changed meanwhile; send the request again')
  for (let attempt = 1; ; attempt++) {
    try {
      return await share(ctx, chat, input, meanwhile)
    } catch (error) {
      if (error !== meanwhile || attempt === ATTEMPTS) throw error
    }
  }
}

async function share(ctx: Context, chat: ChatRow, input: PutShare, meanwhile: Problem): Promise<Shown> {
  const chatId = chat.id
  const now = iso(ctx.now)
  const expires_at = input.expires_at ?? null
  if (input.user_id === chat.user_id)
    throw problem.invalid({ user_id: 'must be another than whose chat it is' })
  if (expires_at !== null && expires_at <= now) throw problem.invalid({ expires_at: 'must be in the future' })
  // As PutShare has made sure.
  const subject = subjectOf(input) as string
  const mine = and(of(ctx, chatId), eq(chatShares.subject, subject))
  const before = await ctx.db.select().from(chatShares).where(mine).get()
  const isPublic = subject === PUBLIC
  if (isPublic && ctx.impersonator)
    throw problem('forbidden_while_acting', 'A public link is not for who acts in a tenant of others')
  // One that has ended is not opened again.
  const kept = before && (before.expires_at === null || before.expires_at > now) ? before : null
  const { token, token_hash } =
    kept ?? (isPublic ? await newToken(ctx, chatId) : { token: null, token_hash: null })
  const row: ShareRow = {
    ...{ token, token_hash },
    ...{ tenant_id: ctx.tenant.id, chat_id: chatId, subject, role: input.role, expires_at },
    ...{ created_by: actingUser(ctx), created_at: now, updated_at: now },
    ...(before && { created_by: before.created_by, created_at: before.created_at }),
  }
  const result = await shown(ctx, row, true)
  const { role, updated_at } = row
  const target = { target: [chatShares.tenant_id, chatShares.chat_id, chatShares.subject] }
  const own = and(eq(chats.tenant_id, ctx.tenant.id), eq(chats.id, chatId))
  await commit(ctx, {
    statements: [
      {
        holds: sql`exists (select 1 from ${chats} where ${own})`,
        otherwise: problem.notFound('chat', chatId),
      },
      ...whom(ctx, input),
      // Two who share at once get one link, and one that was revoked just now does not come back.
      ...(isPublic ? [{ holds: isStill(ctx, chatId, before), otherwise: meanwhile }] : []),
      ctx.db.delete(chatShares).where(and(of(ctx, chatId), lte(chatShares.expires_at, now))),
      ctx.db
        .insert(chatShares)
        .values(row)
        .onConflictDoUpdate({ ...target, set: { role, expires_at, token, token_hash, updated_at } }),
      {
        holds: sql`(select count(*) from ${chatShares} where ${of(ctx, chatId)}) <= ${MOST_SHARES}`,
        otherwise: problem('conflict', `A chat is shared with ${MOST_SHARES} at most`, {
          details: { limit: MOST_SHARES },
        }),
      },
    ],
    result,
    secret: isPublic,
    audit: {
      ...{ action: 'chat.share', resource: 'chat', resource_id: chatId },
      ...(before && { before: audited(before) }),
      after: audited(row),
    },
  })
  // What it allowed before may be more; who had just lost it comes in again.
  await recheck(ctx, [chatId])
  tellInboxes(ctx, chatId)
  return result
}

/** The public link of a chat is the one that was read, or there is none as there was none. */
function isStill(ctx: Context, chatId: string, before: ShareRow | undefined) {
  const hashes = sql`(select token_hash from ${chatShares}
    where tenant_id = ${ctx.tenant.id} and chat_id = ${chatId} and subject = ${PUBLIC})`
  return sql`${hashes} is ${before?.token_hash ?? null}`
}

const audited = ({ subject, role, expires_at }: ShareRow) => ({ with: subject, role, expires_at })

/** Whom it is shared with is one of the tenant’s own. */
function whom(ctx: Context, { user_id, team_id }: ShareFilters) {
  const checks = []
  if (user_id !== undefined)
    checks.push({
      holds: isUser(ctx, user_id),
      otherwise: problem.invalid({ user_id: 'must be the id of a user' }),
    })
  if (team_id !== undefined)
    checks.push({
      holds: isTeam(ctx, team_id),
      otherwise: problem.invalid({ team_id: 'must be the id of a team' }),
    })
  return checks
}

/** Ends a share, or all of a chat’s where none is named. 404, 403 `chat_role_required` for who is not the owner. */
export async function deleteShares(ctx: Context, chatId: string, input: ShareFilters): Promise<undefined> {
  await entered(ctx, chatId, 'owner')
  const subject = subjectOf(input)
  const wanted = and(of(ctx, chatId), subject === null ? undefined : eq(chatShares.subject, subject))
  const rows = await ctx.db.select().from(chatShares).where(wanted)
  if (subject !== null && rows.length === 0) throw problem.notFound('share', subject)
  if (rows.length === 0) return
  const statement = ctx.db.delete(chatShares).where(wanted)
  await commit(ctx, {
    // Only who ended them is on record with it.
    statements: [{ statement, otherwise: problem.notFound('share', subject ?? chatId) }],
    result: undefined,
    audit: {
      ...{ action: 'chat.unshare', resource: 'chat', resource_id: chatId },
      before: { shares: rows.map(audited) },
    },
  })
  await recheck(ctx, [chatId])
  const named = rows.flatMap(({ subject }) => (subject.startsWith('user:') ? subject.slice(5) : []))
  removeFromInboxes(ctx, chatId, named)
}
