import type { Settings } from '../../env'
import { PRICE_SCALE } from '../../lib/billing-settings'
import { problem } from '../../lib/problem'
import { PLAN_NAMES, type PlanName } from '../tenancy/plans'

// What things cost, by the operator's settings. Money is in the currency's smallest unit.

type Priced = Pick<Settings, 'CREDIT_PRICE' | 'PLAN_PRICES' | 'BILLING_CURRENCY'>

/** The plan of who pays for none. */
export const FREE = 'starter' satisfies PlanName

/** Stripe takes no single payment beyond eight digits, nor one below some half a dollar. */
const MOST_PAID = 99_999_999
const LEAST_PAID = 50

/** The price of so many credits, rounded to the buyer's good; 422 where that is no amount that can be paid. */
export function priceOfCredits({ CREDIT_PRICE }: Priced, credits: number): number {
  const amount = Number((BigInt(credits) * BigInt(CREDIT_PRICE)) / BigInt(PRICE_SCALE))
  if (amount >= LEAST_PAID && amount <= MOST_PAID) return amount
  const bound = amount < LEAST_PAID ? LEAST_PAID : MOST_PAID
  const at = (bound * PRICE_SCALE) / CREDIT_PRICE
  throw problem.invalid({
    credits:
      amount < LEAST_PAID
        ? `must be at least ${Math.ceil(at)}: less costs less than can be paid`
        : `must be at most ${Math.floor(at)}: more costs more than can be paid at once`,
  })
}

/** What a plan costs a month; null where it is not sold. */
export function priceOfPlan({ PLAN_PRICES }: Priced, plan: PlanName) {
  return plan === FREE ? null : (PLAN_PRICES[plan] ?? null)
}

/** The plan that has this price at Stripe; null where none has. */
export const planOfPrice = (settings: Priced, price: string): PlanName | null =>
  PLAN_NAMES.find((name) => priceOfPlan(settings, name)?.stripe_price === price) ?? null
