import { foreignKey, index, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { id, ofIdentity, tenantId, time, version } from '../../../data/columns'
import { users } from '../../identity/users/table'

/** The directory of partners: organisations whose users may act in several tenants. They belong to no tenant. */
export const partners = sqliteTable('partners', {
  id: text().primaryKey(),
  name: text().notNull(),
  /** A suspended partner's users act nowhere but at home. */
  status: text({ enum: ['active', 'suspended'] }).notNull(),
  /** Counts the changes of the partner, of its tenants and of its users. */
  version: version(),
  created_at: time().notNull(),
  updated_at: time().notNull(),
})

/** What a partner may be in a tenant: the role of its users there. */
export const PARTNER_ROLES = ['viewer', 'member', 'developer', 'admin'] as const

/** The tenants that a partner's users may act in. It ends with the tenant, to which it belongs. */
export const partnerTenants = ofIdentity(
  sqliteTable(
    'partner_tenants',
    {
      tenant_id: tenantId(),
      partner_id: text()
        .notNull()
        .references(() => partners.id, { onDelete: 'cascade' }),
      role: text({ enum: PARTNER_ROLES }).notNull(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.partner_id] }),
      // A partner's tenants are found by the partner: the one list that is nobody's alone.
      index('partner_tenants_by_partner').on(table.partner_id, table.tenant_id),
    ],
  ),
)

/** The users who act for a partner; each is a user of the tenant where he logs in, and acts for one partner at most. */
export const partnerUsers = ofIdentity(
  sqliteTable(
    'partner_users',
    {
      tenant_id: tenantId(),
      /** The user's. */
      id: id(),
      partner_id: text()
        .notNull()
        .references(() => partners.id, { onDelete: 'cascade' }),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('partner_users_by_partner').on(table.partner_id, table.id),
      foreignKey({
        columns: [table.tenant_id, table.id],
        foreignColumns: [users.tenant_id, users.id],
      }).onDelete('cascade'),
    ],
  ),
)

export type PartnerRow = typeof partners.$inferSelect
export type PartnerRole = (typeof PARTNER_ROLES)[number]
