import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, seq, tenantId, time, version, wordIndex, wordsOf } from '../../../data/columns'

export const STATUSES = ['open', 'pending', 'solved', 'closed'] as const
export const PRIORITIES = ['low', 'normal', 'high', 'urgent'] as const

/** Something that a user of the tenant wants done, and how that stands. Few are written, so each filter has an index. */
export const tickets = confined(
  sqliteTable(
    'tickets',
    {
      seq: seq(),
      tenant_id: tenantId(),
      id: id(),
      /** What people call it by; counts within the tenant. */
      number: integer().notNull(),
      subject: text().notNull(),
      body: text().notNull(),
      status: text({ enum: STATUSES }).notNull(),
      priority: text({ enum: PRIORITIES }).notNull(),
      requester_id: text().notNull(),
      assignee_id: text(),
      solved_at: time(),
      closed_at: time(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      uniqueIndex('tickets_by_id').on(table.tenant_id, table.id),
      uniqueIndex('tickets_by_number').on(table.tenant_id, table.number),
      index('tickets_by_status').on(table.tenant_id, table.status, table.priority, table.id),
      index('tickets_by_requester').on(table.tenant_id, table.requester_id, table.id),
      index('tickets_of_requester').on(
        table.tenant_id,
        table.requester_id,
        table.status,
        table.priority,
        table.id,
      ),
      // Those of nobody among them: null is found by an index too.
      index('tickets_by_assignee').on(table.tenant_id, table.assignee_id, table.id),
      index('tickets_of_assignee').on(
        table.tenant_id,
        table.assignee_id,
        table.status,
        table.priority,
        table.id,
      ),
      index('tickets_between').on(table.tenant_id, table.requester_id, table.assignee_id, table.id),
    ],
  ),
)

/** The last number that a tenant's tickets were given. */
export const ticketNumbers = confined(
  sqliteTable('ticket_numbers', { tenant_id: tenantId().primaryKey(), last: integer().notNull() }),
)

/** What was said about a ticket; `internal` notes are for those who work on it. */
export const ticketComments = confined(
  sqliteTable(
    'ticket_comments',
    {
      tenant_id: tenantId(),
      ticket_id: text().notNull(),
      id: id(),
      /** Null where an API key of nobody said it. */
      author_id: text(),
      body: text().notNull(),
      internal: integer({ mode: 'boolean' }).notNull(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.ticket_id, table.id] }),
      index('ticket_comments_public').on(table.tenant_id, table.ticket_id, table.id).where(sql`internal = 0`),
    ],
  ),
)

/**
 * The words of subject and body, by `seq`, once for each who may find them: the tenant, the requester, the assignee. So what
 * somebody's search reads does not grow with the tickets of others.
 */
export const TICKET_WORDS = wordIndex('ticket_words')

/** The view through which they are written: (tenant_id, id, words), again whenever who may find them changes. */
export const TICKET_TEXTS = wordsOf('ticket_texts')

export type TicketRow = typeof tickets.$inferSelect
export type CommentRow = typeof ticketComments.$inferSelect
