import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { planOfPrice } from '../prices'
import type { Standing } from '../subscription/follow'
import type { BillingAccountRow } from '../subscription/table'
import { askStripe, isRefusal, StripeSubscription } from './client'

/** A subscription of Stripe’s as it stands, whatever was said of it in whatever order; null where there is none. */
export async function readSubscription(ctx: Context, id: string): Promise<StripeSubscription | null> {
  const path = `subscriptions/${encodeURIComponent(id)}`
  return askStripe(ctx, { path, answer: StripeSubscription, meant: [404] })
}

/** What of it counts here. */
export const standingOf = (
  ctx: Context,
  { id, status, item, cancel_at_period_end }: StripeSubscription,
): Standing => ({
  ...{ provider: 'stripe', subscription_id: id, item_id: item.id, status, cancel_at_period_end },
  plan: planOfPrice(ctx.settings, item.price.id),
  ...{ period_start: item.current_period_start, period_end: item.current_period_end },
})

/** Ends a subscription at once, with what was paid of it beyond now as credit with Stripe; one that has ended stays so. */
export async function endSubscription(ctx: Context, id: string): Promise<void> {
  const path = `subscriptions/${encodeURIComponent(id)}`
  const params = { prorate: true, invoice_now: true }
  try {
    await askStripe(ctx, { method: 'DELETE', path, params, answer: StripeSubscription, meant: [404] })
  } catch (error) {
    if (!isRefusal(error)) throw error
  }
}

/**
 * Changes the subscription at Stripe. A dearer plan is paid at once, or nothing changes: 409 `payment_failed`. What was paid
 * of a plan beyond now stays with Stripe as the tenant’s credit.
 */
export async function changeAtStripe(
  ctx: Context,
  account: BillingAccountRow,
  change: { price?: string; cancel_at_period_end: boolean },
): Promise<Standing> {
  const { price, cancel_at_period_end } = change
  const subscription = await askStripe(ctx, {
    ...{ method: 'POST', path: `subscriptions/${encodeURIComponent(account.subscription_id ?? '')}` },
    ...{ key: crypto.randomUUID(), answer: StripeSubscription, meant: [402] },
    params: {
      cancel_at_period_end,
      ...(price === undefined
        ? {}
        : {
            items: [{ id: account.item_id, price }],
            ...{ proration_behavior: 'always_invoice', payment_behavior: 'error_if_incomplete' },
          }),
    },
  })
  if (!subscription) throw problem('payment_failed', 'The change of the plan could not be paid')
  return standingOf(ctx, subscription)
}
