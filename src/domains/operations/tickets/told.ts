import type { NewEvent } from '../../../data/commit'
import { eventOf } from '../../events/catalogue'
import type { CommentRow, TicketRow } from './table'

/** A ticket as verbs answer it; its number in the database is nobody's business. */
export type Shown = Omit<TicketRow, 'seq'>

const TOLD = ['subject', 'status', 'priority', 'requester_id', 'assignee_id'] as const

type Told = Pick<TicketRow, (typeof TOLD)[number]>

/** What the audit log keeps of a ticket. */
export const audited = ({ subject, status, priority, requester_id, assignee_id }: Told): Told => ({
  ...{ subject, status, priority, requester_id, assignee_id },
})

const about = ({ id, number, ...row }: Shown) => ({ ticket_id: id, number, ...audited(row) })

/** Who wants it done is who the event is about: so it is erased with what else is about them. */
const of = ({ requester_id }: Shown, event: NewEvent): NewEvent => ({ ...event, subject: requester_id })

export const created = (row: Shown): NewEvent =>
  of(row, eventOf('ticket.created', { ...about(row), body: row.body, created_at: row.created_at }))

/** The event of a change, with what was there before; none where nothing is different. */
export function updated(before: Shown, after: Shown): NewEvent[] {
  const previous = Object.fromEntries(
    [...TOLD, 'body' as const].flatMap((name) =>
      before[name] === after[name] ? [] : [[name, before[name]]],
    ),
  )
  if (Object.keys(previous).length === 0) return []
  const { updated_at } = after
  return [of(after, eventOf('ticket.updated', { ...about(after), previous, updated_at }))]
}

export function commented(row: Shown, { id: comment_id, author_id, body, ...comment }: CommentRow): NewEvent {
  const { internal, created_at } = comment
  const said = { comment_id, author_id, body, internal, created_at }
  return of(row, eventOf('ticket.commented', { ...about(row), ...said }))
}
