import * as z from 'zod'
import { AT, ID, kind, Time, Uuid } from './kind'

const PLAN = z.enum(['starter', 'pro', 'enterprise'])
const money = (description: string) =>
  z.int().meta({ description: `${description}, in the currency’s smallest unit.` })

const CHECKOUT = z.object({
  checkout_id: Uuid,
  kind: z.enum(['credits', 'plan']),
  credits: z.int().nullable(),
  plan: PLAN.nullable(),
  amount: money('What was paid'),
  currency: z.string(),
})
const CHECKOUT_EXAMPLE = {
  ...{ checkout_id: ID, kind: 'credits' as const, credits: 10_000, plan: null },
  ...{ amount: 10_000, currency: 'usd' },
}

/** What is said of what a tenant pays. */
export const ABOUT_BILLING = {
  'billing.checkout.completed': kind(
    'A checkout was paid, and what was bought is there.',
    CHECKOUT,
    CHECKOUT_EXAMPLE,
  ),
  'billing.checkout.refunded': kind(
    'What was paid was paid back, or lost to a dispute, and the credits for it were taken back as far as they were there.',
    CHECKOUT.extend({
      refunded_amount: money('What was paid back in all'),
      refunded_credits: z.int().meta({ description: 'Credits that it stands for, in all.' }),
    }),
    { ...CHECKOUT_EXAMPLE, refunded_amount: 5_000, refunded_credits: 5_000 },
  ),
  'billing.subscription.updated': kind(
    'The subscription by which the tenant has its plan began, changed or ended.',
    z.object({
      plan: PLAN.meta({ description: 'What it gives now; the free plan once it has ended.' }),
      status: z.string(),
      period_end: Time.nullable(),
      cancel_at_period_end: z.boolean(),
    }),
    { plan: 'pro', status: 'active', period_end: AT, cancel_at_period_end: false },
  ),
  'billing.invoice.issued': kind(
    'An invoice was issued.',
    z.object({
      invoice_id: Uuid,
      number: z.string(),
      status: z.enum(['open', 'paid', 'void']),
      currency: z.string(),
      amount_due: money('What is asked for'),
      amount_paid: money('What was paid of it'),
      period_start: Time,
      period_end: Time,
    }),
    {
      ...{ invoice_id: ID, number: '4F5A6B7C-0001', status: 'paid', currency: 'usd' },
      ...{ amount_due: 4_900, amount_paid: 4_900, period_start: AT, period_end: AT },
    },
  ),
} as const
