import { and, desc, eq, lt } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { directory } from '../../../data/database'
import { pageOf } from '../../../data/page'
import { contextFor } from '../../../data/system'
import { problem } from '../../../lib/problem'
import { keyView, revokeApiKey } from '../../identity/api-keys/service'
import { apiKeys } from '../../identity/api-keys/table'
import { tenantView } from '../../identity/sessions/standing'
import { tenants } from '../tenants/table'

type Filter = { limit: number; cursor?: string | undefined; tenant_id?: string | undefined }

/** The API keys of all tenants or of one, newest first; none of them shows the key itself. */
export function listTenantKeys(ctx: Context, input: Filter) {
  return pageOf(`platform_api_keys:${input.tenant_id ?? ''}`, input, async (after, limit) => {
    const rows = await directory(ctx.env)
      .select()
      .from(apiKeys)
      .where(
        and(
          input.tenant_id ? eq(apiKeys.tenant_id, input.tenant_id) : undefined,
          after ? lt(apiKeys.id, after.id) : undefined,
        ),
      )
      .orderBy(desc(apiKeys.id))
      .limit(limit)
    return rows.map((row) => keyView(ctx, row))
  })
}

/** Revokes a key of any tenant; on record in that tenant's log. */
export async function revokeTenantKey(ctx: Context, id: string): Promise<undefined> {
  const row = await directory(ctx.env)
    .select({ tenant: tenants })
    .from(apiKeys)
    .innerJoin(tenants, eq(tenants.id, apiKeys.tenant_id))
    .where(eq(apiKeys.id, id))
    .get()
  if (!row) throw problem.notFound('API key', id)
  return revokeApiKey(contextFor(ctx, tenantView(row.tenant), ctx.principal), id)
}
