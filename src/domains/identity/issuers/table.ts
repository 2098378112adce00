import {
  foreignKey,
  index,
  integer,
  primaryKey,
  sqliteTable,
  text,
  uniqueIndex,
} from 'drizzle-orm/sqlite-core'
import { id, json, ofIdentity, tenantId, time, version } from '../../../data/columns'
import type { IssuedRole } from '../../../lib/issuer'
import { users } from '../users/table'

/** Names of claims; a dotted one that no claim has is a path. */
export type ClaimNames = { email: string; email_verified: string; name: string; roles: string | null }

/** An OIDC issuer of a tenant's own, whose access tokens count in that tenant. */
export const issuers = ofIdentity(
  sqliteTable(
    'issuers',
    {
      tenant_id: tenantId(),
      id: id(),
      iss: text().notNull(),
      aud: text().notNull(),
      /** Where its keys are, or null where there is a secret. */
      jwks_uri: text(),
      /** Sealed. */
      secret: text(),
      algs: json<string[]>().notNull(),
      typ: text({ enum: ['at+jwt', 'JWT', 'optional'] }).notNull(),
      require: json<Record<string, string>>().notNull(),
      claims: json<ClaimNames>().notNull(),
      roles: json<Record<string, IssuedRole>>().notNull(),
      default_role: text({ enum: ['viewer', 'member', 'developer', 'admin'] }).notNull(),
      provision: integer({ mode: 'boolean' }).notNull(),
      trusts_email: integer({ mode: 'boolean' }).notNull(),
      is_active: integer({ mode: 'boolean' }).notNull(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('issuers_by_name').on(table.tenant_id, table.iss, table.aud),
    ],
  ),
)

/** Who a subject of an issuer is here. */
export const issuerUsers = ofIdentity(
  sqliteTable(
    'issuer_users',
    {
      tenant_id: tenantId(),
      /** The id of the tenant's issuer, or `trusted:` and the name of one of the operator's. */
      issuer: text().notNull(),
      subject: text().notNull(),
      user_id: text().notNull(),
      /** When the token was issued (seconds since 1970) whose role the user has: an older one changes it no more. */
      role_at: integer().notNull(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.issuer, table.subject] }),
      index('issuer_users_by_user').on(table.tenant_id, table.user_id),
      foreignKey({
        columns: [table.tenant_id, table.user_id],
        foreignColumns: [users.tenant_id, users.id],
      }).onDelete('cascade'),
    ],
  ),
)

export type IssuerRow = typeof issuers.$inferSelect
