import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { askStripe, isRefusal, needStripe, StripeCustomer, StripeSession } from '../stripe/client'
import type { BillingAccountRow } from '../subscription/table'
import type { CheckoutRow } from './table'

/** What somebody is to pay, before anybody was asked where. */
export type Wanted = Pick<
  CheckoutRow,
  'id' | 'kind' | 'credits' | 'plan' | 'amount' | 'currency' | 'success_url' | 'cancel_url'
> & { stripe_price: string | null }

/** Where it is to be paid. */
export type Opened = Pick<CheckoutRow, 'session_id' | 'url' | 'expires_at' | 'look_at'> & {
  customer_id: string | null
}

const DAY_MS = 24 * 3600_000
/** An event comes within seconds; Stripe is asked by itself only where none came. */
const FIRST_LOOK_MS = 10 * 60_000

/**
 * A page of Stripe’s where it can be paid. Where the customer is gone from there (the operator has another account now, say),
 * the tenant becomes another one.
 */
export async function openAtStripe(
  ctx: Context,
  account: BillingAccountRow | null,
  wanted: Wanted,
): Promise<Opened> {
  const known = account?.customer_id ?? null
  try {
    return await openFor(ctx, known ?? (await newCustomer(ctx)), wanted)
  } catch (error) {
    if (known === null || !isRefusal(error) || (await isCustomer(ctx, known))) throw error
    return openFor(ctx, await newCustomer(ctx, `-after-${known}`), wanted, '-again')
  }
}

async function openFor(ctx: Context, customer: string, wanted: Wanted, attempt = ''): Promise<Opened> {
  const { id, plan, success_url, cancel_url } = wanted
  const key = `checkout-${id}${attempt}`
  const session = await needStripe(ctx, {
    ...{ method: 'POST', path: 'checkout/sessions', key, answer: StripeSession },
    params: {
      ...{ mode: plan === null ? 'payment' : 'subscription', customer, success_url, cancel_url },
      // For who looks at Stripe's pages; nothing here goes by it.
      ...{ client_reference_id: id, metadata: { checkout_id: id, tenant_id: ctx.tenant.id } },
      ...{ customer_update: { name: 'auto', address: 'auto' } },
      ...(plan === null ? { invoice_creation: { enabled: true } } : {}),
      line_items: [{ quantity: 1, ...priced(wanted) }],
    },
  })
  if (!session.url)
    throw problem('provider_failed', 'The provider stripe made a checkout without a page', {
      details: { provider: 'stripe', status: 200, said: null },
    })
  return {
    ...{ session_id: session.id, url: session.url, expires_at: session.expires_at, customer_id: customer },
    look_at: iso(ctx.now + FIRST_LOOK_MS),
  }
}

const priced = ({ stripe_price, credits, amount, currency }: Wanted) =>
  stripe_price !== null
    ? { price: stripe_price }
    : {
        price_data: {
          ...{ currency, unit_amount: amount },
          product_data: { name: `${(credits ?? 0).toLocaleString('en-US')} credits` },
        },
      }

/** The tenant as a customer: once, however many ask at once. Stripe asks for name and address itself. */
async function newCustomer(ctx: Context, attempt = ''): Promise<string> {
  const key = `customer-${ctx.tenant.id}${attempt}`
  const { id } = await needStripe(ctx, {
    ...{ method: 'POST', path: 'customers', key, answer: StripeCustomer },
    params: { metadata: { tenant_id: ctx.tenant.id } },
  })
  return id
}

async function isCustomer(ctx: Context, id: string): Promise<boolean> {
  const path = `customers/${encodeURIComponent(id)}`
  const customer = await askStripe(ctx, { path, answer: StripeCustomer, meant: [404] })
  return customer !== null && !customer.deleted
}

/** Ends a checkout before its time, so that it can’t be paid any more. 409 where it was paid meanwhile. */
export async function closeAtStripe(ctx: Context, { session_id }: CheckoutRow): Promise<void> {
  try {
    await needStripe(ctx, {
      ...{ method: 'POST', path: `checkout/sessions/${encodeURIComponent(session_id)}/expire` },
      ...{ key: `expire-${session_id}`, answer: StripeSession },
    })
  } catch (error) {
    if (!isRefusal(error)) throw error
    const path = `checkout/sessions/${encodeURIComponent(session_id)}`
    const session = await needStripe(ctx, { path, answer: StripeSession })
    if (session.status === 'complete')
      throw problem('conflict', 'Another checkout of a plan was just paid; read the subscription again')
  }
}

/** A page of our own where nobody pays. */
export function openSimulated(ctx: Context, { id }: Wanted): Opened {
  const at = `${ctx.tenant.id}.${id}`
  return {
    ...{ session_id: `cs_simulated_${id}`, url: `${ctx.settings.PUBLIC_URL}/api/v1/dev/checkouts/${at}` },
    ...{ expires_at: iso(ctx.now + DAY_MS), look_at: null, customer_id: null },
  }
}
