import { sql } from 'drizzle-orm'
import { index, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { id, ofIdentity, tenantId, time, version } from '../../../data/columns'

/** An invitation to join a tenant with a role; the token went by mail and only its SHA-256 is kept. */
export const invitations = ofIdentity(
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
      /** Who invited; null where the platform did. */
      invited_by: text(),
      /** When its last mail went out; null where that was when it was made. */
      sent_at: time(),
      /** The user that it became. */
      user_id: text(),
      state: text({ enum: ['open', 'accepted', 'revoked'] }).generatedAlwaysAs(
        sql`(case when accepted_at is not null then 'accepted' when revoked_at is not null then 'revoked' else 'open' end)`,
        { mode: 'virtual' },
      ),
      version: version(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('invitations_by_hash').on(table.hash),
      uniqueIndex('invitations_open')
        .on(table.tenant_id, table.email)
        .where(sql`accepted_at is null and revoked_at is null`),
      index('invitations_by_state').on(table.tenant_id, table.state, table.id),
      index('invitations_by_expiry')
        .on(table.tenant_id, table.expires_at, table.id)
        .where(sql`accepted_at is null and revoked_at is null`),
    ],
  ),
)

export type InvitationRow = typeof invitations.$inferSelect
