import { index, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, tenantId, time } from '../../../data/columns'

/** Which files may be sent, and read, in which chat. */
export const chatAttachments = confined(
  sqliteTable(
    'chat_attachments',
    {
      tenant_id: tenantId(),
      chat_id: text().notNull(),
      file_id: text().notNull(),
      created_by: text(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.chat_id, table.file_id] }),
      index('chat_attachments_by_file').on(table.tenant_id, table.file_id),
    ],
  ),
)
