import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import type * as z from 'zod'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'

export const CALL_STATUSES = ['queued', 'ringing', 'in_progress', 'completed', 'failed', 'no_answer'] as const
export type CallStatus = (typeof CALL_STATUSES)[number]

/**
 * A call that an agent makes. `next_at` says when something is due for it, by the clock alone; null once it has ended and
 * nothing is left to do. What was reserved of the tenant's credit for it is spent or released in the batch that ends it.
 */
export const calls = confined(
  sqliteTable(
    'calls',
    {
      tenant_id: tenantId(),
      id: id(),
      agent_id: text().notNull(),
      campaign_id: text(),
      contact_id: text(),
      to: text().notNull(),
      from: text().notNull(),
      status: text({ enum: CALL_STATUSES }).notNull(),
      provider: text().notNull(),
      /** What the provider calls it; null until it was asked and answered. */
      provider_call_id: text(),
      /** What who carries it calls it, where that is another. */
      carrier_call_id: text(),
      /** Whether it was placed by accounts of the tenant's own: they alone are asked of it; null until it was. */
      own: integer({ mode: 'boolean' }),
      /** When the provider was first asked for it: from then on it may be known there, whatever came of the answer. */
      asked_at: time(),
      /** When it was answered. */
      started_at: time(),
      ended_at: time(),
      duration_seconds: integer(),
      /** Credits; null until it has ended. */
      cost: integer(),
      /** What a minute costs, as it was when the call was placed. */
      credits_per_minute: integer().notNull(),
      /** Credits that are held for it now. */
      reserved: integer().notNull(),
      /** How often that was extended: each is booked under a number of its own. */
      extensions: integer().notNull().default(0),
      max_duration_seconds: integer().notNull(),
      ended_reason: text(),
      /** Whether the provider has yet to hear that it was ended here. */
      hang_up: integer({ mode: 'boolean' }).notNull().default(false),
      turns: integer().notNull().default(0),
      /** `pending` from the end until it is there, or known that there is none. */
      recording: text({ enum: ['pending', 'kept', 'none'] }),
      recording_file_id: text(),
      metadata: json<Record<string, z.core.util.JSONType>>().notNull(),
      /** Whether somebody listens to its channel, or did. */
      watched: integer({ mode: 'boolean' }).notNull().default(false),
      next_at: time(),
      /** How often in a row what is due has failed. */
      failures: integer().notNull().default(0),
      created_by: text(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('calls_by_status').on(table.tenant_id, table.status, table.id),
      index('calls_by_agent').on(table.tenant_id, table.agent_id, table.id),
      index('calls_by_to').on(table.tenant_id, table.to, table.id),
      index('calls_by_campaign')
        .on(table.tenant_id, table.campaign_id, table.id)
        .where(sql`campaign_id is not null`),
      uniqueIndex('calls_by_provider_id')
        .on(table.tenant_id, table.provider_call_id)
        .where(sql`provider_call_id is not null`),
      index('calls_by_carrier_id')
        .on(table.tenant_id, table.carrier_call_id)
        .where(sql`carrier_call_id is not null`),
      index('calls_due_of_tenant').on(table.tenant_id, table.next_at).where(sql`next_at is not null`),
      index('calls_due').on(table.next_at).where(sql`next_at is not null`),
    ],
  ),
)

/** Who said what in a call, in its order. */
export const callTurns = confined(
  sqliteTable(
    'call_turns',
    {
      tenant_id: tenantId(),
      call_id: text().notNull(),
      /** 0, 1, 2, … of the call. */
      position: integer().notNull(),
      role: text({ enum: ['agent', 'user'] }).notNull(),
      text: text().notNull(),
      started_at: time().notNull(),
      ended_at: time().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.call_id, table.position] })],
  ),
)

export type CallRow = typeof calls.$inferSelect
export type CallTurnRow = typeof callTurns.$inferSelect
