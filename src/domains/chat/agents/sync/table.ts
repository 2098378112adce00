import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, tenantId } from '../../../../data/columns'

/** Agents whose provider has yet to be told of a change, or of their end; a row goes once it has been. */
export const agentSyncs = confined(
  sqliteTable(
    'agent_syncs',
    {
      tenant_id: tenantId(),
      agent_id: text().notNull(),
      /** Of an agent that was deleted here: what is to be deleted there. */
      removed: text(),
      /** Counts the changes, so that one made while the provider was being told is told as well. */
      asked: integer().notNull().default(1),
      attempts: integer().notNull().default(0),
      /** Who tells the provider now; until `due_at` nobody else does. */
      claim: text(),
      due_at: text().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.agent_id] }),
      index('agent_syncs_due').on(table.due_at),
    ],
  ),
)

export type AgentSyncRow = typeof agentSyncs.$inferSelect
