import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { json, time } from '../../../data/columns'

/**
 * The deletions of cancelled tenants: when, how far, and what was removed. It names a tenant by its id alone, and stays
 * when nothing else of the tenant does.
 */
export const deletions = sqliteTable(
  'deletions',
  {
    /** The tenant's. */
    id: text().primaryKey(),
    /** The platform administrator; null where the service itself ended a registration. */
    requested_by: text(),
    cancelled_at: time().notNull(),
    delete_after: time().notNull(),
    /** From then on nothing takes it back. */
    started_at: time(),
    finished_at: time(),
    /** Everything is gone through twice, the second time for what was still on its way at the first. */
    pass: integer().notNull().default(1),
    step: text().notNull().default(''),
    /** How far within the step. */
    at: text().notNull().default(''),
    /** When it goes on. */
    resume_at: time().notNull(),
    /** How many of each kind were removed. */
    removed: json<Record<string, number>>().notNull(),
  },
  (table) => [index('deletions_due').on(table.resume_at).where(sql`finished_at is null`)],
)

export type DeletionRow = typeof deletions.$inferSelect
