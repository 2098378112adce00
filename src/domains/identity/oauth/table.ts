import { foreignKey, index, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { id, ofIdentity, tenantId, time, version } from '../../../data/columns'
import { users } from '../users/table'

/**
 * A login that was started and is with the provider. It belongs to no tenant yet. Nothing in it can be used: the state
 * is kept by its SHA-256, and what else the login needs is made from the browser's cookie, of which the SHA-256 is kept.
 */
export const oauthStates = sqliteTable(
  'oauth_states',
  {
    hash: text().primaryKey(),
    provider: text().notNull(),
    binding: text().notNull(),
    /** The tenant that the login named, by id or slug. */
    tenant: text(),
    redirect_to: text().notNull(),
    created_at: time().notNull(),
    expires_at: time().notNull(),
    used_at: time(),
    /** Whose session it opened, so that a second use is on record there. */
    opened_tenant: text(),
    opened_user: text(),
  },
  (table) => [index('oauth_states_by_age').on(table.expires_at)],
)

/** A login at a provider that stands for a user. The issuer is part of it: no two issuers share a subject. */
export const oauthAccounts = ofIdentity(
  sqliteTable(
    'oauth_accounts',
    {
      tenant_id: tenantId(),
      id: id(),
      user_id: text().notNull(),
      provider: text().notNull(),
      issuer: text().notNull(),
      subject: text().notNull(),
      /** As the provider vouched for it when it was linked; for people to read, never to find anybody by. */
      email: text().notNull(),
      version: version(),
      created_at: time().notNull(),
      last_login_at: time(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('oauth_accounts_by_identity').on(
        table.tenant_id,
        table.provider,
        table.issuer,
        table.subject,
      ),
      index('oauth_accounts_by_subject').on(table.provider, table.issuer, table.subject),
      index('oauth_accounts_by_user').on(table.tenant_id, table.user_id, table.id),
      foreignKey({
        columns: [table.tenant_id, table.user_id],
        foreignColumns: [users.tenant_id, users.id],
      }).onDelete('cascade'),
    ],
  ),
)

export type OauthAccountRow = typeof oauthAccounts.$inferSelect
