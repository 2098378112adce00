import { foreignKey, index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { ofIdentity, tenantId, time } from '../../../data/columns'
import { users } from '../users/table'

/** The authenticator app of a user; it counts from when its first code was confirmed. */
export const totpEnrolments = ofIdentity(
  sqliteTable(
    'totp_enrolments',
    {
      tenant_id: tenantId(),
      user_id: text().notNull(),
      /** The shared secret, sealed under the master key and bound to tenant and user. */
      secret_sealed: text().notNull(),
      /** The last time step (of 30 s) whose code was taken: no code is taken twice. */
      last_step: integer().notNull().default(0),
      /** Codes tried since `tries_since`, for the limit by account. */
      tries: integer().notNull().default(0),
      tries_since: time(),
      confirmed_at: time(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.user_id] }),
      foreignKey({
        columns: [table.tenant_id, table.user_id],
        foreignColumns: [users.tenant_id, users.id],
      }).onDelete('cascade'),
    ],
  ),
)

/** Recovery codes, each good for one login, by their SHA-256. */
export const recoveryCodes = ofIdentity(
  sqliteTable(
    'recovery_codes',
    {
      tenant_id: tenantId(),
      user_id: text().notNull(),
      hash: text().notNull(),
      used_at: time(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.user_id, table.hash] }),
      foreignKey({
        columns: [table.tenant_id, table.user_id],
        foreignColumns: [users.tenant_id, users.id],
      }).onDelete('cascade'),
    ],
  ),
)

/** A login that waits for its second factor, by the SHA-256 of the challenge that the caller holds. */
export const mfaChallenges = ofIdentity(
  sqliteTable(
    'mfa_challenges',
    {
      tenant_id: tenantId(),
      hash: text().primaryKey(),
      user_id: text().notNull(),
      /** By what the first factor was proved. */
      method: text({ enum: ['password', 'oauth', 'passkey'] }).notNull(),
      /** The SHA-256 of the password's hash at that moment: a changed password ends the challenge. */
      password_mark: text().notNull(),
      tries: integer().notNull().default(0),
      expires_at: time().notNull(),
      used_at: time(),
    },
    (table) => [
      index('mfa_challenges_by_user').on(table.tenant_id, table.user_id),
      foreignKey({
        columns: [table.tenant_id, table.user_id],
        foreignColumns: [users.tenant_id, users.id],
      }).onDelete('cascade'),
    ],
  ),
)

export type TotpRow = typeof totpEnrolments.$inferSelect
export type ChallengeRow = typeof mfaChallenges.$inferSelect
