import { sql } from 'drizzle-orm'
import { index, real, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, seq, tenantId, time, wordIndex, wordsOf } from '../../../data/columns'

/** What a user has bought, or knows well enough to rate, as an index and those who ask it say it. */
export const CONSUMED = sql.raw(`type in ('purchase', 'rating')`)

/**
 * One recorded act: something said (`text`, `speaker_id`, `conversation_id`), or something that a user did with an item.
 * A high-rate table: announced, not audited, and each index is a row written.
 */
export const interactions = confined(
  sqliteTable(
    'interactions',
    {
      seq: seq(),
      tenant_id: tenantId(),
      id: id(),
      type: text().notNull(),
      text: text(),
      speaker_id: text(),
      conversation_id: text(),
      /** Where something was said (a phone number, a room): what is said there soon after goes on with its conversation. */
      channel: text(),
      user_id: text(),
      item_id: text(),
      value: real(),
      audio_file_id: text(),
      metadata: json<Record<string, unknown>>().notNull(),
      occurred_at: time().notNull(),
      created_at: time().notNull(),
    },
    (table) => [
      uniqueIndex('interactions_by_id').on(table.tenant_id, table.id),
      // What was done: of what was said there is most, and all of it is found by its id.
      index('interactions_by_type').on(table.tenant_id, table.type, table.id).where(sql`type <> 'speech'`),
      index('interactions_by_user')
        .on(table.tenant_id, table.user_id, table.id)
        .where(sql`user_id is not null`),
      // What is recommended to a user no more.
      index('interactions_consumed').on(table.tenant_id, table.user_id, table.item_id).where(CONSUMED),
      index('interactions_by_item')
        .on(table.tenant_id, table.item_id, table.id)
        .where(sql`item_id is not null`),
      index('interactions_by_speaker')
        .on(table.tenant_id, table.speaker_id, table.id)
        .where(sql`speaker_id is not null`),
      index('interactions_by_channel')
        .on(table.tenant_id, table.channel, table.id)
        .where(sql`channel is not null`),
      // In the order in which it was said: a recording is heard after what was typed meanwhile.
      index('interactions_by_conversation')
        .on(table.tenant_id, table.conversation_id, table.occurred_at, table.id)
        .where(sql`conversation_id is not null`),
      // What was done, in the order of commit: who counts it misses nothing that is committed late.
      index('interactions_done').on(table.tenant_id, table.seq).where(sql`item_id is not null`),
      index('interactions_by_audio')
        .on(table.tenant_id, table.audio_file_id)
        .where(sql`audio_file_id is not null`),
    ],
  ),
)

export type InteractionRow = typeof interactions.$inferSelect

/** The words of what was said, by `seq`; each begins with the tenant's mark, so that a search reads nobody else's. */
export const INTERACTION_WORDS = wordIndex('interaction_words')

/** The view through which they are written: (tenant_id, id, words). A trigger on `interactions` removes them. */
export const INTERACTION_TEXTS = wordsOf('interaction_texts')
