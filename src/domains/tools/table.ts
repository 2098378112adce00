import { primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../data/columns'

/** What agents may call: a request over HTTP, made with the arguments that they choose. */
export const tools = confined(
  sqliteTable(
    'tools',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      description: text().notNull(),
      /** Arguments that stand in its path or query are named as `{name}`. */
      url: text().notNull(),
      method: text({ enum: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] }).notNull(),
      /** As they were written: secrets by their names alone. */
      headers: json<Record<string, string>>().notNull(),
      /** JSON Schema of the arguments. */
      parameters: json<Record<string, unknown>>().notNull(),
      created_by: text(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('tools_by_name').on(table.tenant_id, table.name),
    ],
  ),
)

export type ToolRow = typeof tools.$inferSelect
