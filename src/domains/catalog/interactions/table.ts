import { sql } from 'drizzle-orm'
import { index, primaryKey, real, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time } from '../../../data/columns'

/** One recorded act: something said. A high-rate table: announced, not audited, and each index is a row written. */
export const interactions = confined(
  sqliteTable(
    'interactions',
    {
      tenant_id: tenantId(),
      id: id(),
      type: text().notNull(),
      text: text(),
      speaker_id: text(),
      conversation_id: text(),
      user_id: text(),
      item_id: text(),
      value: real(),
      audio_url: text(),
      metadata: json<Record<string, unknown>>().notNull(),
      occurred_at: time().notNull(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('interactions_by_speaker')
        .on(table.tenant_id, table.speaker_id, table.id)
        .where(sql`speaker_id is not null`),
      index('interactions_by_conversation').on(table.tenant_id, table.conversation_id, table.id),
    ],
  ),
)

export type InteractionRow = typeof interactions.$inferSelect
