import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, tenantId, time } from '../../../data/columns'

/** How far each user has read each chat, as the chat’s object says; who never read one is missing. */
export const chatReads = confined(
  sqliteTable(
    'chat_reads',
    {
      tenant_id: tenantId(),
      chat_id: text().notNull(),
      user_id: text().notNull(),
      /** The place in the chat’s log, and how many messages had come by there. */
      seq: integer().notNull(),
      read_count: integer().notNull(),
      read_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.chat_id, table.user_id] }),
      index('chat_reads_by_user').on(table.tenant_id, table.user_id),
    ],
  ),
)

/** Who listens to their inbox, or lately did: to nobody else anything is said. */
export const inboxListeners = confined(
  sqliteTable(
    'inbox_listeners',
    {
      tenant_id: tenantId(),
      user_id: text().notNull(),
      /** Tells one coming from another: only who found nobody there strikes out what was then. */
      since: text().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.user_id] })],
  ),
)
