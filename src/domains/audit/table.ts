import { lte, type SQL } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time } from '../../data/columns'

/**
 * Who did what to which resource, from where, and what it changed; append-only. A row's `seq` is given by the statement
 * that writes it (data/record.ts), one more than the tenant's last: a number that is not there was removed.
 */
export const auditLog = confined(
  sqliteTable(
    'audit_log',
    {
      tenant_id: tenantId(),
      seq: integer().notNull(),
      id: id(),
      actor_kind: text({ enum: ['user', 'api_key', 'system', 'anonymous'] }).notNull(),
      actor_id: text(),
      /** Who stood behind the actor, from another tenant. */
      impersonator_kind: text({ enum: ['user', 'api_key'] }),
      impersonator_id: text(),
      impersonator_tenant_id: text(),
      /** `endpoint.create`: the resource in the singular and the verb. */
      action: text().notNull(),
      resource: text().notNull(),
      resource_id: text().notNull(),
      address: text(),
      user_agent: text(),
      request_id: text(),
      before: json<Record<string, unknown>>(),
      after: json<Record<string, unknown>>(),
      /** The database's own time of the commit, so that it grows with `seq`. */
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.seq] }),
      index('audit_log_by_actor').on(table.tenant_id, table.actor_id, table.seq),
      index('audit_log_by_action').on(table.tenant_id, table.action, table.seq),
      index('audit_log_by_resource').on(table.tenant_id, table.resource_id, table.seq),
      index('audit_log_by_kind').on(table.tenant_id, table.resource, table.seq),
      index('audit_log_by_request').on(table.tenant_id, table.request_id, table.seq),
    ],
  ),
)

/** The condition that a row's `seq` can be counted on from: what else was put there by hand must not stop the log. */
export const isNumber = (): SQL => lte(auditLog.seq, Number.MAX_SAFE_INTEGER - 1)

/** An HMAC over a range of the log and over the seal before it; see seal.ts. */
export const auditSeals = confined(
  sqliteTable(
    'audit_seals',
    {
      tenant_id: tenantId(),
      number: integer().notNull(),
      first_seq: integer().notNull(),
      last_seq: integer().notNull(),
      /** Which master key's derived key made it. */
      key_id: text().notNull(),
      /** The seal before; empty for the first. */
      previous: text().notNull(),
      seal: text().notNull(),
      created_at: time().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.number] })],
  ),
)

/** Tenants with rows that no seal covers yet, since when: what the sealer looks for. */
export const auditUnsealed = confined(
  sqliteTable('audit_unsealed', { tenant_id: tenantId(), since: time().notNull() }, (table) => [
    primaryKey({ columns: [table.tenant_id] }),
    index('audit_unsealed_by_time').on(table.since),
  ]),
)

export type AuditRow = typeof auditLog.$inferSelect
export type SealRow = typeof auditSeals.$inferSelect
