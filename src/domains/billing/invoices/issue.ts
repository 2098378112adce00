import { and, desc, eq, isNotNull } from 'drizzle-orm'
import type { Change, NewEvent } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import type { Problem } from '../../../lib/problem'
import { eventOf } from '../../events/catalogue'
import { type InvoiceLine, type InvoiceRow, invoices } from './table'

/** What an invoice of our own is of. */
export type Issued = Pick<InvoiceRow, 'provider' | 'provider_id' | 'period_start' | 'period_end'> & {
  lines: InvoiceLine[]
}

/**
 * An invoice that is made here, paid already, for the batch of what it is of: once for each `provider_id`, under the
 * number after the tenant’s last. `stale` where another was made meanwhile.
 */
export async function issued(
  ctx: Context,
  invoice: Issued,
  stale: Problem,
): Promise<Required<Pick<Change<unknown>, 'statements' | 'events' | 'unique'>>> {
  const last = await ctx.db
    .select({ seq: invoices.seq })
    .from(invoices)
    .where(and(eq(invoices.tenant_id, ctx.tenant.id), isNotNull(invoices.seq)))
    .orderBy(desc(invoices.seq))
    .limit(1)
    .get()
  const seq = (last?.seq ?? 0) + 1
  const total = invoice.lines.reduce((sum, { amount }) => sum + amount, 0)
  const now = iso(ctx.now)
  const row: InvoiceRow = {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), seq, number: numberOf(ctx.tenant.id, seq) },
    ...{ ...invoice, status: 'paid', currency: ctx.settings.BILLING_CURRENCY, provider_pdf: null },
    ...{ amount_due: total, amount_paid: total, issued_at: now },
    ...{ version: 1, created_at: now, updated_at: now },
  }
  return {
    statements: [ctx.db.insert(invoices).values(row)],
    events: [issuedEvent(row)],
    unique: { 'invoices.seq': stale, 'invoices.provider_id': stale },
  }
}

/** A tenant’s invoices are counted without a gap, behind what no other tenant’s begin with. */
const numberOf = (tenantId: string, seq: number): string =>
  `${tenantId.slice(-12).toUpperCase()}-${String(seq).padStart(4, '0')}`

/** What is said of an invoice once it is more than a draft. */
export const issuedEvent = (row: InvoiceRow): NewEvent =>
  eventOf('billing.invoice.issued', {
    ...{ invoice_id: row.id, number: row.number ?? '', currency: row.currency },
    status: row.status === 'draft' ? 'open' : row.status,
    ...{ amount_due: row.amount_due, amount_paid: row.amount_paid },
    ...{ period_start: row.period_start, period_end: row.period_end },
  })
