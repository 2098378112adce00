import type { Context } from '../../../data/context'
import type { PlanName } from '../../tenancy/plans'
import { FREE, priceOfPlan } from '../prices'
import type { InvoiceLine } from './table'

/** A month of a plan. */
export function planLine({ settings }: Pick<Context, 'settings'>, plan: PlanName | null): InvoiceLine {
  const amount = priceOfPlan(settings, plan ?? FREE)?.amount ?? 0
  return { description: `Plan ${plan ?? FREE}, a month`, quantity: 1, unit_amount: amount, amount }
}
