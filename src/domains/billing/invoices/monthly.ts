import { and, asc, eq, gte, lt, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { type CheckoutRow, checkouts } from '../checkouts/table'
import { issued } from './issue'
import { creditMonths, type InvoiceLine } from './table'

// Without Stripe, what a tenant bought and used in a month of UTC is one invoice, made of the ledger once the month is over.

/** What began before the month’s end is booked by then. */
export const GRACE_MS = 3600_000

/** The month of a moment: `2026-01`. */
export const monthOf = (now: number): string => new Date(now).toISOString().slice(0, 7)

/** Where a month begins and the next one does. */
export function spanOf(month: string): { start: string; end: string } {
  const start = new Date(`${month}-01T00:00:00.000Z`)
  const end = new Date(start)
  end.setUTCMonth(end.getUTCMonth() + 1)
  return { start: start.toISOString(), end: end.toISOString() }
}

/** Where nobody pays (Stripe’s are on Stripe’s own invoices) there are few: no more of a month are looked at. */
const MOST_CHECKOUTS = 5_000

const MADE = problem('already_exists', 'The month was invoiced already')

/** Makes the invoice of a month of the tenant’s, once; a month of which nothing is to be said gets none, only its mark. */
export async function invoiceMonth(ctx: Context, month: string): Promise<void> {
  // Stripe's own invoices say what was paid.
  const isHere = ctx.settings.PAYMENTS !== 'stripe'
  const lines = isHere ? [...(await linesOfCheckouts(ctx, month)), ...(await linesOfUse(ctx, month))] : []
  const { start, end } = spanOf(month)
  const invoice = {
    provider: 'ledger',
    provider_id: `ledger:${month}`,
    period_start: start,
    period_end: end,
    lines,
  } as const
  const made = lines.length === 0 ? { statements: [] } : await issued(ctx, invoice, MADE)
  const done = ctx.db
    .update(creditMonths)
    .set({ invoiced: true })
    .where(and(eq(creditMonths.tenant_id, ctx.tenant.id), eq(creditMonths.month, month)))
  try {
    await commit(ctx, { ...made, statements: [...made.statements, done], result: null })
  } catch (error) {
    if (error !== MADE) throw error
    // By another sweep, or the tenant's numbers moved on: the next look finds out which.
    if (await isInvoiced(ctx, month)) await commit(ctx, { statements: [done], result: null })
  }
}

async function isInvoiced(ctx: Context, month: string): Promise<boolean> {
  const found = await ctx.db.get<{ id: string }>(
    sql`select id from invoices where tenant_id = ${ctx.tenant.id} and provider_id = ${`ledger:${month}`}`,
  )
  return found !== undefined
}

/** What was paid for credits, those of one price in one line; what was paid back of it beneath. */
async function linesOfCheckouts(ctx: Context, month: string): Promise<InvoiceLine[]> {
  const { start, end } = spanOf(month)
  const paid = await ctx.db
    .select()
    .from(checkouts)
    .where(
      and(
        eq(checkouts.tenant_id, ctx.tenant.id),
        gte(checkouts.completed_at, start),
        lt(checkouts.completed_at, end),
      ),
    )
    .orderBy(asc(checkouts.completed_at))
    .limit(MOST_CHECKOUTS)
  const bought = Map.groupBy(
    paid.filter(({ kind }) => kind === 'credits'),
    ({ credits, amount }) => `${credits} ${amount}`,
  )
  return [...bought.values()].map((same) => {
    const { credits, amount } = same[0] as CheckoutRow
    return {
      description: `${(credits ?? 0).toLocaleString('en-US')} credits`,
      ...{ quantity: same.length, unit_amount: amount, amount: amount * same.length },
    }
  })
}

/** What else the ledger says of the month; it was paid in advance, or not at all. */
const USE: Record<string, string> = {
  grant: 'Credits given by the platform',
  refund: 'Credits taken back',
  spend: 'Credits used, paid for in advance',
}

async function linesOfUse(ctx: Context, month: string): Promise<InvoiceLine[]> {
  const months = await monthByKind(ctx, month)
  return Object.entries(USE).flatMap(([kind, description]) => {
    const amount = months.get(kind)?.amount ?? 0
    return amount === 0 ? [] : [{ description, quantity: Math.abs(amount), unit_amount: 0, amount: 0 }]
  })
}

/** What moved the tenant’s credit in a month, by kind: a row for each, however many transactions there were. */
export async function monthByKind(
  ctx: Context,
  month: string,
): Promise<Map<string, { transactions: number; amount: number }>> {
  const rows = await ctx.db
    .select()
    .from(creditMonths)
    .where(and(eq(creditMonths.tenant_id, ctx.tenant.id), eq(creditMonths.month, month)))
  return new Map(rows.map(({ kind, transactions, amount }) => [kind, { transactions, amount }]))
}
