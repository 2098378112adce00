import { sql } from 'drizzle-orm'
import { integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'

/** A header's value as it is kept: one that may be a credential is sealed. */
export type StoredHeaders = Record<string, string | { sealed: string }>

/** A signing secret as it is kept; each that has not expired signs. */
export type StoredSecret = { sealed: string; expires_at: string | null }

/** A URL of a tenant that receives events. */
export const endpoints = confined(
  sqliteTable(
    'endpoints',
    {
      tenant_id: tenantId(),
      id: id(),
      /** The last six digits of the id; they end the ids of its deliveries (deliveries/table.ts). */
      tail: text().notNull(),
      /** The tenant's own name for it. */
      uid: text(),
      url: text().notNull(),
      description: text().notNull(),
      event_types: json<string[]>().notNull(),
      /** Empty: events of any channel, and of none. */
      channels: json<string[]>().notNull(),
      /** What the body is: the event, or its data alone. */
      payload: text({ enum: ['event', 'data'] }).notNull(),
      headers: json<StoredHeaders>().notNull(),
      secrets: json<StoredSecret[]>().notNull(),
      timeout_ms: integer().notNull(),
      status: text({ enum: ['active', 'paused', 'disabled'] }).notNull(),
      /** No attempt is made before this: the receiver asked for a pause by Retry-After. */
      not_before: time(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('endpoints_by_uid').on(table.tenant_id, table.uid).where(sql`uid is not null`),
      uniqueIndex('endpoints_by_tail').on(table.tenant_id, table.tail),
    ],
  ),
)

export type EndpointRow = typeof endpoints.$inferSelect
