import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, paging, params, query, returns, returnsPage } from '../../../http/route'
import { allow } from '../../tenancy/authorize'
import { addComment, listComments } from './comments'
import { listTickets } from './list'
import { stillReadable } from './rights'
import { CreateComment, CreateTicket, Ticket, TicketComment, ticketFilters, UpdateTicket } from './schema'
import { createTicket, getTicket, updateTicket } from './service'

const tag = 'Tickets'
const id = params({ id: Id })
const again = stillReadable

export const ticketRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Open a ticket', {
      tag,
      description: 'One’s own. With `tickets:admin` also for another user, and with who works on it.',
    }),
    allow('tickets:write'),
    body(CreateTicket, {
      example: { subject: 'The invoice lacks our address', body: 'Can you send it again?', priority: 'high' },
    }),
    returns(201, Ticket),
    async (c) => c.var.reply(await createTicket(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List tickets, newest first', {
      tag,
      description: 'Those that the caller opened or works on; with `tickets:admin` the tenant’s.',
    }),
    allow('tickets:read'),
    query(ticketFilters),
    returnsPage(Ticket),
    async (c) => c.var.reply(await listTickets(c.var.ctx, c.req.valid('query'))),
  )
  .get('/:id', doc('Read a ticket', { tag }), allow('tickets:read'), id, returns(200, Ticket), async (c) =>
    c.var.reply(await getTicket(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change a ticket', {
      tag,
      description:
        'Whoever opened it may set its status to `solved`, and to `open` again until it is closed; all else is for who works on it, and for `tickets:admin`.',
      errors: ['conflict'],
      again,
    }),
    allow('tickets:write'),
    id,
    body(UpdateTicket, { example: { status: 'solved' } }),
    returns(200, Ticket),
    async (c) => c.var.reply(await updateTicket(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .get(
    '/:id/comments',
    doc('List what was said about a ticket, oldest first', {
      tag,
      description: 'Internal notes are shown to who works on it, and to `tickets:admin`.',
    }),
    allow('tickets:read'),
    id,
    query(paging),
    returnsPage(TicketComment),
    async (c) => c.var.reply(await listComments(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .post(
    '/:id/comments',
    doc('Say something about a ticket', {
      tag,
      description: 'What its requester says opens a pending or solved ticket again.',
      errors: ['conflict'],
      again,
    }),
    allow('tickets:write'),
    id,
    body(CreateComment, { example: { body: 'It is on its way.' } }),
    returns(201, TicketComment, { location: ({ ticket_id }) => `/api/v1/tickets/${ticket_id}/comments` }),
    async (c) => c.var.reply(await addComment(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
