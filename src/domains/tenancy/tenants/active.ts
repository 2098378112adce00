import { type SQL, sql } from 'drizzle-orm'

/** The condition that a tenant is neither suspended nor cancelled when the statement runs. */
export const isActive = (tenantId: string): SQL =>
  sql`exists (select 1 from tenants where id = ${tenantId} and status = 'active')`

/** The condition that a tenant is there, and not cancelled, when the statement runs. */
export const isKept = (tenantId: string): SQL =>
  sql`exists (select 1 from tenants where id = ${tenantId} and status <> 'cancelled')`
