import { eq, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { tenants } from './table'

/** The condition that a tenant is neither suspended nor cancelled when the statement runs. */
export const isActive = (tenantId: string): SQL =>
  sql`exists (select 1 from tenants where id = ${tenantId} and status = 'active')`

/** The condition that a tenant is there, and not cancelled, when the statement runs. */
export const isKept = (tenantId: string): SQL =>
  sql`exists (select 1 from tenants where id = ${tenantId} and status <> 'cancelled')`

/** Refuses what belongs to a tenant that is suspended or cancelled, and says what that is: 403 `tenant_suspended`, `tenant_cancelled`. */
export function refuseUnlessActive(status: string, what: string): void {
  if (status === 'active') return
  const code = status === 'cancelled' ? 'tenant_cancelled' : 'tenant_suspended'
  throw problem(code, `The ${what}’s tenant is ${status}`)
}

/** The same by how the tenant stands in D1, whatever this isolate remembers. */
export async function refuseUnlessActiveNow({ db, tenant }: Context, what: string): Promise<void> {
  const row = await db.select({ status: tenants.status }).from(tenants).where(eq(tenants.id, tenant.id)).get()
  refuseUnlessActive(row?.status ?? 'cancelled', what)
}
