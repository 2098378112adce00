import * as z from 'zod'
import { createdBetween, Id, paging } from '../../../lib/wire'
import { MOST_WORDS, wantedOf } from '../../../lib/words'
import { PRIORITIES, STATUSES } from './table'

const Status = z.enum(STATUSES, 'must be open, pending, solved or closed')
const Priority = z.enum(PRIORITIES, 'must be low, normal, high or urgent')

const Subject = z
  .string('must be a text')
  .trim()
  .min(1, 'must not be empty')
  .max(200, 'must have at most 200 characters')
  .meta({ example: 'The invoice lacks our address' })

const Text = z
  .string('must be a text')
  .trim()
  .min(1, 'must not be empty')
  .max(20_000, 'must have at most 20,000 characters')

const Body = Text.meta({ example: 'Invoice 1042 went out without it. Can you send it again?' })

export const Ticket = z
  .object({
    id: Id,
    number: z.int().meta({ description: 'What people call it by; counts within the tenant.', example: 42 }),
    subject: z.string(),
    body: z.string(),
    status: Status,
    priority: Priority,
    requester_id: Id.meta({ description: 'The user who wants it done.' }),
    assignee_id: Id.nullable().meta({ description: 'The user who works on it; null while nobody does.' }),
    solved_at: z.string().nullable().meta({ format: 'date-time' }),
    closed_at: z.string().nullable().meta({ format: 'date-time' }),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Ticket' })

export const TicketComment = z
  .object({
    id: Id,
    ticket_id: Id,
    author_id: Id.nullable().meta({ description: 'Null where it was none of the tenant’s users.' }),
    body: z.string(),
    internal: z.boolean().meta({ description: 'For those who work on the ticket alone.' }),
    created_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'TicketComment' })

export const CreateTicket = z.strictObject({
  subject: Subject,
  body: Body,
  priority: Priority.default('normal'),
  status: Status.default('open').meta({ description: 'Another than `open` needs `tickets:admin`.' }),
  requester_id: Id.optional().meta({ description: 'Another than the caller needs `tickets:admin`.' }),
  assignee_id: Id.nullable().default(null).meta({ description: 'Needs `tickets:admin`.' }),
})
export type CreateTicket = z.output<typeof CreateTicket>

export const UpdateTicket = z.strictObject({
  subject: Subject.optional(),
  body: Body.optional(),
  status: Status.optional(),
  priority: Priority.optional(),
  requester_id: Id.optional(),
  assignee_id: Id.nullable().optional(),
})
export type UpdateTicket = z.output<typeof UpdateTicket>

export const CreateComment = z.strictObject({
  body: Text.meta({ example: 'It is on its way.' }),
  internal: z
    .boolean('must be true or false')
    .default(false)
    .meta({ description: 'For those who work on the ticket alone, as only they can write it.' }),
})
export type CreateComment = z.output<typeof CreateComment>

export const ticketFilters = {
  ...paging,
  status: Status.optional(),
  priority: Priority.optional(),
  assignee_id: z
    .union([z.literal('none'), Id], 'must be the id of a user, or none')
    .optional()
    .meta({ description: '`none` for those that nobody works on.' }),
  requester_id: Id.optional(),
  number: z.coerce.number().int('must be a whole number').min(1, 'must be at least 1').optional(),
  q: z
    .string()
    .max(200, 'must have at most 200 characters')
    .refine((query) => wantedOf(query).length > 0, 'must have a letter or a digit to look for')
    .refine((query) => wantedOf(query).length <= MOST_WORDS, `must have at most ${MOST_WORDS} words`)
    .optional()
    .meta({
      description:
        'Words of subject and body; all must be there, or words that begin with them. With other filters a page may be short or empty, and goes on until `next_cursor` is null.',
      example: 'invoice',
    }),
  ...createdBetween,
}
export type TicketFilters = z.output<z.ZodObject<typeof ticketFilters>>
