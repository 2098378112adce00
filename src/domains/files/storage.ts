import { eq, sql } from 'drizzle-orm'
import type { Check } from '../../data/commit'
import type { Context } from '../../data/context'
import { problem } from '../../lib/problem'
import { limitsOf } from '../tenancy/plans'
import { storedBytes } from './table'

/**
 * The condition that what a tenant stores is within its plan's storage (limits.md), asked in the batch of the row that
 * names another object, after that row's statement. 409 `storage_limit_reached`.
 */
export function storageHolds(ctx: Context): Check {
  const limit = limitsOf(ctx.tenant).storage_bytes
  return {
    holds: sql`not exists (select 1 from ${storedBytes} where tenant_id = ${ctx.tenant.id}
      and ${storedBytes.bytes} > ${limit})`,
    otherwise: problem('storage_limit_reached', `The tenant’s storage of ${limit} bytes is full`, {
      details: { limit_bytes: limit },
    }),
  }
}

/** How many bytes the tenant's stored objects have together. */
export async function storageUsed(ctx: Context): Promise<number> {
  const rows = await ctx.db
    .select({ bytes: storedBytes.bytes })
    .from(storedBytes)
    .where(eq(storedBytes.tenant_id, ctx.tenant.id))
    .limit(1)
  return rows[0]?.bytes ?? 0
}
