import { sqliteTable, text } from 'drizzle-orm/sqlite-core'
import type { Context } from '../../../data/context'
import { marked } from '../../../lib/words'
import { TICKET_TEXTS, type TicketRow } from './table'

/** Of a longer body the beginning is what a ticket is found by. */
const MOST_CHARACTERS = 8_000

/** The view as Drizzle writes to it; the migration that made it has what it looks like. */
const ticketTexts = sqliteTable(TICKET_TEXTS, {
  tenant_id: text().notNull(),
  id: text().notNull(),
  words: text().notNull(),
})

/**
 * The statement by which a ticket is found by its words, by those who may find it as the ticket then stands. Not async: it
 * goes into a batch, after what it tells of.
 */
export function findByWords(ctx: Context, { id, subject, body }: Pick<TicketRow, 'id' | 'subject' | 'body'>) {
  const words = marked(`${subject}\n${body}`.slice(0, MOST_CHARACTERS).toWellFormed())
  return ctx.db.insert(ticketTexts).values({ tenant_id: ctx.tenant.id, id, words })
}
