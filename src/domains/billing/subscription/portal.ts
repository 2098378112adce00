import * as z from 'zod'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { refuseInsecure } from '../checkouts/return-url'
import { needStripe } from '../stripe/client'
import { stripeAccount } from '../stripe/follow'
import type { OpenPortal } from './schema'

const StripePortal = z.object({ url: z.string() })

/** A page of Stripe’s, for a few minutes, where the tenant’s ways of paying and its address are kept. 409 before the first checkout. */
export async function openPortal(ctx: Context, { return_url }: OpenPortal): Promise<{ url: string }> {
  if (ctx.settings.PAYMENTS !== 'stripe')
    throw problem('payments_not_configured', 'Only payments by Stripe have a portal')
  refuseInsecure(ctx, { return_url })
  const account = await stripeAccount(ctx)
  if (!account) throw problem('conflict', 'Nothing was bought yet; POST /api/v1/billing/checkout comes first')
  const { url } = await needStripe(ctx, {
    ...{ method: 'POST', path: 'billing_portal/sessions', answer: StripePortal },
    params: { customer: account.customer_id, return_url },
  })
  return { url }
}
