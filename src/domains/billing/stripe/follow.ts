import type { Context } from '../../../data/context'
import { type Consequence, OVERTAKEN } from '../../webhooks/incoming/heard'
import { type Heard, settled } from '../checkouts/settle'
import type { CheckoutRow } from '../checkouts/table'
import { accountOf } from '../subscription/account'
import { followed, gives, isAside, isSubscribed } from '../subscription/follow'
import type { BillingAccountRow } from '../subscription/table'
import type { StripeSession } from './client'
import { endSubscription, readSubscription, standingOf } from './subscriptions'

// What follows from how things stand with Stripe, whoever told: an event, or a look of our own.

/** The tenant as a customer of Stripe’s; null where it is none. */
export async function stripeAccount(ctx: Context): Promise<BillingAccountRow | null> {
  const account = await accountOf(ctx)
  return account?.provider === 'stripe' && account.customer_id !== null ? account : null
}

/** What follows from a checkout’s session, as Stripe has it, for one batch; null where nothing does. */
export async function sessionFollowed(
  ctx: Context,
  row: CheckoutRow,
  session: StripeSession,
  type: string,
  more: Heard = {},
): Promise<Consequence | null> {
  const { payment_intent } = session
  const settling = settled(ctx, row, { status: statusOf(type, session), payment_intent, ...more }, OVERTAKEN)
  const account = row.kind === 'plan' && session.subscription ? await stripeAccount(ctx) : null
  const subscribed =
    account && session.subscription ? await subscriptionFollowed(ctx, account, session.subscription) : null
  return merged(settling, subscribed)
}

/** How a checkout stands by what was said of its session. */
function statusOf(type: string, { status, payment_status }: StripeSession): Heard['status'] {
  if (type === 'checkout.session.expired' || status === 'expired') return 'expired'
  if (type === 'checkout.session.async_payment_failed') return 'failed'
  if (status !== 'complete') return undefined
  return payment_status === 'unpaid' ? 'processing' : 'completed'
}

const merged = (...parts: (Consequence | null)[]): Consequence | null => {
  const some = parts.filter((part) => part !== null)
  return some.length === 0
    ? null
    : {
        statements: some.flatMap(({ statements }) => statements ?? []),
        events: some.flatMap(({ events }) => events ?? []),
        audit: some.flatMap(({ audit }) => audit ?? []),
        tell: some.flatMap(({ tell }) => tell ?? []),
      }
}

/** A subscription of the tenant’s own customer; where two are paid for, the one before is ended. */
export async function subscriptionFollowed(
  ctx: Context,
  account: BillingAccountRow,
  id: string,
): Promise<Consequence | null> {
  const subscription = await readSubscription(ctx, id)
  if (!subscription || subscription.customer !== account.customer_id) return null
  const standing = standingOf(ctx, subscription)
  if (isAside(account, standing)) return null
  const isAnother = account.subscription_id !== id && gives(standing.status)
  if (isAnother && isSubscribed(account)) await endSubscription(ctx, account.subscription_id ?? '')
  return followed(ctx, account, standing, OVERTAKEN)
}
