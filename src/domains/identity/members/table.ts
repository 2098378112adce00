import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { ofIdentity } from '../../../data/columns'

/**
 * How many users a tenant has, so that nobody has to count them. Triggers on `users` keep it (see the migration that
 * made it), whoever writes there.
 */
export const memberCounts = ofIdentity(
  sqliteTable('member_counts', {
    tenant_id: text().primaryKey(),
    users: integer().notNull(),
    suspended: integer().notNull(),
  }),
)
