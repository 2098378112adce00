import { and, eq, sql } from 'drizzle-orm'
import type { BatchItem } from 'drizzle-orm/batch'
import { auditLog, auditUnsealed, isNumber } from '../domains/audit/table'
import { newId } from '../lib/ids'
import type { Context } from './context'

/** What is written to the audit log; secrets are left out by whoever fills `before` and `after`. */
export type AuditEntry = {
  action: string
  resource: string
  resource_id: string
  before?: Record<string, unknown>
  after?: Record<string, unknown>
}

/** The database's own clock: the one that all who commit share. */
const NOW = sql`strftime('%Y-%m-%dT%H:%M:%fZ', 'now')`

/**
 * The statements that put a row on record, under the number after the tenant's last, and have it sealed. They belong into
 * the batch of what they tell of; not async, since awaiting a Drizzle statement would run it outside the batch.
 */
export function auditStatements(ctx: Context, entry: AuditEntry): BatchItem<'sqlite'>[] {
  const { principal, impersonator } = ctx
  const tenant_id = ctx.tenant.id
  const mine = and(eq(auditLog.tenant_id, tenant_id), isNumber())
  const last = sql`select max(${auditLog.seq}) from ${auditLog} where ${mine}`
  const row = ctx.db.insert(auditLog).values({
    tenant_id,
    seq: sql`coalesce(cast((${last}) as integer), 0) + 1`,
    id: newId(ctx.now),
    actor_kind: principal.kind,
    actor_id: principal.id,
    impersonator_kind: impersonator?.kind ?? null,
    impersonator_id: impersonator?.id ?? null,
    impersonator_tenant_id: impersonator?.tenant_id ?? null,
    action: entry.action,
    resource: entry.resource,
    resource_id: entry.resource_id,
    address: ctx.address,
    user_agent: ctx.userAgent,
    request_id: ctx.requestId,
    before: entry.before ?? null,
    after: entry.after ?? null,
    created_at: NOW,
  })
  return [row, ctx.db.insert(auditUnsealed).values({ tenant_id, since: NOW }).onConflictDoNothing()]
}
