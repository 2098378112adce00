import { and, eq, sql } from 'drizzle-orm'
import type { Change, NewEvent } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { defined } from '../../../lib/defined'
import { iso } from '../../../lib/ids'
import type { Problem } from '../../../lib/problem'
import { eventOf } from '../../events/catalogue'
import { referenceStatement } from '../../webhooks/incoming/references'
import { booked, givenBack, takenBack } from '../ledger'
import { type CheckoutRow, checkouts } from './table'

/**
 * What was heard of a checkout, in whatever order; amounts are what it comes to in all. `refunded_amount` is as it stands at
 * the provider now, and may be less than before: a refund can fail.
 */
export type Heard = {
  status?: Exclude<CheckoutRow['status'], 'open'> | undefined
  payment_intent?: string | null | undefined
  refunded_amount?: number | undefined
  disputed_amount?: number | undefined
}

type Settled = Required<Pick<Change<unknown>, 'statements' | 'events' | 'audit'>>

/** What was paid was paid, whatever else was said before or is said afterwards; what has ended goes no further otherwise. */
function statusAfter(now: CheckoutRow['status'], heard: Heard['status']): CheckoutRow['status'] {
  if (heard === undefined || now === 'completed') return now
  return now === 'open' || heard === 'completed' || (now === 'processing' && heard !== 'expired')
    ? heard
    : now
}

/** The credits that a part of what was paid stands for, rounded to the tenant’s good. */
function creditsFor({ credits, amount }: CheckoutRow, back: number): number {
  return Number((BigInt(credits ?? 0) * BigInt(Math.min(back, amount))) / BigInt(amount))
}

/**
 * What follows from what was heard of a checkout, for one batch; null where nothing does. Credits are granted once, as many
 * as stand in the row; those that were paid back are taken as far as they are there, and given again where that failed.
 * `stale` where the row changes meanwhile.
 */
export function settled(ctx: Context, row: CheckoutRow, heard: Heard, stale: Problem): Settled | null {
  const status = statusAfter(row.status, heard.status)
  const isPaidNow = status === 'completed' && row.status !== 'completed'
  const refunded_amount = heard.refunded_amount ?? row.refunded_amount
  const disputed_amount = Math.max(row.disputed_amount, heard.disputed_amount ?? 0)
  const isPaid = status === 'completed'
  const refunded_credits = isPaid ? creditsFor(row, refunded_amount + disputed_amount) : row.refunded_credits
  const next = {
    ...{ status, refunded_amount, disputed_amount, refunded_credits },
    payment_intent: row.payment_intent ?? heard.payment_intent ?? null,
    completed_at: isPaidNow ? iso(ctx.now) : row.completed_at,
    look_at: status === 'open' || status === 'processing' ? row.look_at : null,
  }
  const changed = (name: keyof typeof next) => next[name] !== row[name]
  if (!(Object.keys(next) as (keyof typeof next)[]).some(changed)) return null
  const update = ctx.db
    .update(checkouts)
    .set({ ...next, updated_at: iso(ctx.now), version: sql`version + 1` })
    .where(
      and(
        eq(checkouts.tenant_id, ctx.tenant.id),
        eq(checkouts.id, row.id),
        eq(checkouts.version, row.version),
      ),
    )
  const back = refunded_credits - row.refunded_credits
  const of = `checkout:${row.id}:`
  const isBack = isPaid && (changed('refunded_amount') || changed('disputed_amount'))
  return {
    statements: [
      { statement: update, otherwise: stale },
      ...(next.payment_intent !== null && changed('payment_intent') && row.provider === 'stripe'
        ? [referenceStatement(ctx, 'stripe', next.payment_intent)]
        : []),
      ...(isPaidNow && row.credits !== null
        ? booked(ctx, { kind: 'purchase', amount: row.credits, reference: `checkout:${row.id}` })
        : []),
      // Each under a name of its own: what was paid back, failed and is paid back again comes to the same as before.
      ...(back > 0 ? [takenBack(ctx, back, `${of}v${row.version}`)] : []),
      ...(back < 0 ? [givenBack(ctx, { of, but: refunded_credits, reference: `${of}v${row.version}` })] : []),
    ],
    events: [
      ...(isPaidNow ? [completedEvent(row)] : []),
      ...(isBack ? [refundedEvent({ ...row, ...next })] : []),
    ],
    audit: [
      ...(changed('status') ? [entry(row, status, row.status)] : []),
      ...(isBack
        ? [{ ...entry(row, 'refunded'), after: { refunded_amount, disputed_amount, refunded_credits } }]
        : []),
    ],
  }
}

const entry = (row: CheckoutRow, what: string, before?: string) => ({
  ...{ action: `checkout.${what}`, resource: 'checkout', resource_id: row.id },
  ...defined({ before: before === undefined ? undefined : { status: before } }),
})

const about = ({ id, kind, credits, plan, amount, currency }: CheckoutRow) => ({
  ...{ checkout_id: id, kind, credits, plan, amount, currency },
})

const completedEvent = (row: CheckoutRow): NewEvent => eventOf('billing.checkout.completed', about(row))

const refundedEvent = (row: CheckoutRow): NewEvent =>
  eventOf('billing.checkout.refunded', {
    ...about(row),
    refunded_amount: Math.min(row.amount, row.refunded_amount + row.disputed_amount),
    refunded_credits: row.refunded_credits,
  })
