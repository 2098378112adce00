import { and, desc, eq, gt, lt, lte, or, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { iso } from '../../../lib/ids'
import type { InvitationFilters } from './schema'
import { type InvitationView, view } from './service'
import { invitations } from './table'

/** The tenant's invitations, newest first; the open ones by when their last mail was written, which says when they expire. */
export function listInvitations(
  ctx: Context,
  { limit, cursor, status }: InvitationFilters,
): Promise<Page<InvitationView>> {
  const list = `invitations:${ctx.tenant.id}:${status ?? ''}`
  const mine = eq(invitations.tenant_id, ctx.tenant.id)
  const read = async (where: SQL | undefined, order: SQL[], most: number) => {
    const rows = await ctx.db
      .select()
      .from(invitations)
      .where(and(mine, where))
      .orderBy(...order)
      .limit(most)
    return rows.map((row) => view(ctx, row))
  }
  if (status === 'pending' || status === 'expired') {
    const is = status === 'pending' ? gt : lte
    const such = and(
      is(invitations.expires_at, iso(ctx.now)),
      sql`accepted_at is null and revoked_at is null`,
    )
    const order = [desc(invitations.expires_at), desc(invitations.id)]
    return pageOf(
      list,
      { limit, cursor },
      (after, most) =>
        read(and(such, after ? expiresBefore(String(after.key), after.id) : undefined), order, most),
      (row) => row.expires_at,
    )
  }
  const such = status && eq(invitations.state, status)
  return pageOf(list, { limit, cursor }, (after, most) =>
    read(and(such, after ? lt(invitations.id, after.id) : undefined), [desc(invitations.id)], most),
  )
}

// The range beside it is what SQLite seeks by: it takes none out of an OR.
const expiresBefore = (key: string, id: string) =>
  and(
    lte(invitations.expires_at, key),
    or(lt(invitations.expires_at, key), and(eq(invitations.expires_at, key), lt(invitations.id, id))),
  )
