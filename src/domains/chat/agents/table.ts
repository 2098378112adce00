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
      kind: text({ enum: ['echo', 'webhook', 'openai', 'workers_ai', 'ultravox'] }).notNull(),
      system_prompt: text(),
      config: json<Record<string, unknown>>().notNull(),
      /** Where the picture is read; its `v` names the object in R2. */
      avatar: text(),
      /** The size of the picture's object; a trigger counts it into the tenant's storage. */
      avatar_bytes: integer().notNull().default(0),
      is_active: integer({ mode: 'boolean' }).notNull(),
      webhook_url: text(),
      webhook_header: text(),
      base_url: text(),
      idempotent: integer({ mode: 'boolean' }).notNull(),
      /** Sealed, as the two that follow are. */
      webhook_token: text(),
      signing_secret: text(),
      api_key: text(),
      /** How it speaks on calls: the id of a voice, a BCP 47 tag, and what it says first. */
      voice_id: text(),
      language: text(),
      greeting: text(),
      /** Ids. What is deleted is taken out by triggers, so that each of these is there. */
      tools: json<string[]>().notNull().default([]),
      knowledge_base_ids: json<string[]>().notNull().default([]),
      /** What the provider of its calls knows it as, and whether it has its last change; null for kinds without one. */
      provider_agent_id: text(),
      sync_status: text({ enum: ['pending', 'synced', 'failed'] }),
      sync_error: text(),
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
