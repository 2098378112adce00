import { index, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, tenantId, time } from '../../data/columns'

/** Mail on its way out, written in the batch of what it tells. In development this table is the mail box. */
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
      sent_at: time(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('mails_by_age').on(table.created_at),
    ],
  ),
)
