import { and, desc, eq, gt, isNull, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { pageOf } from '../../../data/page'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { ending } from '../knowledge'
import { sessions } from './table'

type SessionView = Omit<typeof sessions.$inferSelect, 'tenant_id' | 'ended_at'> & { is_current: boolean }

/** The user and session of the caller; 403 for an API key, which has none. */
export function ownSession(ctx: Context): { user_id: string; session_id: string; email: string } {
  if (ctx.principal.kind !== 'user' || ctx.principal.session_id === null)
    throw problem('user_required', 'This is for users, not for API keys')
  const { id, session_id, email } = ctx.principal
  return { user_id: id, session_id, email }
}

/** Where the caller is logged in: live sessions, newest first. */
export async function listSessions(
  ctx: Context,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<SessionView>> {
  const own = ownSession(ctx)
  return pageOf(`sessions:${ctx.tenant.id}:${own.user_id}`, input, async (after, limit) => {
    const rows = await ctx.db
      .select()
      .from(sessions)
      .where(
        and(
          eq(sessions.tenant_id, ctx.tenant.id),
          eq(sessions.user_id, own.user_id),
          isNull(sessions.ended_at),
          gt(sessions.expires_at, iso(ctx.now)),
          after ? lt(sessions.id, after.id) : undefined,
        ),
      )
      .orderBy(desc(sessions.id))
      .limit(limit)
    return rows.map((row) => ({ ...row, is_current: row.id === own.session_id }))
  })
}

/** Ends one of the caller's sessions; its tokens stop here at once and everywhere within ten seconds. */
export function endSession(ctx: Context, id: string): Promise<undefined> {
  const own = ownSession(ctx)
  const end = ctx.db
    .update(sessions)
    .set({ ended_at: iso(ctx.now) })
    .where(
      and(
        eq(sessions.tenant_id, ctx.tenant.id),
        eq(sessions.id, id),
        eq(sessions.user_id, own.user_id),
        isNull(sessions.ended_at),
      ),
    )
  return commit(ctx, {
    statements: [{ statement: end, otherwise: problem.notFound('session', id) }],
    result: undefined,
    audit: { action: 'session.end', resource: 'session', resource_id: id },
    tell: [ending('session', id)],
  })
}

/** Ends the session of the caller's own token. */
export function logout(ctx: Context): Promise<undefined> {
  return endSession(ctx, ownSession(ctx).session_id)
}

/** Ends every session of the caller. */
export function logoutAll(ctx: Context): Promise<undefined> {
  const own = ownSession(ctx)
  const mine = and(
    eq(sessions.tenant_id, ctx.tenant.id),
    eq(sessions.user_id, own.user_id),
    isNull(sessions.ended_at),
  )
  return commit(ctx, {
    statements: [
      ctx.db
        .update(sessions)
        .set({ ended_at: iso(ctx.now) })
        .where(mine),
    ],
    result: undefined,
    audit: { action: 'session.end_all', resource: 'user', resource_id: own.user_id },
    tell: [{ kind: 'session', from: sql`${sessions} where ${mine}` }],
  })
}
