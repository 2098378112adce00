import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, seq, tenantId, time } from '../../data/columns'

/**
 * What happened. The row is its own outbox entry: `dispatched` is 0 until the deliveries it causes stand, and the
 * partial index holds just those, so a sweep reads what is undone and nothing else.
 */
export const events = confined(
  sqliteTable(
    'events',
    {
      tenant_id: tenantId(),
      seq: seq(),
      /** `msg_` and a UUIDv7; the `webhook-id` of every attempt. */
      id: id(),
      type: text().notNull(),
      subject: text(),
      channels: json<string[]>().notNull(),
      /** The JSON text of `data`, printed once; null where it is kept in R2 under `data_key`. */
      data: text(),
      data_key: text(),
      /** For events born in an object: the object's name and its own sequence number, so that they come here once. */
      origin: text(),
      /** The W3C trace of what caused it; every attempt carries it on. */
      trace_id: text(),
      dispatched: integer().notNull().default(0),
      timestamp: time().notNull(),
    },
    (table) => [
      uniqueIndex('events_by_id').on(table.tenant_id, table.id),
      index('events_by_type').on(table.tenant_id, table.type, table.id),
      uniqueIndex('events_by_origin').on(table.tenant_id, table.origin).where(sql`origin is not null`),
      index('events_undispatched').on(table.dispatched, table.seq).where(sql`dispatched = 0`),
    ],
  ),
)

export type EventRow = typeof events.$inferSelect
