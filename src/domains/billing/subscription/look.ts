import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { issued } from '../invoices/issue'
import { planLine } from '../invoices/lines'
import { stripeAccount, subscriptionFollowed } from '../stripe/follow'
import { changeAtStripe } from '../stripe/subscriptions'
import { accountOf } from './account'
import { followed, isSubscribed, type Standing } from './follow'
import { monthLater } from './period'
import type { BillingAccountRow } from './table'

const STALE = problem('conflict', 'The subscription has changed meanwhile')

/** Looks at the tenant’s subscription once its period is over: Stripe is asked; a simulated one goes on, or ends. */
export async function lookAtSubscription(ctx: Context): Promise<void> {
  const account = await accountOf(ctx)
  if (!account?.renews_at || Date.parse(account.renews_at) > ctx.now) return
  if (account.provider === 'simulated') return renew(ctx, account)
  const follows = await lookAtStripe(ctx, account)
  if (follows) await commit(ctx, { statements: [], ...follows, result: null })
}

async function lookAtStripe(ctx: Context, account: BillingAccountRow) {
  const known = await stripeAccount(ctx)
  if (!known || account.subscription_id === null) return null
  const follows = await subscriptionFollowed(ctx, known, account.subscription_id)
  if (follows) return follows
  // Of another account of the operator's, perhaps: nobody loses a plan by that, and it is looked at again.
  log.error('subscription_not_at_stripe', {
    tenant_id: ctx.tenant.id,
    subscription_id: account.subscription_id,
  })
  return followed(ctx, account, standingIn(account), STALE)
}

/** A simulated subscription’s next period, with its invoice; or its end. */
async function renew(ctx: Context, account: BillingAccountRow): Promise<void> {
  const standing = standingIn(account)
  if (account.cancel_at_period_end || account.plan === null) {
    const ended = await followed(ctx, account, { ...standing, status: 'canceled' }, STALE)
    return void (await commit(ctx, { ...ended, result: null }))
  }
  const next = { ...standing, period_start: standing.period_end, period_end: monthLater(standing.period_end) }
  await commit(ctx, { ...(await begun(ctx, account, next, STALE)), result: null })
}

/** A period of a simulated subscription: what follows from it, and its invoice. */
export async function begun(
  ctx: Context,
  account: BillingAccountRow | null,
  standing: Standing,
  stale: ReturnType<typeof problem>,
) {
  const { subscription_id, period_start, period_end } = standing
  const invoice = await issued(
    ctx,
    {
      ...{
        provider: 'simulated',
        provider_id: `${subscription_id}:${period_start}`,
        period_start,
        period_end,
      },
      lines: [planLine(ctx, standing.plan)],
    },
    stale,
  )
  const follows = await followed(ctx, account, standing, stale)
  return {
    ...follows,
    statements: [...follows.statements, ...invoice.statements],
    events: [...(follows.events ?? []), ...invoice.events],
    unique: invoice.unique,
  }
}

/** The subscription as the account has it. */
export const standingIn = (account: BillingAccountRow): Standing => ({
  provider: account.provider,
  ...{ subscription_id: account.subscription_id ?? '', item_id: account.item_id },
  ...{ status: account.subscription_status ?? 'canceled', plan: account.plan },
  ...{ period_start: account.period_start ?? '', period_end: account.period_end ?? '' },
  cancel_at_period_end: account.cancel_at_period_end,
})

/** Has the subscription of a tenant that was cancelled end with what is paid: nothing more is taken. */
export async function endWithPeriod(ctx: Context): Promise<void> {
  const account = await accountOf(ctx)
  if (!isSubscribed(account) || account.cancel_at_period_end) return
  const standing =
    account.provider === 'stripe'
      ? await changeAtStripe(ctx, account, { cancel_at_period_end: true })
      : { ...standingIn(account), cancel_at_period_end: true }
  await commit(ctx, { ...(await followed(ctx, account, standing, STALE)), result: null })
}
