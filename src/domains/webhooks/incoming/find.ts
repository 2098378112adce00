import { eq } from 'drizzle-orm'
import type { RequestContext, Tenant } from '../../../data/context'
import { directory } from '../../../data/database'
import { tenantView } from '../../identity/sessions/standing'
import { tenants } from '../../tenancy/tenants/table'
import { type SourceRow, webhookSources } from './table'

/** A source by the id in its URL, with its tenant as the directory has it; null where there is none. */
export async function findSource(
  request: RequestContext,
  id: string,
): Promise<{ source: SourceRow; tenant: Tenant } | null> {
  const row = await directory(request.env)
    .select({ source: webhookSources, tenant: tenants })
    .from(webhookSources)
    .innerJoin(tenants, eq(tenants.id, webhookSources.tenant_id))
    .where(eq(webhookSources.id, id))
    .get()
  return row ? { source: row.source, tenant: tenantView(row.tenant) } : null
}
