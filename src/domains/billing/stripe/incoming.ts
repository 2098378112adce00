import type * as z from 'zod'
import type { Context } from '../../../data/context'
import { type Consequence, OVERTAKEN, onIncoming } from '../../webhooks/incoming/heard'
import { checkoutOfPayment, checkoutOfSession } from '../checkouts/find'
import { type Heard, settled } from '../checkouts/settle'
import { invoiceFollowed } from '../invoices/from-stripe'
import {
  needStripe,
  StripeDispute,
  StripePayment,
  StripeRefunds,
  StripeSession,
  StripeSessions,
} from './client'
import { sessionFollowed, stripeAccount, subscriptionFollowed } from './follow'

// What Stripe tells. Its events come late, twice and in any order, so of what changes often an event is no more than a
// nudge: the thing itself is read. What is granted stands in our own rows.

/** Stripe’s largest page. */
const MOST_REFUNDS = 100

type Events = Record<string, (ctx: Context, type: string, object: unknown) => Promise<Consequence | null>>

/** By how the event’s type begins. */
const FOLLOWS: Events = {
  'checkout.session.': sessionTold,
  'customer.subscription.': async (ctx, _, object) => {
    const account = await stripeAccount(ctx)
    const id = idIn(object)
    return account && id ? subscriptionFollowed(ctx, account, id) : null
  },
  'invoice.': async (ctx, _, object) => {
    const account = await stripeAccount(ctx)
    const id = idIn(object)
    return account && id ? invoiceFollowed(ctx, account, id) : null
  },
  // `charge.refunded`, `charge.refund.updated`; and `refund.created`, `refund.updated`, `refund.failed`.
  'charge.refund': refundTold,
  'refund.': refundTold,
  'charge.dispute.closed': (ctx, _, object) =>
    paymentTold(ctx, StripeDispute, object, ({ status, amount }) =>
      status === 'lost' ? { disputed_amount: amount } : null,
    ),
}

onIncoming('stripe', async (ctx, { type, value }) => {
  if (ctx.settings.PAYMENTS !== 'stripe') return null
  const follow = Object.entries(FOLLOWS).find(([begins]) => type.startsWith(begins))?.[1]
  const { object } = (value as { data?: { object?: unknown } }).data ?? {}
  return follow ? follow(ctx, type, object) : null
})

const idIn = (object: unknown): string | null => {
  const { id } = (object ?? {}) as { id?: unknown }
  return typeof id === 'string' ? id : null
}

async function sessionTold(ctx: Context, type: string, object: unknown): Promise<Consequence | null> {
  const id = idIn(object)
  const row = id === null ? null : await checkoutOfSession(ctx, id)
  const session = StripeSession.safeParse(object).data
  return row && session ? sessionFollowed(ctx, row, session, type) : null
}

/** What was paid back of a payment in all, by its refunds as they stand: one may fail days after it was made. */
function refundTold(ctx: Context, _: string, object: unknown): Promise<Consequence | null> {
  return paymentTold(ctx, StripePayment, object, async (_, payment_intent) => {
    const params = { payment_intent, limit: MOST_REFUNDS }
    const { data } = await needStripe(ctx, { path: 'refunds', params, answer: StripeRefunds })
    const stand = data.filter(({ status }) => status !== 'failed' && status !== 'canceled')
    return { refunded_amount: stand.reduce((sum, { amount }) => sum + amount, 0) }
  })
}

/** What was told of a payment. Where it came before the payment itself, Stripe says which session it was. */
async function paymentTold<S extends z.ZodType<{ payment_intent?: string | null | undefined }>>(
  ctx: Context,
  schema: S,
  object: unknown,
  read: (told: z.output<S>, payment_intent: string) => Heard | null | Promise<Heard | null>,
): Promise<Consequence | null> {
  const told = schema.safeParse(object).data
  const payment_intent = told?.payment_intent
  const heard = told && payment_intent ? await read(told, payment_intent) : null
  if (!heard || !payment_intent) return null
  const row = await checkoutOfPayment(ctx, payment_intent)
  if (row?.status === 'completed') return settled(ctx, row, heard, OVERTAKEN)
  const path = 'checkout/sessions'
  const { data } = await needStripe(ctx, {
    path,
    params: { payment_intent, limit: 1 },
    answer: StripeSessions,
  })
  const [session] = data
  const of = session ? await checkoutOfSession(ctx, session.id) : null
  return of && session ? sessionFollowed(ctx, of, session, '', heard) : null
}
