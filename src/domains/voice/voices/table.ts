import { integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'

/**
 * How agents sound on calls. Triggers take one that is deleted out of the agents that had it, and have their provider told
 * of it, and of one that can be used from now on.
 */
export const voices = confined(
  sqliteTable(
    'voices',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      kind: text({ enum: ['clone', 'external'] }).notNull(),
      /** BCP 47. */
      language: text(),
      provider: text({ enum: ['elevenlabs', 'ultravox', 'simulated'] }).notNull(),
      /** Null while the provider has not made it. */
      provider_voice_id: text(),
      /** Whether the account that it is of is the tenant's own; else it is the operator's. */
      own: integer({ mode: 'boolean' }).notNull(),
      status: text({ enum: ['queued', 'ready', 'failed'] }).notNull(),
      /** Why the provider could not make it. */
      error: text(),
      /** What it was cloned from. */
      file_ids: json<string[]>().notNull(),
      /** The job that has the provider make it. */
      job_id: text(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.id] })],
  ),
)

export type VoiceRow = typeof voices.$inferSelect
