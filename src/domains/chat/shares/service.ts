import { and, eq, gt, isNull, lte, or, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { actingUser, type Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { find } from '../../../data/revise'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { isUser } from '../../identity/users/exists'
import { isTeam } from '../../tenancy/teams/service'
import { type ChatRow, chats } from '../chats/table'
import { callerOf } from '../room/caller'
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

function shown({ subject, ...row }: ShareRow) {
  const [kind, id = null] = subject.split(':')
  return {
    ...row,
    user_id: kind === 'user' ? id : null,
    team_id: kind === 'team' ? id : null,
    scope: kind === 'tenant' ? ('tenant' as const) : null,
  }
}
type Shown = ReturnType<typeof shown>

/** With whom a chat is shared; there are at most MOST_SHARES. */
export async function listShares(ctx: Context, chatId: string): Promise<Page<Shown>> {
  await entered(ctx, chatId, 'viewer')
  const rows = await ctx.db
    .select()
    .from(chatShares)
    .where(and(of(ctx, chatId), current(ctx)))
    .orderBy(chatShares.subject)
  return { items: rows.map(shown), next_cursor: null }
}

/** Shares a chat, or changes how it is shared. 404, 403 `chat_role_required` for who is not the owner. */
export async function putShare(ctx: Context, chatId: string, input: PutShare): Promise<Shown> {
  const chat = await entered(ctx, chatId, 'owner')
  const now = iso(ctx.now)
  const expires_at = input.expires_at ?? null
  if (input.user_id === chat.user_id)
    throw problem.invalid({ user_id: 'must be another than whose chat it is' })
  if (expires_at !== null && expires_at <= now) throw problem.invalid({ expires_at: 'must be in the future' })
  // As PutShare has made sure.
  const subject = subjectOf(input) as string
  const mine = and(of(ctx, chatId), eq(chatShares.subject, subject))
  const before = await ctx.db.select().from(chatShares).where(mine).get()
  const row: ShareRow = {
    ...{ tenant_id: ctx.tenant.id, chat_id: chatId, subject, role: input.role, expires_at },
    ...{ created_by: actingUser(ctx), created_at: now, updated_at: now },
    ...(before && { created_by: before.created_by, created_at: before.created_at }),
  }
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
      ctx.db.delete(chatShares).where(and(of(ctx, chatId), lte(chatShares.expires_at, now))),
      ctx.db
        .insert(chatShares)
        .values(row)
        .onConflictDoUpdate({ ...target, set: { role, expires_at, updated_at } }),
      {
        holds: sql`(select count(*) from ${chatShares} where ${of(ctx, chatId)}) <= ${MOST_SHARES}`,
        otherwise: problem('conflict', `A chat is shared with ${MOST_SHARES} at most`, {
          details: { limit: MOST_SHARES },
        }),
      },
    ],
    result: shown(row),
    audit: {
      ...{ action: 'chat.share', resource: 'chat', resource_id: chatId },
      ...(before && { before: audited(before) }),
      after: audited(row),
    },
  })
  // What it allowed before may be more.
  if (before) await recheck(ctx, [chatId])
  return shown(row)
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
}
