import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, tenantId, time } from '../../../data/columns'

/**
 * Interactions of one tenant that go to the data pipeline together, until it has taken them. Which they are is settled
 * here before they are sent, so what is sent again is the same batch.
 */
export const pipelineBatches = confined(
  sqliteTable(
    'pipeline_batches',
    {
      tenant_id: tenantId(),
      id: id(),
      first_seq: integer().notNull(),
      last_seq: integer().notNull(),
      size: integer().notNull(),
      /** Attempts that failed, one after the other. */
      failures: integer().notNull().default(0),
      /** What the pipeline said of this batch when it refused it; null while nothing but an outage kept it back. */
      refusal: text(),
      next_at: time().notNull(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('pipeline_batches_due').on(table.next_at),
      // However many were refused: what waits, and what is to wait longer.
      index('pipeline_batches_waiting').on(table.first_seq).where(sql`refusal is null`),
      index('pipeline_batches_refused').on(table.tenant_id).where(sql`refusal is not null`),
    ],
  ),
)

export type PipelineBatch = typeof pipelineBatches.$inferSelect
