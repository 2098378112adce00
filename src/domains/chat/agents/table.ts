import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'

/** What answers in a chat. A chat keeps the id of an agent that was deleted, so nothing refers to this by a key. */
export const agents = confined(
  sqliteTable(
    'agents',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      description: text(),
      kind: text({ enum: ['echo', 'webhook', 'openai'] }).notNull(),
      system_prompt: text(),
      config: json<Record<string, unknown>>().notNull(),
      /** Where the picture is read; its `v` names the object in R2. */
      avatar: text(),
      is_active: integer({ mode: 'boolean' }).notNull(),
      webhook_url: text(),
      webhook_header: text(),
      base_url: text(),
      idempotent: integer({ mode: 'boolean' }).notNull(),
      /** Sealed, as the two that follow are. */
      webhook_token: text(),
      signing_secret: text(),
      api_key: text(),
      created_by: text(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    // A tenant's agents are few: lists read them by the primary key, newest first, and filter as they go.
    (table) => [primaryKey({ columns: [table.tenant_id, table.id] })],
  ),
)

export type AgentRow = typeof agents.$inferSelect
