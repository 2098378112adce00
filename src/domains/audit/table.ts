import { index, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, id, json, seq, tenantId, time } from '../../data/columns'

/** Who did what to which resource, from where, and what it changed; append-only. */
export const auditLog = confined(
  sqliteTable(
    'audit_log',
    {
      tenant_id: tenantId(),
      seq: seq(),
      id: id(),
      actor_kind: text({ enum: ['user', 'api_key', 'system', 'anonymous'] }).notNull(),
      actor_id: text(),
      impersonator_id: text(),
      /** `endpoint.create`: the resource in the singular and the verb. */
      action: text().notNull(),
      resource: text().notNull(),
      resource_id: text().notNull(),
      address: text(),
      user_agent: text(),
      request_id: text(),
      before: json<Record<string, unknown>>(),
      after: json<Record<string, unknown>>(),
      created_at: time().notNull(),
    },
    (table) => [index('audit_log_by_tenant').on(table.tenant_id, table.seq)],
  ),
)
