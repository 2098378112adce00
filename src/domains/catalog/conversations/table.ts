import { index, primaryKey, sqliteTable } from 'drizzle-orm/sqlite-core'
import { id, tenantId, time, withoutRowid } from '../../../data/columns'

/** What was said together. Written once, with the first thing said: what changes is read from its interactions. */
export const conversations = withoutRowid(
  sqliteTable(
    'conversations',
    {
      tenant_id: tenantId(),
      /** The tenant's own string, or a UUIDv7. */
      id: id(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('conversations_by_time').on(table.tenant_id, table.created_at, table.id),
    ],
  ),
  'tenant_id',
  'id',
)

export type ConversationRow = typeof conversations.$inferSelect
