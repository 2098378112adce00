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
import { users } from '../users/table'

/** A WebAuthn credential of a user: the public half of a key that an authenticator keeps. */
export const passkeys = ofIdentity(
  sqliteTable(
    'passkeys',
    {
      tenant_id: tenantId(),
      id: id(),
      user_id: text().notNull(),
      name: text().notNull(),
      /** The authenticator's own id for it, in base64url. */
      credential_id: text().notNull(),
      /** A COSE key in base64url. */
      public_key: text().notNull(),
      /** How often it was used, where the authenticator counts; 0 where it does not. */
      counter: integer().notNull(),
      transports: json<string[]>().notNull(),
      /** The authenticator's model. */
      aaguid: text().notNull(),
      /** Whether it is kept on one device or synchronised among several. */
      device_type: text({ enum: ['single_device', 'multi_device'] }).notNull(),
      backed_up: integer({ mode: 'boolean' }).notNull(),
      last_used_at: time(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('passkeys_by_credential').on(table.credential_id),
      index('passkeys_by_user').on(table.tenant_id, table.user_id, table.id),
      foreignKey({
        columns: [table.tenant_id, table.user_id],
        foreignColumns: [users.tenant_id, users.id],
      }).onDelete('cascade'),
    ],
  ),
)

/** Answers to challenges that were taken, so that none is taken twice; kept as long as the challenge would live. */
export const usedChallenges = ofIdentity(
  sqliteTable(
    'used_challenges',
    {
      tenant_id: tenantId(),
      hash: text().notNull(),
      expires_at: time().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.hash] })],
  ),
)

export type PasskeyRow = typeof passkeys.$inferSelect
