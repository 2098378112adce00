import * as z from 'zod'
import { createdBetween, Id, paging } from '../../lib/wire'
import { Plan, RateLimits } from '../tenancy/tenants/schema'

/** What a plan means (limits.md). */
export const PlanView = z
  .object({
    name: Plan,
    limits: RateLimits,
    users: z.int().nullable().meta({ description: 'The most users a tenant may have; null: no limit.' }),
    price: z
      .object({
        amount: z.int().meta({ description: 'A month, in the currency’s smallest unit.', example: 4_900 }),
        currency: z.string().meta({ example: 'usd' }),
        interval: z.literal('month'),
      })
      .nullable()
      .meta({
        description: 'Null where it is not sold: the first costs nothing, others the platform gives.',
      }),
  })
  .meta({ id: 'Plan' })

const Kind = z.enum(
  ['purchase', 'spend', 'refund', 'grant', 'reserve', 'release'],
  'must be purchase, spend, refund, grant, reserve or release',
)

const Credits = z.int('must be a whole number of credits')

/** The most credits that one transaction moves; sums of any number of them stay exact. */
const MOST_CREDITS = 1_000_000_000

const Reference = z.string().trim().min(1, 'must not be empty').max(200, 'must have at most 200 characters')

export const Balance = z
  .object({
    balance: z.int().meta({
      description: 'Credits that can be spent or reserved; what is reserved is not among them.',
      example: 12_500,
    }),
    updated_at: z.string().nullable().meta({ format: 'date-time', description: 'Null before the first.' }),
  })
  .meta({ id: 'Balance' })

export const CreditTransaction = z
  .object({
    id: Id,
    kind: Kind,
    amount: z.int().meta({ description: 'Credits; what takes away is negative.', example: 10_000 }),
    balance_after: z.int().meta({ example: 12_500 }),
    reference: z.string().nullable().meta({ description: 'What it is for.', example: 'welcome-2026' }),
    created_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'CreditTransaction' })

const Moved = z.object({
  transactions: z.int().meta({ example: 12 }),
  amount: z.int().meta({ description: 'Credits; what takes away is negative.', example: -340 }),
})

/** What a tenant used in a month. */
export const BillingUsage = z
  .object({
    period_start: z.string().meta({ format: 'date-time' }),
    period_end: z.string().meta({ format: 'date-time' }),
    balance: z.int().meta({ description: 'Credits that are left now.', example: 12_500 }),
    credits: z
      .object(
        Object.fromEntries(Kind.options.map((kind) => [kind, Moved])) as Record<
          (typeof Kind.options)[number],
          typeof Moved
        >,
      )
      .meta({ description: 'What moved the credit, by kind.' }),
    requests: z.int().meta({ description: 'Requests of the tenant’s.', example: 48_213 }),
    calls: z.object({
      count: z.int().meta({ description: 'Calls that ended.', example: 20 }),
      minutes: z.number().meta({ description: 'What they lasted, to the hundredth.', example: 31.5 }),
    }),
  })
  .meta({ id: 'BillingUsage' })
export type BillingUsage = z.input<typeof BillingUsage>

/** What a grant answers: the balance after it may have moved on by then. */
export const CreditGrant = CreditTransaction.omit({ balance_after: true }).meta({ id: 'CreditGrant' })

export const ListTransactions = {
  ...paging,
  kind: Kind.optional(),
  reference: Reference.optional(),
  ...createdBetween,
}
export type ListTransactions = z.output<z.ZodObject<typeof ListTransactions>>

export const GrantCredits = z.strictObject({
  amount: Credits.min(1, 'must be at least 1').max(MOST_CREDITS, 'must be at most 1,000,000,000').meta({
    example: 10_000,
  }),
  reference: Reference.optional().meta({
    description: 'Under one reference credits are granted once.',
    example: 'welcome-2026',
  }),
})
export type GrantCredits = z.output<typeof GrantCredits>
