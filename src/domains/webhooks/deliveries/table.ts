import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, tenantId, time, version } from '../../../data/columns'

/** All but the most: those that are looked for among many delivered ones. SQLite knows the index by these very words. */
export const UNDELIVERED = sql.raw(`in ('pending', 'failed', 'exhausted', 'held', 'cancelled')`)

/** Those that neither arrived nor are on their way: few, where all goes well, so that several indexes of them cost little. */
export const STUCK = sql.raw(`in ('failed', 'exhausted', 'held', 'cancelled')`)

/** Those that hold others behind them where the endpoint is ordered. */
export const OPEN = sql.raw(`in ('pending', 'held')`)

/** When a delivery is due that waits for the one before it: never, until that one has ended. */
export const BEHIND_ANOTHER = '9999-12-31T23:59:59.999Z'

/**
 * One event on its way to one endpoint. Its id is the event's but for the last six digits, which are the endpoint's:
 * so the primary key makes (event, endpoint) a delivery once, the deliveries of an event are a span of ids, and ids
 * still sort by time, without an index for any of it. Two events of one millisecond differ in 50 other bits; endpoints
 * of one tenant differ in the six digits by a unique index of their own.
 *
 * `next_attempt_at` alone says when a pending delivery is due. The attempts are kept by the endpoint's object.
 */
export const deliveries = confined(
  sqliteTable(
    'deliveries',
    {
      tenant_id: tenantId(),
      id: id(),
      event_id: text().notNull(),
      event_type: text().notNull(),
      endpoint_id: text().notNull(),
      status: text({
        enum: ['pending', 'delivered', 'failed', 'exhausted', 'held', 'cancelled'],
      }).notNull(),
      attempt_count: integer().notNull().default(0),
      /** Retries asked for by hand. An attempt's result decides the delivery only if none was asked for meanwhile. */
      retries: integer().notNull().default(0),
      next_attempt_at: time(),
      created_at: time().notNull(),
      delivered_at: time(),
      version: version(),
      /** Of an endpoint that is `ordered`: what the event is about, '' for nothing, and its number. */
      order_key: text(),
      seq: integer(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('deliveries_by_endpoint').on(table.tenant_id, table.endpoint_id, table.id),
      index('deliveries_pending')
        .on(table.tenant_id, table.endpoint_id, table.next_attempt_at)
        .where(sql`status = 'pending'`),
      index('deliveries_undelivered')
        .on(table.tenant_id, table.status, table.id)
        .where(sql`status ${UNDELIVERED}`),
      index('deliveries_stuck_by_endpoint')
        .on(table.tenant_id, table.status, table.endpoint_id, table.id)
        .where(sql`status ${STUCK}`),
      index('deliveries_stuck_by_type')
        .on(table.tenant_id, table.status, table.event_type, table.id)
        .where(sql`status ${STUCK}`),
      index('deliveries_stuck_by_endpoint_and_type')
        .on(table.tenant_id, table.status, table.endpoint_id, table.event_type, table.id)
        .where(sql`status ${STUCK}`),
      index('deliveries_held').on(table.tenant_id, table.endpoint_id, table.id).where(sql`status = 'held'`),
      index('deliveries_in_order')
        .on(table.tenant_id, table.endpoint_id, table.order_key, table.seq)
        .where(sql`order_key is not null and status ${OPEN}`),
    ],
  ),
)

export type DeliveryRow = typeof deliveries.$inferSelect
