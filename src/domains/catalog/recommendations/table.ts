import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, real, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, json, tenantId, time } from '../../../data/columns'
import type { Recent } from './counting'
import type { Neighbour } from './neighbours'

/** What was counted of an item: how much it weighs, and which items are near it. One row, however often it is chosen. */
export const itemWeights = confined(
  sqliteTable(
    'item_weights',
    {
      tenant_id: tenantId(),
      item_id: text().notNull(),
      weight: real().notNull(),
      times: integer().notNull(),
      neighbours: json<Neighbour[]>().notNull(),
      /** Those farther off, which only counting reads. */
      farther: json<Neighbour[]>().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.item_id] }),
      index('item_weights_by_weight').on(table.tenant_id, table.weight),
    ],
  ),
)

/** What a user was at lately, as far as it is counted. */
export const userRecents = confined(
  sqliteTable(
    'user_recents',
    { tenant_id: tenantId(), user_id: text().notNull(), recent: json<Recent>().notNull() },
    (table) => [primaryKey({ columns: [table.tenant_id, table.user_id] })],
  ),
)

/** Up to which number a tenant's interactions are counted. Who counts moves `revision`, so of two at once one wins. */
export const interactionCounts = confined(
  sqliteTable(
    'interaction_counts',
    {
      tenant_id: tenantId().primaryKey(),
      seq: integer().notNull(),
      revision: integer().notNull(),
      /** 1 where more was waiting than was counted at once, or counting failed. */
      behind: integer().notNull(),
    },
    (table) => [index('interaction_counts_behind').on(table.behind, table.tenant_id).where(sql`behind = 1`)],
  ),
)

/** Interactions that were deleted and may have been counted. A trigger on `interactions` writes it, whoever deletes there. */
export const interactionsRemoved = confined(
  sqliteTable(
    'interactions_removed',
    {
      tenant_id: tenantId(),
      seq: integer().notNull(),
      id: text().notNull(),
      type: text().notNull(),
      user_id: text(),
      item_id: text().notNull(),
      value: real(),
      occurred_at: time().notNull(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.seq] }),
      index('interactions_removed_by_user')
        .on(table.tenant_id, table.user_id, table.seq)
        .where(sql`user_id is not null`),
    ],
  ),
)

/** How far the sweep looked through the interactions of all tenants: one row, of nobody. */
export const countingMarks = sqliteTable('counting_marks', {
  name: text().primaryKey(),
  seq: integer().notNull(),
})

/** What a model makes of an item's words where no index of vectors is bound: bytes from -127 to 127, in base64. */
export const itemVectors = confined(
  sqliteTable(
    'item_vectors',
    {
      tenant_id: tenantId(),
      item_id: text().notNull(),
      category: text(),
      vector: text().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.item_id] }),
      index('item_vectors_by_category').on(table.tenant_id, table.category, table.item_id),
    ],
  ),
)
