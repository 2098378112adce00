import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, tenantId } from '../../../data/columns'

/**
 * What came of an endpoint's deliveries on a day (UTC). Attempts are counted in the batch that writes their results, all of
 * an endpoint as one row written; what else ends a delivery is counted by a trigger on `deliveries` (see the migration that
 * made it). Nothing can be lost or counted twice.
 */
export const dailyDeliveries = confined(
  sqliteTable(
    'daily_deliveries',
    {
      tenant_id: tenantId(),
      day: text().notNull(),
      endpoint_id: text().notNull(),
      attempts: integer().notNull().default(0),
      delivered: integer().notNull().default(0),
      failed: integer().notNull().default(0),
      exhausted: integer().notNull().default(0),
      cancelled: integer().notNull().default(0),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.day, table.endpoint_id] })],
  ),
)
