import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../data/columns'
import type { StepDefinition, Trigger } from './definition'

/** A named list of steps. A run keeps the steps that it began with (the state of its job), so nothing refers to these. */
export const workflows = confined(
  sqliteTable(
    'workflows',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      description: text().notNull(),
      is_active: integer({ mode: 'boolean' }).notNull(),
      triggers: json<Trigger[]>().notNull(),
      steps: json<StepDefinition[]>().notNull(),
      /** Runs that may be under way at once. */
      max_runs: integer().notNull(),
      created_by: text(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    // A tenant has a hundred at most: lists read them by the primary key.
    (table) => [primaryKey({ columns: [table.tenant_id, table.id] })],
  ),
)

/**
 * What starts the workflows that are switched on, a row each: an event type, or a schedule and when it is due next. A
 * trigger on `events` reads these (see the migration that made it), so an event that is committed is never missed.
 */
export const workflowTriggers = confined(
  sqliteTable(
    'workflow_triggers',
    {
      tenant_id: tenantId(),
      workflow_id: text().notNull(),
      /** Its place among the workflow's. */
      place: integer().notNull(),
      /** A type, a prefix such as `order.*`, or `*`. */
      event_type: text(),
      cron: text(),
      time_zone: text(),
      next_at: time(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.workflow_id, table.place] }),
      index('workflow_triggers_by_event')
        .on(table.tenant_id, table.event_type)
        .where(sql`event_type is not null`),
      index('workflow_triggers_due').on(table.next_at).where(sql`next_at is not null`),
    ],
  ),
)

/** Events that wait to start a run, in the order of their commit; the row goes in the batch that starts it. */
export const workflowEvents = confined(
  sqliteTable(
    'workflow_events',
    {
      tenant_id: tenantId(),
      workflow_id: text().notNull(),
      seq: integer().notNull(),
      event_id: text().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.workflow_id, table.seq] })],
  ),
)

export type WorkflowRow = typeof workflows.$inferSelect
