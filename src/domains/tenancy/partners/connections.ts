import { asc, eq } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { directory } from '../../../data/database'
import { departing } from '../../../data/departures'
import { bareTenant, contextFor } from '../../../data/system'
import { describeError, log } from '../../../lib/log'
import { partnerTenants } from './table'

/** Tenants looked at because of one change; in others a connection ends with what would be sent to it next. */
const MOST_TENANTS = 100

/** The tenants in which a partner's users may have connections open. */
export async function openTo(ctx: Context, partnerId: string): Promise<string[]> {
  const rows = await directory(ctx.env)
    .select({ tenant_id: partnerTenants.tenant_id })
    .from(partnerTenants)
    .where(eq(partnerTenants.partner_id, partnerId))
    .orderBy(asc(partnerTenants.tenant_id))
    .limit(MOST_TENANTS)
  return rows.map(({ tenant_id }) => tenant_id)
}

/** Has the connections that are open in tenants looked at, after the answer: whoever lost the right to one is cut off. */
export function lookAtConnections(ctx: Context, tenantIds: readonly string[]): void {
  ctx.defer(
    Promise.all(
      tenantIds.map((tenantId) =>
        // One that can't be asked must not keep the others from it.
        lookAtThose(ctx, tenantId).catch((error: unknown) =>
          log.warn('connections_not_looked_at', { tenant_id: tenantId, cause: describeError(error) }),
        ),
      ),
    ),
  )
}

async function lookAtThose(ctx: Context, tenantId: string): Promise<void> {
  const inside = contextFor(ctx, bareTenant(tenantId), ctx.principal)
  // Of whatever role they were there: all that is open is looked at.
  const along = await departing(inside, { kind: 'rights', id: ctx.principal.id ?? '', role: 'admin' })
  await along.afterwards()
}
