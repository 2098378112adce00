import { and, asc, eq, gt, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { revise } from '../../../data/revise'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { sayTicket } from './channel'
import { mayRead, mayWork, notYours, readable, selfOf } from './rights'
import type { CreateComment } from './schema'
import { standing } from './service'
import { type CommentRow, ticketComments, tickets } from './table'
import { commented, updated } from './told'

/** What was said about a ticket that the caller may read, oldest first; internal notes are for who works on it. */
export async function listComments(
  ctx: Context,
  ticketId: string,
  input: { limit: number; cursor?: string | undefined },
): Promise<Page<CommentRow>> {
  const seesAll = mayWork(ctx, await readable(ctx, ticketId))
  const list = `ticket comments:${ctx.tenant.id}:${ticketId}:${seesAll}`
  return pageOf(list, input, (after, limit) =>
    ctx.db
      .select()
      .from(ticketComments)
      .where(
        and(
          eq(ticketComments.tenant_id, ctx.tenant.id),
          eq(ticketComments.ticket_id, ticketId),
          // Spelled out, so that SQLite sees that the partial index serves.
          seesAll ? undefined : sql`${ticketComments.internal} = 0`,
          after ? gt(ticketComments.id, after.id) : undefined,
        ),
      )
      .orderBy(asc(ticketComments.id))
      .limit(limit),
  )
}

/**
 * Says something about a ticket. What its requester says opens one again that waits for that, or was solved. 404, 409 where
 * it is closed.
 */
export async function addComment(ctx: Context, ticketId: string, input: CreateComment): Promise<CommentRow> {
  const self = selfOf(ctx)
  const now = iso(ctx.now)
  const comment: CommentRow = {
    ...{ tenant_id: ctx.tenant.id, ticket_id: ticketId, id: newId(ctx.now) },
    ...{ author_id: self, ...input, created_at: now },
  }
  // A comment is none of the changes that If-Match speaks of.
  const free = { ...ctx, ifMatch: undefined }
  const row = await revise(
    free,
    tickets,
    'ticket',
    ticketId,
    (before) => {
      if (!mayRead(ctx, before)) throw problem.notFound('ticket', ticketId)
      if (input.internal && !mayWork(ctx, before)) throw notYours('An internal note')
      if (before.status === 'closed')
        throw problem('conflict', 'The ticket is closed; whoever works on it can reopen it by its status')
      const reopens =
        self === before.requester_id && !input.internal && ['pending', 'solved'].includes(before.status)
      const set = standing(before, reopens ? 'open' : undefined, now)
      const after = { ...before, ...set, updated_at: now }
      return {
        set,
        statements: [ctx.db.insert(ticketComments).values(comment)],
        events: [commented(after, comment), ...updated(before, after)],
      }
    },
    () => comment,
  )
  if (!input.internal) ctx.defer(sayTicket(ctx, row, comment))
  return comment
}
