import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'

/**
 * The index of chats, for lists. What is said lives in the chat’s own object; its outbox keeps the columns from
 * `message_count` on as far as they follow from the log.
 */
export const chats = confined(
  sqliteTable(
    'chats',
    {
      tenant_id: tenantId(),
      id: id(),
      user_id: text().notNull(),
      /** The API key that made it, where it was one. */
      api_key_id: text(),
      /** The agent may be deleted; the chat stays. */
      agent_id: text().notNull(),
      title: text(),
      is_archived: integer({ mode: 'boolean' }).notNull().default(false),
      is_pinned: integer({ mode: 'boolean' }).notNull().default(false),
      tags: json<string[]>().notNull(),
      metadata: json<Record<string, unknown>>().notNull(),
      /** The message that it goes on from, where it began as a copy of another chat up to there. */
      forked_from: json<{ chat_id: string; message_id: string }>(),
      /** What people think of its answers. */
      ratings_up: integer().notNull().default(0),
      ratings_down: integer().notNull().default(0),
      message_count: integer().notNull().default(0),
      last_message_at: time(),
      /** The last message’s time, or the chat’s own: what lists are ordered by. */
      last_activity_at: time().notNull(),
      /** How far in the log this row has come. */
      last_seq: integer().notNull().default(0),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('chats_by_activity').on(
        table.tenant_id,
        table.user_id,
        table.is_archived,
        table.last_activity_at,
        table.id,
      ),
      index('chats_by_agent').on(table.tenant_id, table.agent_id, table.last_activity_at),
      index('chats_of_user_with_agent').on(
        table.tenant_id,
        table.user_id,
        table.agent_id,
        table.is_archived,
        table.last_activity_at,
        table.id,
      ),
    ],
  ),
)

/** The chats of each tag, in the order of their lists. Triggers on `chats` keep it (see the migration that made it). */
export const chatTags = confined(
  sqliteTable(
    'chat_tags',
    {
      tenant_id: tenantId(),
      user_id: text().notNull(),
      tag: text().notNull(),
      is_archived: integer({ mode: 'boolean' }).notNull(),
      last_activity_at: time().notNull(),
      chat_id: text().notNull(),
      agent_id: text().notNull().default(''),
    },
    (table) => [
      primaryKey({
        columns: [
          table.tenant_id,
          table.user_id,
          table.tag,
          table.is_archived,
          table.last_activity_at,
          table.chat_id,
        ],
      }),
      index('chat_tags_with_agent').on(
        table.tenant_id,
        table.user_id,
        table.tag,
        table.agent_id,
        table.is_archived,
        table.last_activity_at,
        table.chat_id,
      ),
    ],
  ),
)

export type ChatRow = typeof chats.$inferSelect
