import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, tenantId } from '../../../data/columns'

/**
 * How many of something a tenant had on a day (UTC): all of them together under the name '', or those of one name under
 * a metric of its own (`events`, `events.type`), so that a trend reads a row a day however many names there are.
 */
export const dailyCounts = confined(
  sqliteTable(
    'daily_counts',
    {
      tenant_id: tenantId(),
      metric: text().notNull(),
      day: text().notNull(),
      name: text().notNull(),
      n: integer().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.metric, table.day, table.name] })],
  ),
)

/**
 * How far whoever follows a table has come in it, by its `seq`, over all tenants. It is moved in the batch of what was
 * made of the rows up to there, so each row counts once.
 */
export const followers = sqliteTable('followers', {
  name: text().primaryKey(),
  seq: integer().notNull(),
})
