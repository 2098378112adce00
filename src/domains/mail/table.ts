import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, tenantId, time } from '../../data/columns'

/**
 * Mail on its way out, written in the batch of what it tells. In development this table is the mail box. The texts go once
 * it is sent or given up: they hold links that let people in.
 */
export const mails = confined(
  sqliteTable(
    'mails',
    {
      tenant_id: tenantId(),
      id: id(),
      to: text().notNull(),
      subject: text().notNull(),
      text: text().notNull(),
      html: text().notNull(),
      created_at: time().notNull(),
      /** When it is tried next; null where nobody sends it (any more). */
      next_attempt_at: time(),
      /** Until its link works. */
      useful_until: time(),
      attempts: integer().notNull().default(0),
      sent_at: time(),
      failed_at: time(),
      last_error: text(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('mails_by_age').on(table.created_at),
      index('mails_due').on(table.next_attempt_at).where(sql`next_attempt_at is not null`),
    ],
  ),
)
