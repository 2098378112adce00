import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
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
      /** The application that it belongs to; null for the tenant's own. */
      application_id: text(),
      /** How its data differs from the schema of its type, where that only warns: a path and what is wrong there. */
      schema_error: text(),
      /** Words to find it by, which decide nothing; null where it has none. */
      tags: json<string[]>(),
    },
    (table) => [
      uniqueIndex('events_by_id').on(table.tenant_id, table.id),
      index('events_by_type').on(table.tenant_id, table.type, table.id),
      // In the order of commit: who polls misses nothing that is committed late.
      index('events_by_seq').on(table.tenant_id, table.seq),
      uniqueIndex('events_by_origin').on(table.tenant_id, table.origin).where(sql`origin is not null`),
      index('events_by_application')
        .on(table.tenant_id, table.application_id, table.id)
        .where(sql`application_id is not null`),
      // Whom an event is about leads to it, in the order of commit: what is sent in order, and what is erased.
      index('events_by_subject')
        .on(table.tenant_id, table.subject, table.seq)
        .where(sql`subject is not null`),
      index('events_unlike_their_schema').on(table.tenant_id, table.id).where(sql`schema_error is not null`),
      index('events_unlike_their_schema_by_type')
        .on(table.tenant_id, table.type, table.id)
        .where(sql`schema_error is not null`),
      index('events_undispatched').on(table.dispatched, table.seq).where(sql`dispatched = 0`),
    ],
  ),
)

/** The events of each channel. A trigger on `events` makes its rows (see the migration that made it), and one removes them. */
export const eventChannels = confined(
  sqliteTable(
    'event_channels',
    {
      tenant_id: tenantId(),
      channel: text().notNull(),
      event_id: text().notNull(),
      type: text().notNull().default(''),
      /** Whether its data differed from the schema of its type. */
      unlike: integer().notNull().default(0),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.channel, table.event_id] }),
      index('event_channels_by_type').on(table.tenant_id, table.channel, table.type, table.event_id),
      index('event_channels_unlike')
        .on(table.tenant_id, table.channel, table.event_id)
        .where(sql`unlike = 1`),
      index('event_channels_unlike_by_type')
        .on(table.tenant_id, table.channel, table.type, table.event_id)
        .where(sql`unlike = 1`),
    ],
  ),
)

export type EventRow = typeof events.$inferSelect
