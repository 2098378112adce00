import { and, eq, sql } from 'drizzle-orm'
import type { Guarded } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import type { Problem } from '../../../lib/problem'
import { type BillingAccountRow, billingAccounts } from './table'

/** The tenant as who pays; null before it ever went to pay. */
export async function accountOf(ctx: Context): Promise<BillingAccountRow | null> {
  const row = await ctx.db
    .select()
    .from(billingAccounts)
    .where(eq(billingAccounts.tenant_id, ctx.tenant.id))
    .get()
  return row ?? null
}

/**
 * Changes the account, or makes it, where it is as it was read; `stale` where it is not. Not async: it belongs into the
 * batch of what it is about.
 */
export function accountSet(
  ctx: Context,
  account: BillingAccountRow | null,
  set: Partial<BillingAccountRow> & Pick<BillingAccountRow, 'provider'>,
  stale: Problem,
): Guarded {
  const now = iso(ctx.now)
  if (account === null)
    return {
      statement: ctx.db
        .insert(billingAccounts)
        .values({ ...set, tenant_id: ctx.tenant.id, created_at: now, updated_at: now })
        .onConflictDoNothing(),
      otherwise: stale,
    }
  return {
    statement: ctx.db
      .update(billingAccounts)
      .set({ ...set, updated_at: now, version: sql`version + 1` })
      .where(and(eq(billingAccounts.tenant_id, ctx.tenant.id), eq(billingAccounts.version, account.version))),
    otherwise: stale,
  }
}
