import { integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'

/** Versions of a schema and labels, as Svix's clients write them. */
export type SvixNotes = {
  deprecated: boolean
  schemas: Record<string, unknown> | null
  groupName: string | null
  featureFlags: string[] | null
}

/** A type of the tenant's own events. An event's type need not have a row here; one that has may have a schema. */
export const eventTypes = confined(
  sqliteTable(
    'event_types',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      description: text().notNull(),
      /** JSON Schema of the events' data. */
      schema: json<Record<string, unknown>>(),
      /** What becomes of an event that differs from it: nothing, a mark, a refusal. */
      validation: text({ enum: ['off', 'warn', 'enforce'] }).notNull(),
      example: json<Record<string, unknown>>(),
      archived: integer({ mode: 'boolean' }).notNull(),
      /** What Svix's clients say of a type besides; it is shown to them again, and decides nothing. */
      svix: json<SvixNotes>(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('event_types_by_name').on(table.tenant_id, table.name),
    ],
  ),
)

export type EventTypeRow = typeof eventTypes.$inferSelect
