import { and, eq } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { usageGroups } from '../metering/usage/service'
import { monthByKind, monthOf, spanOf } from './invoices/monthly'
import type { BillingUsage } from './schema'
import { getBalance } from './service'
import { CREDIT_KINDS, callMonths } from './table'

/** The calls that ended in a month: a row, which a trigger keeps up. */
async function callsOf(ctx: Context, month: string): Promise<BillingUsage['calls']> {
  const row = await ctx.db
    .select()
    .from(callMonths)
    .where(and(eq(callMonths.tenant_id, ctx.tenant.id), eq(callMonths.month, month)))
    .get()
  return { count: row?.calls ?? 0, minutes: Math.round(((row?.seconds ?? 0) / 60) * 100) / 100 }
}

/** What the tenant used in this month of UTC so far; it costs the same however much that was. */
export async function billingUsage(ctx: Context): Promise<BillingUsage> {
  const month = monthOf(ctx.now)
  const { start, end } = spanOf(month)
  const [{ balance }, kinds, days, counted] = await Promise.all([
    getBalance(ctx),
    monthByKind(ctx, month),
    usageGroups(ctx, 'day', Date.parse(start), ctx.now + 1),
    callsOf(ctx, month),
  ])
  const of = (kind: (typeof CREDIT_KINDS)[number]) => kinds.get(kind) ?? { transactions: 0, amount: 0 }
  return {
    ...{ period_start: start, period_end: end, balance },
    credits: Object.fromEntries(CREDIT_KINDS.map((kind) => [kind, of(kind)])) as BillingUsage['credits'],
    requests: days.reduce((sum, { stat }) => sum + stat.requests, 0),
    calls: counted,
  }
}
