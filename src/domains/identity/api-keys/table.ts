import { foreignKey, index, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { id, json, ofIdentity, tenantId, time, version } from '../../../data/columns'
import { users } from '../users/table'
import type { KeyLimits } from './limits'

/** A key of a program. The key itself is shown once and never kept: only its SHA-256 and first 12 characters are. */
export const apiKeys = ofIdentity(
  sqliteTable(
    'api_keys',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      prefix: text().notNull(),
      hash: text().notNull(),
      scopes: json<string[]>().notNull(),
      /** The key's own limits, on top of the tenant's; null where it has none. */
      limits: json<KeyLimits>(),
      /** The key as which this one is counted, where it came of a rotation. */
      counted_as: text(),
      /** The addresses and CIDR blocks that it may be used from; null for all. */
      allowed_addresses: json<string[]>(),
      /** The maker, on whom the key's rights hang; null for a key that the platform made. */
      created_by: text(),
      last_used_at: time(),
      expires_at: time(),
      revoked_at: time(),
      /** The key that a rotation made of it. */
      replaced_by: text(),
      version: version(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('api_keys_by_hash').on(table.hash),
      // The platform lists the keys of all tenants, and names one by its id alone.
      index('api_keys_by_id').on(table.id),
      index('api_keys_by_maker').on(table.tenant_id, table.created_by),
      foreignKey({
        columns: [table.tenant_id, table.created_by],
        foreignColumns: [users.tenant_id, users.id],
      }).onDelete('cascade'),
    ],
  ),
)

export type ApiKeyRow = typeof apiKeys.$inferSelect
