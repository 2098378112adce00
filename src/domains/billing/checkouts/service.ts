import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { find } from '../../../data/revise'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import type { PlanName } from '../../tenancy/plans'
import { referenceStatement } from '../../webhooks/incoming/references'
import { FREE, priceOfCredits, priceOfPlan } from '../prices'
import { accountOf, accountSet } from '../subscription/account'
import { isSubscribed } from '../subscription/follow'
import type { BillingAccountRow } from '../subscription/table'
import { closeAtStripe, openAtStripe, openSimulated, type Wanted } from './open'
import { refuseInsecure } from './return-url'
import type { Checkout, CreateCheckout, ListCheckouts } from './schema'
import { settled } from './settle'
import { type CheckoutRow, checkouts } from './table'

export type Seen = Checkout & { version: number }

const ATTEMPTS = 3

const BUSY = problem('conflict', 'Another checkout was made at the same moment; try again')

/**
 * Opens a checkout: asks where it can be paid, and stores what it is for before anybody is told. 409 where nobody takes
 * payments, or the tenant has a subscription already.
 */
export async function createCheckout(ctx: Context, input: CreateCheckout): Promise<Seen> {
  for (let attempt = 1; ; attempt++) {
    const { row, ...change } = await openCheckout(ctx, input)
    try {
      return await commit(ctx, { ...change, result: view(row) })
    } catch (error) {
      // What was opened is told to nobody, and ends by itself.
      if (error !== BUSY || attempt === ATTEMPTS) throw error
    }
  }
}

type New = { row: CheckoutRow } & Pick<Parameters<typeof commit>[1], 'statements' | 'audit'>

/** A checkout, for the batch of who asked for it. */
export async function openCheckout(ctx: Context, input: CreateCheckout): Promise<New> {
  const { PAYMENTS } = ctx.settings
  if (PAYMENTS === '') throw problem('payments_not_configured', 'Nobody takes payments here')
  refuseInsecure(ctx, { success_url: input.success_url, cancel_url: input.cancel_url })
  const wanted = wantedOf(ctx, input)
  const account = await accountOf(ctx)
  const mine = account?.provider === PAYMENTS ? account : null
  if (wanted.plan !== null && isSubscribed(mine))
    throw problem(
      'conflict',
      'The tenant has a subscription; change it with POST /api/v1/billing/subscription',
    )
  const closed = wanted.plan === null ? [] : await earlierClosed(ctx, mine)
  const opened = PAYMENTS === 'stripe' ? await openAtStripe(ctx, mine, wanted) : openSimulated(ctx, wanted)
  const { stripe_price: _, ...of } = wanted
  const { customer_id, ...at } = opened
  const now = iso(ctx.now)
  const row: CheckoutRow = {
    ...{ tenant_id: ctx.tenant.id, ...of, ...at, provider: PAYMENTS, status: 'open', payment_intent: null },
    ...{ refunded_amount: 0, disputed_amount: 0, refunded_credits: 0, completed_at: null },
    ...{ version: 1, created_at: now, updated_at: now },
  }
  return { row, statements: [...closed, ...kept(ctx, account, row, customer_id)], audit: audited(row) }
}

function kept(ctx: Context, account: BillingAccountRow | null, row: CheckoutRow, customer_id: string | null) {
  const { provider, plan } = row
  const planOpen = plan === null ? {} : { plan_checkout_id: row.id }
  const isKnown = account?.provider === provider && account.customer_id === customer_id && plan === null
  return [
    ctx.db.insert(checkouts).values(row),
    ...(isKnown ? [] : [accountSet(ctx, account, { provider, customer_id, ...planOpen }, BUSY)]),
    ...(provider === 'stripe' ? [referenceStatement(ctx, 'stripe', row.session_id)] : []),
    ...(customer_id === null ? [] : [referenceStatement(ctx, 'stripe', customer_id)]),
  ]
}

const audited = ({ id, kind, credits, plan, amount, currency }: CheckoutRow) => ({
  ...{ action: 'checkout.create', resource: 'checkout', resource_id: id },
  after: { kind, credits, plan, amount, currency },
})

function wantedOf(ctx: Context, { credits, plan, success_url, cancel_url }: CreateCheckout): Wanted {
  const { settings, now } = ctx
  const of = {
    id: newId(now),
    currency: settings.BILLING_CURRENCY,
    success_url,
    cancel_url: cancel_url ?? null,
  }
  if (credits !== undefined)
    return {
      ...of,
      kind: 'credits',
      credits,
      plan: null,
      amount: priceOfCredits(settings, credits),
      stripe_price: null,
    }
  const { amount, stripe_price } = soldPlan(ctx, plan ?? FREE)
  return { ...of, kind: 'plan', credits: null, plan: plan ?? FREE, amount, stripe_price }
}

/** The price of a plan that is sold; 422. */
export function soldPlan({ settings }: Context, plan: PlanName) {
  const price = priceOfPlan(settings, plan)
  if (price) return price
  throw problem.invalid({ plan: 'must be a plan that has a price: GET /api/v1/billing/plans' })
}

/** Of checkouts of a plan one can be paid at a time, or somebody might pay twice for one thing. */
async function earlierClosed(ctx: Context, account: BillingAccountRow | null) {
  const row = account?.plan_checkout_id ? await find(ctx, checkouts, account.plan_checkout_id) : null
  if (row?.status !== 'open') return []
  if (row.provider === 'stripe') await closeAtStripe(ctx, row)
  return settled(ctx, row, { status: 'expired' }, BUSY)?.statements ?? []
}

/** The tenant’s checkouts, newest first. */
export async function listCheckouts(ctx: Context, input: ListCheckouts): Promise<Page<Seen>> {
  const page = await newest(ctx, checkouts, input, { status: input.status })
  return { ...page, items: page.items.map(view) }
}

/** One checkout; 404. */
export async function getCheckout(ctx: Context, id: string): Promise<Seen> {
  const row = await find(ctx, checkouts, id)
  if (!row) throw problem.notFound('checkout', id)
  return view(row)
}

/** As it is shown: where to pay only as long as it can be paid. */
export const view = (row: CheckoutRow): Seen => ({
  ...row,
  url: row.status === 'open' ? row.url : null,
  refunded_amount: Math.min(row.amount, row.refunded_amount + row.disputed_amount),
})
