import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { id, json, ofIdentity, tenantId, time, version } from '../../../data/columns'

/** A person who belongs to one tenant; the same address may belong to several tenants as several users. */
export const users = ofIdentity(
  sqliteTable(
    'users',
    {
      tenant_id: tenantId(),
      id: id(),
      /** Lower case. */
      email: text().notNull(),
      full_name: text(),
      role: text({ enum: ['viewer', 'member', 'developer', 'admin', 'platform_admin'] }).notNull(),
      status: text({ enum: ['active', 'suspended'] }).notNull(),
      /** A PHC string (scrypt), or bcrypt's (`$2b$…`) of a user brought from elsewhere, until the next login. */
      password_hash: text(),
      avatar: text(),
      preferences: json<Record<string, unknown>>().notNull(),
      /** 1 for the owner of a personal tenant; at most one per address. */
      is_personal: integer().notNull().default(0),
      email_verified_at: time(),
      last_login_at: time(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('users_by_email').on(table.tenant_id, table.email),
      index('users_by_address').on(table.email),
      // The platform names a user by the id alone, as it makes one a partner's.
      index('users_by_id').on(table.id),
      index('users_by_role').on(table.tenant_id, table.role, table.status, table.id),
      index('users_by_status').on(table.tenant_id, table.status, table.id),
      index('users_imported').on(table.password_hash).where(sql`substr(password_hash, 1, 2) = '$2'`),
      uniqueIndex('users_personal').on(table.email).where(sql`is_personal = 1`),
    ],
  ),
)

/** Single-use tokens sent by mail, by the SHA-256 of the token. */
export const mailTokens = ofIdentity(
  sqliteTable(
    'mail_tokens',
    {
      tenant_id: tenantId(),
      hash: text().primaryKey(),
      user_id: text().notNull(),
      purpose: text({ enum: ['verify_email', 'reset_password'] }).notNull(),
      expires_at: time().notNull(),
      used_at: time(),
    },
    (table) => [index('mail_tokens_by_user').on(table.tenant_id, table.user_id)],
  ),
)

export type UserRow = typeof users.$inferSelect
