import { integer, primaryKey, sqliteTable } from 'drizzle-orm/sqlite-core'
import { confined, tenantId } from '../../../data/columns'

/**
 * How many attempts of a tenant's deliveries failed, minute by minute (`minute` counts from 1970). A trigger on `deliveries`
 * counts in the statement that writes the result, so nothing is lost or counted twice; what arrives at once costs nothing.
 */
export const deliveryFailures = confined(
  sqliteTable(
    'delivery_failures',
    { tenant_id: tenantId(), minute: integer().notNull(), failed: integer().notNull() },
    (table) => [primaryKey({ columns: [table.tenant_id, table.minute] })],
  ),
)
