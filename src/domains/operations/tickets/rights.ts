import { actingUser, type Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { type Problem, problem } from '../../../lib/problem'
import { type TicketRow, tickets } from './table'

// Who opened a ticket, and who works on it, see it; who holds `tickets:admin` sees every one, and works on every one.

type Parties = Pick<TicketRow, 'requester_id' | 'assignee_id'>

export const isStaff = ({ principal }: Pick<Context, 'principal'>): boolean =>
  principal.scopes.has('tickets:admin')

/** The caller as a user of this tenant; null for one who comes from another, and for keys of nobody. */
export const selfOf = (ctx: Context): string | null => (ctx.impersonator === null ? actingUser(ctx) : null)

export function mayWork(ctx: Context, { assignee_id }: Pick<Parties, 'assignee_id'>): boolean {
  return isStaff(ctx) || (assignee_id !== null && assignee_id === selfOf(ctx))
}

export const mayRead = (ctx: Context, row: Parties): boolean =>
  mayWork(ctx, row) || row.requester_id === selfOf(ctx)

/** A ticket that the caller may read; 404 for any other. */
export async function readable(ctx: Context, id: string): Promise<TicketRow> {
  const row = await find(ctx, tickets, id)
  if (!row || !mayRead(ctx, row)) throw problem.notFound('ticket', id)
  return row
}

/** Asked before a stored answer is given again: the ticket may have gone to others meanwhile. */
export const stillReadable = async (ctx: Context, { id = '' }: Record<string, string>): Promise<void> => {
  await readable(ctx, id)
}

/** The refusal of what only those may do who work on a ticket. */
export function notYours(what: string): Problem {
  return problem('insufficient_scope', `${what} is for who works on the ticket, or holds tickets:admin`, {
    details: { required: ['tickets:admin'], missing: 'tickets:admin' },
  })
}
