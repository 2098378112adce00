import { type SQL, sql } from 'drizzle-orm'
import { problem } from '../../../lib/problem'

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
