import { integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, seq, tenantId, wordIndex } from '../../../data/columns'

/**
 * What each chat is found by: its title and the end of what was said, with a mark before each word (words.ts). The chat's
 * outbox keeps the text, who gives a title writes that.
 */
export const chatTexts = confined(
  sqliteTable(
    'chat_texts',
    {
      tenant_id: tenantId(),
      chat_id: text().notNull(),
      title: text(),
      text: text().notNull().default(''),
      /** How far in the log the text has come. */
      log_seq: integer().notNull().default(0),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.chat_id] })],
  ),
)

/**
 * Who finds a chat, as shares name them; its owner is one of them. Triggers keep it (see the migration that made it): each
 * change of a chat's text makes its lines anew, so the newest numbers are those of what changed last.
 */
export const chatFinders = confined(
  sqliteTable(
    'chat_finders',
    {
      seq: seq(),
      tenant_id: tenantId(),
      subject: text().notNull(),
      chat_id: text().notNull(),
    },
    (table) => [uniqueIndex('chat_finders_of_chat').on(table.tenant_id, table.chat_id, table.subject)],
  ),
)

/**
 * The words of each line of `chat_finders`, by its number; each begins with whose they are (`finderCode`), so that what
 * one user's search reads does not grow with the chats of others. Kept by triggers too.
 */
export const CHAT_WORDS = wordIndex('chat_words')
