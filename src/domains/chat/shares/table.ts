import { sql } from 'drizzle-orm'
import { index, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { ofIdentity, tenantId, time } from '../../../data/columns'

/** With whom besides its owner a chat is shared: a user, a team, everybody in the tenant, or who has its public link. */
export const chatShares = ofIdentity(
  sqliteTable(
    'chat_shares',
    {
      tenant_id: tenantId(),
      chat_id: text().notNull(),
      /** `user:{id}`, `team:{id}`, `tenant` or `public`. */
      subject: text().notNull(),
      role: text({ enum: ['viewer', 'editor'] }).notNull(),
      expires_at: time(),
      /** Of a public link: the SHA-256 of its token, by which it is found, and the token, sealed for its owner. */
      token_hash: text(),
      token: text(),
      created_by: text(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.chat_id, table.subject] }),
      index('chat_shares_by_subject').on(table.tenant_id, table.subject, table.chat_id),
      uniqueIndex('chat_shares_by_token').on(table.token_hash).where(sql`token_hash is not null`),
    ],
  ),
)

export type ShareRow = typeof chatShares.$inferSelect
