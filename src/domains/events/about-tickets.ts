import * as z from 'zod'
import { AT, ID, kind, OTHER_ID, Time, Uuid } from './kind'

const STATUS = z.enum(['open', 'pending', 'solved', 'closed'])
const PRIORITY = z.enum(['low', 'normal', 'high', 'urgent'])

const TICKET = z.object({
  ticket_id: Uuid,
  number: z.int(),
  subject: z.string(),
  status: STATUS,
  priority: PRIORITY,
  requester_id: Uuid,
  assignee_id: Uuid.nullable(),
})
const TICKET_EXAMPLE = {
  ...{ ticket_id: ID, number: 42, subject: 'The invoice lacks our address' },
  ...{ status: 'open' as const, priority: 'normal' as const, requester_id: OTHER_ID, assignee_id: null },
}

/** The types about tickets. */
export const ABOUT_TICKETS = {
  'ticket.created': kind('A ticket was opened.', TICKET.extend({ body: z.string(), created_at: Time }), {
    ...TICKET_EXAMPLE,
    body: 'Can you send it again?',
    created_at: AT,
  }),
  'ticket.updated': kind(
    'A ticket was changed; `previous` has what was there before, of what is different now.',
    TICKET.extend({ previous: z.record(z.string(), z.string().nullable()), updated_at: Time }),
    { ...TICKET_EXAMPLE, status: 'pending', previous: { status: 'open' }, updated_at: AT },
  ),
  'ticket.commented': kind(
    'Somebody said something about a ticket; `internal` notes are for those who work on it.',
    TICKET.extend({
      comment_id: Uuid,
      author_id: Uuid.nullable(),
      body: z.string(),
      internal: z.boolean(),
      created_at: Time,
    }),
    {
      ...TICKET_EXAMPLE,
      ...{ comment_id: OTHER_ID, author_id: OTHER_ID, body: 'It is on its way.', internal: false },
      created_at: AT,
    },
  ),
} as const
