import { integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../data/columns'

/** A tenant's key of an outside service. What uses it names it, and nobody reads it back. */
export const secrets = confined(
  sqliteTable(
    'secrets',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      description: text().notNull(),
      /** Encrypted for this row under one of the tenant's data keys, which it names. */
      value: text().notNull(),
      /** Host names that it may be sent to; `*.example.com` for all below one. */
      hosts: json<string[]>().notNull(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('secrets_by_name').on(table.tenant_id, table.name),
    ],
  ),
)

/** The keys that a tenant's secrets are encrypted under, wrapped by the master key; the newest encrypts. */
export const dataKeys = confined(
  sqliteTable(
    'data_keys',
    {
      tenant_id: tenantId(),
      version: integer().notNull(),
      wrapped: text().notNull(),
      created_at: time().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.version] })],
  ),
)

export type SecretRow = typeof secrets.$inferSelect
export type DataKeyRow = typeof dataKeys.$inferSelect
