import { primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../data/columns'

/** A tenant's own account with an outside service. Its key is the secret `provider_{id}`. */
export const providers = confined(
  sqliteTable(
    'providers',
    {
      tenant_id: tenantId(),
      /** What it is for: `tts`, `ultravox`, … */
      id: id(),
      provider: text().notNull(),
      /** Where its API is; null where the provider itself has it. */
      base_url: text(),
      options: json<Record<string, string>>().notNull(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.id] })],
  ),
)

export type ProviderRow = typeof providers.$inferSelect
