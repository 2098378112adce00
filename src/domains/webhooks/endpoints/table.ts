import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'
import type { Filter } from './filter'

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
      /** The tenant's own name for it; unique in its application, or among the tenant's own. */
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
      status: text({ enum: ['active', 'degraded', 'paused', 'disabled'] }).notNull(),
      /** No attempt is made before this: the receiver asked for a pause by Retry-After. */
      not_before: time(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
      /** The application that it belongs to; null for the tenant's own. */
      application_id: text(),
      /** Null: every event of its types and channels. */
      filter: json<Filter>(),
      /** Deliveries a second; null for no limit of its own. */
      rate_limit: integer(),
      /** Whether events of one subject arrive in the order of their commit. */
      ordered: integer({ mode: 'boolean' }).notNull().default(false),
      /** Seconds to wait after each failed attempt; null for the service's schedule. */
      retry_schedule: json<number[]>(),
      /** Whose names the signature's headers have. */
      signature_profile: text({ enum: ['standard', 'svix', 'stripe'] })
        .notNull()
        .default('standard'),
      /** What the tenant notes beside it. */
      metadata: json<Record<string, string>>().notNull().default({}),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('endpoints_by_uid')
        .on(table.tenant_id, table.uid)
        .where(sql`uid is not null and application_id is null`),
      uniqueIndex('endpoints_by_uid_in_application')
        .on(table.tenant_id, table.application_id, table.uid)
        .where(sql`uid is not null and application_id is not null`),
      // An event looks at the endpoints of its application, however many others the tenant has: at the types that they
      // take, of which the index tells, and at the rows of those that take its own.
      index('endpoints_by_application').on(
        table.tenant_id,
        table.application_id,
        table.id,
        table.event_types,
      ),
      uniqueIndex('endpoints_by_tail').on(table.tenant_id, table.tail),
      // Those whose filters an event must ask before it is dispatched; most tenants have none.
      index('endpoints_filtered').on(table.tenant_id, table.application_id).where(sql`filter is not null`),
      // When the next probe of each is due.
      index('endpoints_degraded').on(table.not_before).where(sql`status = 'degraded'`),
    ],
  ),
)

export type EndpointRow = typeof endpoints.$inferSelect
