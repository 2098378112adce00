import { primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, tenantId, time } from '../../../data/columns'

/** An invitation to join a tenant with a role; the token went by mail and only its SHA-256 is kept. */
export const invitations = confined(
  sqliteTable(
    'invitations',
    {
      tenant_id: tenantId(),
      id: id(),
      email: text().notNull(),
      role: text({ enum: ['viewer', 'member', 'developer', 'admin'] }).notNull(),
      hash: text().notNull(),
      created_at: time().notNull(),
      expires_at: time().notNull(),
      accepted_at: time(),
      revoked_at: time(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('invitations_by_hash').on(table.hash),
    ],
  ),
)
