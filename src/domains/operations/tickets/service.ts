import { eq, sql } from 'drizzle-orm'
import { type Check, commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { revise } from '../../../data/revise'
import { defined } from '../../../lib/defined'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { isActiveUser, isUser } from '../../identity/users/exists'
import { sayTicket } from './channel'
import { isStaff, mayRead, mayWork, notYours, readable, selfOf } from './rights'
import type { CreateTicket, UpdateTicket } from './schema'
import { type TicketRow, ticketNumbers, tickets } from './table'
import { audited, created, type Shown, updated } from './told'
import { findByWords } from './words'

/** Opens a ticket: one’s own, or with `tickets:admin` somebody else’s. 422 where one of the users is none. */
export async function createTicket(ctx: Context, input: CreateTicket): Promise<Shown> {
  const self = selfOf(ctx)
  const requester_id = input.requester_id ?? self
  if (requester_id === null)
    throw problem.invalid({ requester_id: 'must be given: the caller is none of this tenant’s users' })
  if (!isStaff(ctx)) {
    if (requester_id !== self) throw notYours('Opening a ticket for somebody else')
    if (input.assignee_id !== null) throw notYours('Assigning a ticket')
    if (input.status !== 'open') throw notYours('A ticket that is not open from the beginning')
  }
  const now = iso(ctx.now)
  const row: Shown = {
    tenant_id: ctx.tenant.id,
    id: newId(ctx.now),
    number: await nextNumber(ctx),
    ...input,
    requester_id,
    ...timesOf({ solved_at: null }, input.status, now),
    ...{ version: 1, created_at: now, updated_at: now },
  }
  await commit(ctx, {
    statements: [
      ...parties(ctx, { requester_id, assignee_id: input.assignee_id }),
      ctx.db.insert(tickets).values(row),
      findByWords(ctx, row),
    ],
    result: row,
    audit: {
      action: 'ticket.create',
      resource: 'ticket',
      resource_id: row.id,
      after: { number: row.number, ...audited(row) },
    },
    events: [created(row)],
  })
  return row
}

/**
 * The tenant’s next number, by a batch of its own: the answer that an idempotent request stores names it. Of a ticket that
 * is then not made, the number stays unused.
 */
async function nextNumber(ctx: Context): Promise<number> {
  let last = 0
  const own = ctx.db
    .select({ last: ticketNumbers.last })
    .from(ticketNumbers)
    .where(eq(ticketNumbers.tenant_id, ctx.tenant.id))
  await commit(
    { ...ctx, idempotency: null },
    {
      statements: [
        ctx.db
          .insert(ticketNumbers)
          .values({ tenant_id: ctx.tenant.id, last: 1 })
          .onConflictDoUpdate({
            target: ticketNumbers.tenant_id,
            set: { last: sql`${ticketNumbers.last} + 1` },
          }),
      ],
      result: undefined,
      reads: {
        statements: [own],
        seen: ([rows]) => {
          last = (rows as { last: number }[])[0]?.last ?? 0
        },
      },
    },
  )
  return last
}

/** Users who are named must be there as it is written; who is to work on it must not be suspended. */
function parties(
  ctx: Context,
  {
    requester_id,
    assignee_id,
  }: { requester_id?: string | undefined; assignee_id?: string | null | undefined },
): Check[] {
  const checks: Check[] = []
  if (requester_id !== undefined)
    checks.push({
      holds: isUser(ctx, requester_id),
      otherwise: problem.invalid({ requester_id: 'must be the id of a user of this tenant' }),
    })
  if (assignee_id)
    checks.push({
      holds: isActiveUser(ctx, assignee_id),
      otherwise: problem.invalid({ assignee_id: 'must be the id of a user of this tenant who is active' }),
    })
  return checks
}

/** When a ticket came to stand so; a solved one that is closed was solved all the same. */
const timesOf = ({ solved_at }: Pick<TicketRow, 'solved_at'>, status: TicketRow['status'], now: string) => ({
  solved_at: status === 'solved' ? now : status === 'closed' ? solved_at : null,
  closed_at: status === 'closed' ? now : null,
})

/** What a ticket becomes by another status; nothing where it has that already. */
export const standing = (before: Shown, status: TicketRow['status'] | undefined, now: string) =>
  status === undefined || status === before.status ? {} : { status, ...timesOf(before, status, now) }

/** One ticket that the caller may read; 404. */
export const getTicket = (ctx: Context, id: string): Promise<Shown> => readable(ctx, id)

/**
 * Changes a ticket. Who opened it may say that it is solved, and that it is not; all else is for who works on it. 404, 403,
 * 412, or 422 where one of the users is none.
 */
export async function updateTicket(ctx: Context, id: string, input: UpdateTicket): Promise<Shown> {
  let was: Shown | undefined
  const row = await revise(ctx, tickets, 'ticket', id, (before) => {
    if (!mayRead(ctx, before)) throw problem.notFound('ticket', id)
    if (!mayWork(ctx, before)) checkRequester(before, input)
    was = before
    const { status, ...fields } = defined(input)
    const set = { ...fields, ...standing(before, status, iso(ctx.now)) }
    const after: TicketRow = { ...before, ...set, updated_at: iso(ctx.now) }
    const isFoundOtherwise = (['subject', 'body', 'requester_id', 'assignee_id'] as const).some(
      (name) => after[name] !== before[name],
    )
    return {
      set,
      statements: [...parties(ctx, input), ...(isFoundOtherwise ? [findByWords(ctx, after)] : [])],
      audit: {
        action: 'ticket.update',
        resource: 'ticket',
        resource_id: id,
        before: audited(before),
        after: audited(after),
      },
      events: updated(before, after),
    }
  })
  if (was && updated(was, row).length > 0) ctx.defer(sayTicket(ctx, row, null))
  return row
}

/** What is done is for the requester to say; a closed ticket stays closed. */
function checkRequester(before: Shown, { status, ...others }: UpdateTicket): void {
  const [other] = Object.keys(defined(others))
  if (other !== undefined) throw notYours(`Changing ${other}`)
  if (status !== undefined && status !== 'open' && status !== 'solved') throw notYours(`The status ${status}`)
  if (before.status === 'closed')
    throw problem('conflict', 'The ticket is closed; open another, or ask who worked on it to reopen it')
}
