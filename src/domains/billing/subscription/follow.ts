import type { Change } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { log } from '../../../lib/log'
import type { Problem } from '../../../lib/problem'
import { eventOf } from '../../events/catalogue'
import type { PlanName } from '../../tenancy/plans'
import { planGiven } from '../../tenancy/tenants/plan'
import { FREE } from '../prices'
import { accountSet } from './account'
import type { BillingAccountRow } from './table'

/** A subscription as it stands now. */
export type Standing = {
  provider: BillingAccountRow['provider']
  subscription_id: string
  item_id: string | null
  status: string
  /** The plan of its price; null where the price is none of ours. */
  plan: PlanName | null
  period_start: string
  period_end: string
  cancel_at_period_end: boolean
}

/** As long as Stripe still tries to be paid (`past_due`), nobody loses a plan. */
const GIVES = ['active', 'trialing', 'past_due']
/** Whether a subscription in that state gives its plan. */
export const gives = (status: string | null): boolean => status !== null && GIVES.includes(status)

/** Whether the account has a subscription that goes on. */
export const isSubscribed = (account: BillingAccountRow | null): account is BillingAccountRow =>
  account !== null && account.subscription_id !== null && gives(account.subscription_status)

/** Whether what is said is of a subscription that is not, or no longer, the one by which the tenant has its plan. */
export const isAside = (account: BillingAccountRow, { subscription_id, status }: Standing): boolean =>
  account.subscription_id !== null && account.subscription_id !== subscription_id && !gives(status)

const HOUR_MS = 3600_000

/** Stripe is asked once an event should have come, and daily while it still tries to be paid. */
function nextLook(now: number, { provider, status, period_end }: Standing): string | null {
  if (!gives(status)) return null
  if (provider === 'simulated') return period_end
  const due = Date.parse(period_end) + HOUR_MS
  return iso(due > now ? due : now + 24 * HOUR_MS)
}

type Followed = Pick<Change<unknown>, 'audit' | 'events' | 'tell'> &
  Required<Pick<Change<unknown>, 'statements'>>

/**
 * What follows from how a subscription stands, for one batch: the account, the tenant’s plan and an event where it is
 * another one than before. `more` is set in the account besides; `stale` where account or tenant change meanwhile.
 */
export async function followed(
  ctx: Context,
  account: BillingAccountRow | null,
  standing: Standing,
  stale: Problem,
  more: Partial<BillingAccountRow> = {},
): Promise<Followed> {
  const { provider, subscription_id, item_id, status, period_start, period_end } = standing
  const { cancel_at_period_end } = standing
  if (standing.plan === null && gives(status))
    log.warn('price_of_no_plan', { tenant_id: ctx.tenant.id, subscription_id })
  const before = account?.plan ?? null
  // A price that is none of ours changes nothing; the operator is told in the log.
  const plan = gives(status) ? (standing.plan ?? before) : null
  const next = {
    ...{ provider, subscription_id, item_id, subscription_status: status, plan },
    ...{ period_start, period_end, cancel_at_period_end },
  }
  const differs = (set: Partial<BillingAccountRow>) =>
    account === null ||
    Object.entries(set).some(([name, value]) => account[name as keyof BillingAccountRow] !== value)
  const set = { ...next, renews_at: nextLook(ctx.now, standing), ...more }
  if (!differs(set)) return { statements: [] }
  if (!differs(next)) return { statements: [accountSet(ctx, account, set, stale)] }
  // At its end only what it gave is taken: another plan was given by the platform.
  const given =
    plan === before
      ? { statements: [], tell: [] }
      : await planGiven(ctx, plan ?? FREE, stale, plan === null ? (before ?? FREE) : undefined)
  return {
    ...given,
    statements: [accountSet(ctx, account, set, stale), ...given.statements],
    events: [
      eventOf('billing.subscription.updated', {
        ...{ plan: plan ?? FREE, status, period_end, cancel_at_period_end },
      }),
    ],
  }
}
