import { and, eq } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { ownSession } from './service'
import { sessions } from './table'

/** A new way to log in is added only by who logged in himself within this time, not by a session that goes on for days. */
const FRESH_MS = 24 * 3600_000

/** The user and session of the caller; 403 `fresh_login_required` where the login is more than a day ago. */
export async function freshSession(ctx: Context): Promise<ReturnType<typeof ownSession>> {
  const own = ownSession(ctx)
  const row = await ctx.db
    .select({ created_at: sessions.created_at })
    .from(sessions)
    .where(and(eq(sessions.tenant_id, ctx.tenant.id), eq(sessions.id, own.session_id)))
    .get()
  if (!row || row.created_at < iso(ctx.now - FRESH_MS))
    throw problem('fresh_login_required', 'This needs a login of the last 24 hours')
  return own
}
