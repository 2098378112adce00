import { index, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, ofIdentity, tenantId, time, version } from '../../../data/columns'

/** A group of users of one tenant, with whom things can be shared together. */
export const teams = confined(
  sqliteTable(
    'teams',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      /** The name as it is compared: no two teams have one that differs in case alone. */
      name_key: text().notNull(),
      description: text(),
      created_by: text(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('teams_by_name').on(table.tenant_id, table.name_key),
    ],
  ),
)

/** Who is in a team. */
export const teamMembers = ofIdentity(
  sqliteTable(
    'team_members',
    {
      tenant_id: tenantId(),
      team_id: text().notNull(),
      user_id: text().notNull(),
      added_by: text(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.team_id, table.user_id] }),
      index('team_members_by_user').on(table.tenant_id, table.user_id, table.team_id),
    ],
  ),
)

export type TeamRow = typeof teams.$inferSelect
