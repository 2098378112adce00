import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { describeError, log } from '../../../lib/log'
import { channelKind, publish, type Said } from '../../realtime/channels'
import { readable } from './rights'
import * as schema from './schema'
import { type CommentRow, tickets } from './table'
import type { Shown } from './told'

// `tickets:{id}` says how a ticket stands: to who comes, and whenever that changes or somebody comments. Internal notes are
// not said: who opened the ticket may be listening.

const update = (row: Shown, comment: CommentRow | null): Said => ({
  type: 'ticket_update',
  data: { ticket: schema.Ticket.parse(row), comment: comment && schema.TicketComment.parse(comment) },
})

channelKind({
  name: 'tickets',
  scope: 'tickets:read',
  // Who may read every ticket is asked for that right whenever something is said, others whether it is still theirs.
  scopeFor: (ctx) => (ctx.principal.scopes.has('tickets:admin') ? 'tickets:admin' : 'tickets:read'),
  greet: async (ctx, id) => update(await readable(ctx, id), null),
  stillMay: async (ctx, id, { scope, user_id, impersonator }) => {
    if (scope === 'tickets:admin') return true
    const row = await find(ctx, tickets, id)
    if (!row || impersonator || user_id === null) return false
    return row.requester_id === user_id || row.assignee_id === user_id
  },
})

/** Says how a ticket stands now, with a comment that was made, to who listens; never fails. */
export async function sayTicket(
  { env, tenant }: Context,
  row: Shown,
  comment: CommentRow | null,
): Promise<void> {
  try {
    await publish(env, tenant.id, `tickets:${row.id}`, [update(row, comment)])
  } catch (error) {
    log.warn('ticket_not_told', { tenant_id: tenant.id, ticket_id: row.id, cause: describeError(error) })
  }
}
