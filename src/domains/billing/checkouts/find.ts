import { and, eq } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type CheckoutRow, checkouts } from './table'

const where = async (ctx: Context, column: 'session_id' | 'payment_intent', value: string) => {
  const row = await ctx.db
    .select()
    .from(checkouts)
    .where(and(eq(checkouts.tenant_id, ctx.tenant.id), eq(checkouts[column], value)))
    .get()
  return row ?? null
}

/** The tenant’s checkout that the payment provider knows by that id; null where we made none. */
export const checkoutOfSession = (ctx: Context, id: string): Promise<CheckoutRow | null> =>
  where(ctx, 'session_id', id)

/** The tenant’s checkout that was paid by that payment. */
export const checkoutOfPayment = (ctx: Context, id: string): Promise<CheckoutRow | null> =>
  where(ctx, 'payment_intent', id)
