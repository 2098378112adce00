import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'

export const CAMPAIGN_STATUSES = [
  'draft',
  'scheduled',
  'running',
  'paused',
  'completed',
  'cancelled',
] as const
export type CampaignStatus = (typeof CAMPAIGN_STATUSES)[number]

/** Why a campaign is paused: somebody asked for it, or it can't go on before somebody has done something about it. */
export const PAUSE_REASONS = [
  'requested',
  'insufficient_credit',
  'agent_unavailable',
  'provider_unavailable',
  'internal_error',
] as const
export type PauseReason = (typeof PAUSE_REASONS)[number]

/** `calling` from the batch that placed its call to the one that ends it. */
export const CONTACT_STATUSES = ['pending', 'calling', 'completed', 'no_answer', 'failed'] as const
export type ContactStatus = (typeof CONTACT_STATUSES)[number]

/** When a campaign calls: as it was asked for, and nothing left out. */
export type Schedule = {
  start_at: string
  end_at: string | null
  timezone: string
  calling_hours: { from: string; to: string; days: string[] }
  calls_per_minute: number
  retries: number
  retry_delay_minutes: number
}

/**
 * Calls to many, by one agent. The counts of its contacts are kept in the batches that change those, so that reading them
 * costs the same however many there are.
 */
export const campaigns = confined(
  sqliteTable(
    'campaigns',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      agent_id: text().notNull(),
      /** Whose number is shown; null for the one that calls have without. */
      from: text(),
      status: text({ enum: CAMPAIGN_STATUSES }).notNull(),
      paused_reason: text({ enum: PAUSE_REASONS }),
      schedule: json<Schedule>(),
      /** The job that runs it, from when it is scheduled on. */
      job_id: text(),
      contacts: integer().notNull().default(0),
      pending: integer().notNull().default(0),
      calling: integer().notNull().default(0),
      completed: integer().notNull().default(0),
      no_answer: integer().notNull().default(0),
      failed: integer().notNull().default(0),
      /** How often the counts were changed; they are no version of what somebody decides. */
      counted: integer().notNull().default(0),
      created_by: text(),
      started_at: time(),
      completed_at: time(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('campaigns_by_status').on(table.tenant_id, table.status, table.id),
      index('campaigns_by_agent').on(table.tenant_id, table.agent_id, table.id),
    ],
  ),
)

/** Somebody whom a campaign calls: one for each number. */
export const campaignContacts = confined(
  sqliteTable(
    'campaign_contacts',
    {
      tenant_id: tenantId(),
      campaign_id: text().notNull(),
      id: id(),
      /** E.164. */
      phone: text().notNull(),
      name: text(),
      /** Where it is, by the name of a time zone; empty for the campaign's. */
      timezone: text().notNull(),
      metadata: json<Record<string, unknown>>().notNull(),
      status: text({ enum: CONTACT_STATUSES }).notNull(),
      /** Calls that were placed. */
      attempts: integer().notNull(),
      /** The last of them, and how it ended. */
      call_id: text(),
      ended_reason: text(),
      /** From when on it may be called, calling hours aside; null while it is called, and once it was. */
      next_at: time(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.campaign_id, table.id] }),
      uniqueIndex('campaign_contacts_by_phone').on(table.tenant_id, table.campaign_id, table.phone),
      index('campaign_contacts_by_status').on(table.tenant_id, table.campaign_id, table.status, table.id),
      index('campaign_contacts_due')
        .on(table.tenant_id, table.campaign_id, table.timezone, table.next_at)
        .where(sql`next_at is not null`),
    ],
  ),
)

export type CampaignRow = typeof campaigns.$inferSelect
export type ContactRow = typeof campaignContacts.$inferSelect
