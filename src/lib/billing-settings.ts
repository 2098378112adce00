import * as z from 'zod'

// What is sold, for how much, and who takes the money (docs/billing.md).

/** What a plan costs a month, in the currency's smallest unit, and Stripe's own name of that price. */
export type PlanPrice = { amount: number; stripe_price: string | null }
export type PlanPrices = Partial<Record<'pro' | 'enterprise', PlanPrice>>

const Price = z.strictObject({
  amount: z.int().min(1).max(99_999_999),
  stripe_price: z.string().min(1).max(255).nullable().default(null),
})
const Prices = z.strictObject({ pro: Price.optional(), enterprise: Price.optional() })

const PRICES = 'must be JSON like {"pro":{"amount":4900,"stripe_price":"price_…"},"enterprise":{…}}'

/** Prices are kept in ten-thousandths, so that a credit may cost less than the smallest coin. */
export const PRICE_SCALE = 10_000

export const BillingSettings = {
  /** Who takes payments; empty: nobody does, and credit is what the platform gives. */
  PAYMENTS: z.enum(['', 'stripe', 'simulated']).default(''),
  BILLING_CURRENCY: z
    .string()
    .regex(/^(?:[a-zA-Z]{3})?$/, 'must be a currency of three letters (ISO 4217)')
    .default('')
    .transform((text) => (text || 'usd').toLowerCase()),
  /** What one credit costs, in the currency's smallest unit. */
  CREDIT_PRICE: z
    .string()
    .regex(/^(?:\d{1,6}(?:\.\d{1,4})?)?$/, 'must be a number with at most four decimals')
    .default('')
    .transform((text) => Math.round(Number(text || '1') * PRICE_SCALE))
    .refine((scaled) => scaled > 0, 'must be above 0'),
  PLAN_PRICES: z
    .string()
    .default('')
    .transform((text, issue): PlanPrices => {
      if (text === '') return {}
      try {
        const result = Prices.safeParse(JSON.parse(text))
        if (result.success) return result.data as PlanPrices
      } catch {
        // Said below.
      }
      issue.addIssue({ code: 'custom', message: PRICES })
      return z.NEVER
    }),
} as const

type Chosen = {
  ENVIRONMENT: string
  PAYMENTS: string
  PLAN_PRICES: PlanPrices
  STRIPE_SECRET_KEY: string
  STRIPE_WEBHOOK_SECRET: readonly string[]
}

/** What who takes the payments needs and lacks, by setting. */
export function refusalsOfBilling(settings: Chosen): { path: string[]; message: string }[] {
  const { ENVIRONMENT, PAYMENTS, PLAN_PRICES, STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET } = settings
  if (PAYMENTS === 'simulated')
    return ENVIRONMENT === 'production'
      ? [{ path: ['PAYMENTS'], message: 'simulated is for development only: nobody pays' }]
      : []
  if (PAYMENTS === '') return []
  const needed = 'is needed by PAYMENTS=stripe'
  const nameless = Object.values(PLAN_PRICES).some((price) => price.stripe_price === null)
  return [
    ...(STRIPE_SECRET_KEY === '' ? [{ path: ['STRIPE_SECRET_KEY'], message: needed }] : []),
    ...(STRIPE_WEBHOOK_SECRET.length === 0 ? [{ path: ['STRIPE_WEBHOOK_SECRET'], message: needed }] : []),
    ...(nameless ? [{ path: ['PLAN_PRICES'], message: 'must name each plan’s stripe_price' }] : []),
  ]
}
