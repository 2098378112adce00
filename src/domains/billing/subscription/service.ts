import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import type { PlanName } from '../../tenancy/plans'
import { openCheckout, soldPlan, view as viewCheckout } from '../checkouts/service'
import { FREE } from '../prices'
import { changeAtStripe } from '../stripe/subscriptions'
import { accountOf } from './account'
import { followed, isSubscribed, type Standing } from './follow'
import { begun, standingIn } from './look'
import { monthLater } from './period'
import type { ChooseSubscription, Subscription } from './schema'
import type { BillingAccountRow } from './table'

const STALE = problem('conflict', 'The subscription has changed meanwhile; read it again')
const ATTEMPTS = 5

/** By what the tenant has its plan. */
export async function getSubscription(ctx: Context): Promise<Subscription> {
  return view(await accountOf(ctx))
}

/**
 * Chooses a plan: by a checkout where there is no subscription; else at once, paid for in proportion; the free one from the
 * end of what is paid. 409 where nobody takes payments, or the payment failed.
 */
export async function chooseSubscription(ctx: Context, input: ChooseSubscription): Promise<Subscription> {
  const { plan, success_url, cancel_url } = input
  const account = await accountOf(ctx)
  if (isSubscribed(account))
    return plan === account.plan && !account.cancel_at_period_end
      ? kept(ctx, account)
      : change(ctx, account, plan)
  if (plan === FREE) return kept(ctx, account)
  if (success_url === undefined)
    throw problem.invalid({ success_url: 'must be given: the plan is to be paid first' })
  const { row, ...opened } = await openCheckout(ctx, {
    plan,
    success_url,
    ...(cancel_url ? { cancel_url } : {}),
  })
  return commit(ctx, { ...opened, result: { ...view(account), checkout: viewCheckout(row) } })
}

const kept = (ctx: Context, account: BillingAccountRow | null) =>
  commit(ctx, { statements: [], result: view(account) })

async function change(ctx: Context, account: BillingAccountRow, plan: PlanName): Promise<Subscription> {
  const standing = await changed(ctx, account, plan)
  const before = { plan: account.plan, cancel_at_period_end: account.cancel_at_period_end }
  const after = { plan, cancel_at_period_end: standing.cancel_at_period_end }
  for (let attempt = 1, now: BillingAccountRow | null = account; ; attempt++) {
    // A simulated subscription begins anew with another plan, and is paid for anew.
    const isNew = standing.provider === 'simulated' && standing.period_start !== account.period_start
    const { audit, ...follows } = await (isNew ? begun : followed)(ctx, now, standing, STALE)
    const entry = {
      action: 'subscription.update',
      resource: 'subscription',
      resource_id: ctx.tenant.id,
      before,
      after,
    }
    try {
      return await commit(ctx, { ...follows, audit: [entry, audit ?? []].flat(), result: viewOf(standing) })
    } catch (error) {
      // An event of Stripe's was faster; what it wrote is read, and there may be nothing left to write.
      if (error !== STALE || attempt === ATTEMPTS) throw error
      now = await accountOf(ctx)
    }
  }
}

function changed(ctx: Context, account: BillingAccountRow, plan: PlanName): Standing | Promise<Standing> {
  const cancel_at_period_end = plan === FREE
  const price = plan === FREE || plan === account.plan ? null : soldPlan(ctx, plan)
  if (account.provider === 'stripe')
    return changeAtStripe(ctx, account, {
      cancel_at_period_end,
      ...(price?.stripe_price ? { price: price.stripe_price } : {}),
    })
  const standing = { ...standingIn(account), cancel_at_period_end }
  if (!price) return standing
  const start = new Date(ctx.now).toISOString()
  return { ...standing, plan, period_start: start, period_end: monthLater(start) }
}

const viewOf = ({
  plan,
  status,
  period_start,
  period_end,
  cancel_at_period_end,
}: Standing): Subscription => ({
  ...{ plan, status, period_start, period_end, cancel_at_period_end, checkout: null },
})

function view(account: BillingAccountRow | null): Subscription {
  if (account?.subscription_id) return { ...viewOf(standingIn(account)), plan: account.plan }
  return {
    ...{ plan: null, status: 'none', period_start: null, period_end: null },
    ...{ cancel_at_period_end: false, checkout: null },
  }
}
