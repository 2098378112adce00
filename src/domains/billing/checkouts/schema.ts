import * as z from 'zod'
import { createdBetween, Id, paging } from '../../../lib/wire'
import { Plan } from '../../tenancy/tenants/schema'

/** Where a browser is sent afterwards; kept as it is written, for Stripe puts its session's id for {CHECKOUT_SESSION_ID}. */
export const ReturnUrl = z
  .string('must be a URL')
  .max(2000, 'must have at most 2000 characters')
  .refine(isReturn, 'must be an http or https URL without user name and password')
  .meta({ format: 'uri', example: 'https://app.example.com/billing?paid=1' })

function isReturn(text: string): boolean {
  const url = URL.parse(text)
  return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
}

const WHAT = 'name one of credits and plan'

export const CreateCheckout = z
  .strictObject({
    credits: z
      .int('must be a whole number of credits')
      .min(1, 'must be at least 1')
      .max(1_000_000_000, 'must be at most 1,000,000,000')
      .optional()
      .meta({ description: 'How many to buy.', example: 10_000 }),
    plan: Plan.optional().meta({ description: 'The plan to subscribe to, instead.' }),
    success_url: ReturnUrl.meta({ description: 'Where the browser goes once it is paid.' }),
    cancel_url: ReturnUrl.optional().meta({
      description: 'Where it goes if somebody turns back.',
      example: 'https://app.example.com/billing',
    }),
  })
  .superRefine(({ credits, plan }, issue) => {
    if ((credits === undefined) === (plan === undefined))
      issue.addIssue({
        code: 'custom',
        path: [plan === undefined ? 'credits' : 'plan'],
        message: `must be: ${WHAT}`,
      })
  })
  .meta({ example: { credits: 10_000, success_url: 'https://app.example.com/billing?paid=1' } })
export type CreateCheckout = z.output<typeof CreateCheckout>

const Status = z.enum(
  ['open', 'processing', 'completed', 'expired', 'failed'],
  'must be open, processing, completed, expired or failed',
)

export const ListCheckouts = { ...paging, ...createdBetween, status: Status.optional() }
export type ListCheckouts = z.output<z.ZodObject<typeof ListCheckouts>>

const money = (description: string, example: number) =>
  z.int().meta({ description: `${description}, in the currency’s smallest unit.`, example })

export const Checkout = z
  .object({
    id: Id,
    kind: z.enum(['credits', 'plan']),
    credits: z.int().nullable().meta({ example: 10_000 }),
    plan: Plan.nullable(),
    amount: money('What it costs; of a plan, a month', 10_000),
    currency: z.string().meta({ example: 'usd' }),
    status: Status.meta({ description: '`processing`: paid by a way that takes days to be sure.' }),
    url: z.string().nullable().meta({ description: 'Where to pay, while it is open.', format: 'uri' }),
    refunded_amount: money('What was paid back, or lost to a dispute', 0),
    expires_at: z.string().meta({ format: 'date-time' }),
    completed_at: z.string().nullable().meta({ format: 'date-time' }),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'Checkout' })
export type Checkout = z.input<typeof Checkout>
