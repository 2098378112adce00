import { index, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { ofIdentity, tenantId, time } from '../../../data/columns'

/** With whom besides its owner a chat is shared: a user, a team, or everybody in the tenant. */
export const chatShares = ofIdentity(
  sqliteTable(
    'chat_shares',
    {
      tenant_id: tenantId(),
      chat_id: text().notNull(),
      /** `user:{id}`, `team:{id}` or `tenant`. */
      subject: text().notNull(),
      role: text({ enum: ['viewer', 'editor'] }).notNull(),
      expires_at: time(),
      created_by: text(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.chat_id, table.subject] }),
      index('chat_shares_by_subject').on(table.tenant_id, table.subject, table.chat_id),
    ],
  ),
)

export type ShareRow = typeof chatShares.$inferSelect
