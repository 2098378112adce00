import { integer, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { json, time, version } from '../../../data/columns'
import { type OwnLimits, PLAN_NAMES } from '../plans'
import type { TenantSettings } from './settings'

/** The directory of tenants. It has no tenant_id: only identity, tenancy and platform code reach it. */
export const tenants = sqliteTable(
  'tenants',
  {
    id: text().primaryKey(),
    name: text().notNull(),
    slug: text().notNull(),
    plan: text({ enum: PLAN_NAMES }).notNull(),
    status: text({ enum: ['active', 'suspended', 'cancelled'] }).notNull(),
    /** Only what differs from the defaults in settings.ts. */
    settings: json<Partial<TenantSettings>>().notNull(),
    /** Only the tenant's own numbers; the others are its plan's. */
    rate_limits: json<OwnLimits>().notNull().default({}),
    region: text(),
    /** 1 for the one tenant whose users may hold platform:* scopes. */
    is_platform: integer().notNull().default(0),
    version: version(),
    created_at: time().notNull(),
    updated_at: time().notNull(),
    cancelled_at: time(),
  },
  (table) => [uniqueIndex('tenants_by_slug').on(table.slug)],
)

export type TenantRow = typeof tenants.$inferSelect
