import { sql } from 'drizzle-orm'
import { primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'

/** What a tenant notes beside a thing of its own: words under words. */
export type Metadata = Record<string, string>

/** A group of endpoints and events inside a tenant: events of an application go to its endpoints and to no others. */
export const applications = confined(
  sqliteTable(
    'applications',
    {
      tenant_id: tenantId(),
      id: id(),
      /** The tenant's own name for it. */
      uid: text(),
      name: text().notNull(),
      metadata: json<Metadata>().notNull(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('applications_by_uid').on(table.tenant_id, table.uid).where(sql`uid is not null`),
    ],
  ),
)

export type ApplicationRow = typeof applications.$inferSelect
