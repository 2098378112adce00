import { index, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'

/** Who says things. The id is the tenant's own string; one that is not known yet is made with the first thing said. */
export const speakers = confined(
  sqliteTable(
    'speakers',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text(),
      metadata: json<Record<string, unknown>>().notNull(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('speakers_by_time').on(table.tenant_id, table.created_at, table.id),
    ],
  ),
)

export type SpeakerRow = typeof speakers.$inferSelect
