import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../data/columns'

/** Why a job failed, as its tenant is told. */
export type JobError = { code: string; message: string }

/**
 * Work that outlives a request. `state` is the checkpoint: it is written in the batch of what a step changed, so a step
 * either stands with its checkpoint or never was. `next_at` says when the next step is due; null once the job has ended.
 */
export const jobs = confined(
  sqliteTable(
    'jobs',
    {
      tenant_id: tenantId(),
      id: id(),
      kind: text().notNull(),
      status: text({ enum: ['queued', 'running', 'completed', 'failed', 'cancelled'] }).notNull(),
      progress: integer().notNull().default(0),
      input: json<Record<string, unknown>>().notNull(),
      state: json<unknown>().notNull(),
      result: json<Record<string, unknown>>(),
      error: json<JobError>(),
      /** Failures of the step that is due, one after the other. */
      failures: integer().notNull().default(0),
      next_at: time(),
      /** The id of what it is of, where there are lists of such: of a run, its workflow. */
      about: text(),
      /** The event that had it started, once for what it is of. */
      cause: text(),
      created_by: text(),
      created_at: time().notNull(),
      started_at: time(),
      finished_at: time(),
      updated_at: time().notNull(),
      version: version(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('jobs_by_status').on(table.tenant_id, table.status, table.id),
      index('jobs_by_kind').on(table.tenant_id, table.kind, table.id),
      index('jobs_by_kind_and_status').on(table.tenant_id, table.kind, table.status, table.id),
      index('jobs_by_about').on(table.tenant_id, table.about, table.id).where(sql`about is not null`),
      index('jobs_by_about_and_status')
        .on(table.tenant_id, table.about, table.status, table.id)
        .where(sql`about is not null`),
      uniqueIndex('jobs_by_cause')
        .on(table.tenant_id, table.cause, table.about)
        .where(sql`cause is not null`),
      index('jobs_due').on(table.next_at).where(sql`next_at is not null`),
    ],
  ),
)

export type JobRow = typeof jobs.$inferSelect
