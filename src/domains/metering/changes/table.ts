import { sql } from 'drizzle-orm'
import { index, integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, seq, tenantId, time } from '../../../data/columns'

/**
 * What every isolate must know soon: who was revoked, how a tenant stands. Written in the batch of the change itself;
 * `told` is 0 until the tenant's Meter and KV have it, and the partial index holds just those. Rows stay until `until`,
 * for a Meter that has lost what it kept.
 */
export const stateChanges = confined(
  sqliteTable(
    'state_changes',
    {
      tenant_id: tenantId(),
      seq: seq(),
      kind: text().notNull(),
      id: id(),
      /** Nobody remembers anything older by then. */
      until: time().notNull(),
      /** JSON. */
      data: text().notNull(),
      told: integer().notNull().default(0),
      created_at: time().notNull(),
    },
    (table) => [
      index('state_changes_by_tenant').on(table.tenant_id),
      index('state_changes_by_end').on(table.until),
      index('state_changes_untold').on(table.told, table.seq).where(sql`told = 0`),
    ],
  ),
)
