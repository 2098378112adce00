import { and, asc, eq, gt } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { erasedWithTenant } from '../../../data/erasure'
import { auditLog } from '../../audit/table'
import { endpoints } from '../endpoints/table'
import { senderOf } from './wake'

/** The endpoints that a tenant ever had: the objects of deleted ones keep what their attempts were answered. */
async function everyEndpoint(ctx: Context, after: string, limit: number): Promise<string[]> {
  const tenantId = ctx.tenant.id
  const [standing, made] = await Promise.all([
    ctx.db
      .select({ id: endpoints.id })
      .from(endpoints)
      .where(and(eq(endpoints.tenant_id, tenantId), gt(endpoints.id, after)))
      .orderBy(asc(endpoints.id))
      .limit(limit),
    ctx.db
      .select({ id: auditLog.resource_id })
      .from(auditLog)
      .where(
        and(
          eq(auditLog.tenant_id, tenantId),
          eq(auditLog.action, 'endpoint.create'),
          gt(auditLog.resource_id, after),
        ),
      )
      .orderBy(asc(auditLog.resource_id))
      .limit(limit),
  ])
  const ids = new Set([...standing, ...made].map(({ id }) => id))
  return [...ids].sort().slice(0, limit)
}

erasedWithTenant({
  name: 'endpoint_objects',
  first: true,
  keys: everyEndpoint,
  erase: async (env, tenant_id, endpoint_id) => (await senderOf(env, { tenant_id, endpoint_id })).erase(),
})
