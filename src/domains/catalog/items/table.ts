import { integer, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, seq, tenantId, time, version, wordIndex, wordsOf } from '../../../data/columns'

/**
 * What was changed or removed, each item once and under a new number (`seq`, the order of commit) each time: who keeps
 * something of items elsewhere goes through it. Triggers on `items` write it, whoever writes there. Declared before
 * `items`, so that it is emptied after it.
 */
export const itemChanges = confined(
  sqliteTable(
    'item_changes',
    {
      seq: seq(),
      tenant_id: tenantId(),
      /** The item's `external_id`; an item that is not there (any more) was removed. */
      item_id: text().notNull(),
    },
    (table) => [uniqueIndex('item_changes_of_item').on(table.tenant_id, table.item_id)],
  ),
)

/**
 * The tenant's catalogue. Written in bulk: not audited, and each index is a row written. What it is filtered by has no
 * index of its own: categories, tags and availability are words of `item_words`.
 */
export const items = confined(
  sqliteTable(
    'items',
    {
      /** The number under which its words are found. */
      seq: seq(),
      tenant_id: tenantId(),
      id: id(),
      /** The tenant's own name of it, as interactions and recommendations say `item_id`. */
      external_id: text().notNull(),
      title: text().notNull(),
      category: text(),
      tags: json<string[]>().notNull(),
      attributes: json<Record<string, unknown>>().notNull(),
      available: integer({ mode: 'boolean' }).notNull(),
      /** Of all that its tenant says of it: what is said again changes nothing. */
      digest: text().notNull(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      uniqueIndex('items_by_id').on(table.tenant_id, table.id),
      uniqueIndex('items_by_external_id').on(table.tenant_id, table.external_id),
    ],
  ),
)

export type ItemRow = typeof items.$inferSelect

/** The words of items and what they are filtered by, by `seq`; each begins with the tenant's code. */
export const ITEM_WORDS = wordIndex('item_words')

/** The view through which they are written: (tenant_id, id, words). A trigger on `items` removes them. */
export const ITEM_TEXTS = wordsOf('item_texts')
