import { foreignKey, index, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { id, ofIdentity, tenantId, time, version } from '../../../data/columns'
import { users } from '../users/table'

/**
 * A login: where a user is logged in, until it ends or is not refreshed for seven days, which is written down within the
 * hour. Kept for ninety days after it.
 */
export const sessions = ofIdentity(
  sqliteTable(
    'sessions',
    {
      tenant_id: tenantId(),
      id: id(),
      user_id: text().notNull(),
      user_agent: text(),
      address: text(),
      version: version(),
      created_at: time().notNull(),
      last_seen_at: time().notNull(),
      expires_at: time().notNull(),
      ended_at: time(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('sessions_by_user').on(table.tenant_id, table.user_id, table.ended_at, table.id),
      index('sessions_by_end').on(table.ended_at, table.expires_at),
      foreignKey({
        columns: [table.tenant_id, table.user_id],
        foreignColumns: [users.tenant_id, users.id],
      }).onDelete('cascade'),
    ],
  ),
)

/** Every refresh token a session had, by its SHA-256 only: a second use of an old one must be seen. */
export const refreshTokens = ofIdentity(
  sqliteTable(
    'refresh_tokens',
    {
      tenant_id: tenantId(),
      hash: text().primaryKey(),
      session_id: text().notNull(),
      created_at: time().notNull(),
      used_at: time(),
    },
    (table) => [
      index('refresh_tokens_by_session').on(table.tenant_id, table.session_id),
      foreignKey({
        columns: [table.tenant_id, table.session_id],
        foreignColumns: [sessions.tenant_id, sessions.id],
      }).onDelete('cascade'),
    ],
  ),
)
