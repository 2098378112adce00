import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, real, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, tenantId, time, version } from '../../../data/columns'

export const METRICS = ['requests', 'error_rate', 'latency_p95', 'deliveries_failed', 'credit'] as const
export const COMPARISONS = ['gt', 'gte', 'lt', 'lte'] as const
export const RESOLUTIONS = ['recovered', 'no_data', 'rule_changed', 'rule_paused', 'rule_deleted'] as const

/** What a tenant wants to be told of: a metric of the last minutes against a threshold. A tenant has few. */
export const alertRules = confined(
  sqliteTable(
    'alert_rules',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      metric: text({ enum: METRICS }).notNull(),
      comparison: text({ enum: COMPARISONS }).notNull(),
      threshold: real().notNull(),
      /** An alert lasts until the metric is beyond this, so that one at the threshold does not come and go. */
      resolve_threshold: real(),
      window_minutes: integer().notNull(),
      /** What a window without requests does to an alert that lasts. */
      no_data: text({ enum: ['keep', 'resolve'] }).notNull(),
      status: text({ enum: ['active', 'paused'] }).notNull(),
      created_by: text(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.id] })],
  ),
)

/** A rule that came true, with its terms as they were then, until it was over. At most one of a rule lasts at a time. */
export const alerts = confined(
  sqliteTable(
    'alerts',
    {
      tenant_id: tenantId(),
      id: id(),
      rule_id: text().notNull(),
      name: text().notNull(),
      metric: text({ enum: METRICS }).notNull(),
      comparison: text({ enum: COMPARISONS }).notNull(),
      threshold: real().notNull(),
      window_minutes: integer().notNull(),
      /** What the metric was when it was raised. */
      value: real().notNull(),
      status: text({ enum: ['open', 'acknowledged', 'resolved'] }).notNull(),
      acknowledged_at: time(),
      acknowledged_by: text(),
      resolved_at: time(),
      /** What the metric was then; null where nobody looked. */
      resolved_value: real(),
      resolution: text({ enum: RESOLUTIONS }),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('alerts_by_status').on(table.tenant_id, table.status, table.id),
      index('alerts_by_rule').on(table.tenant_id, table.rule_id, table.id),
      // Nobody raises the second.
      uniqueIndex('alerts_lasting').on(table.tenant_id, table.rule_id).where(sql`resolved_at is null`),
    ],
  ),
)

/** Tenants with active rules, and when the next minute of each is looked at. */
export const alertWatches = confined(
  sqliteTable('alert_watches', { tenant_id: tenantId().primaryKey(), next_at: time().notNull() }, (table) => [
    index('alert_watches_due').on(table.next_at),
  ]),
)

export type RuleRow = typeof alertRules.$inferSelect
export type AlertRow = typeof alerts.$inferSelect
export type Metric = RuleRow['metric']
