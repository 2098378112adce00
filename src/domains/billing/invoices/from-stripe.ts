import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import { type Consequence, OVERTAKEN } from '../../webhooks/incoming/heard'
import { askStripe, needStripe, StripeInvoice, StripeLines } from '../stripe/client'
import type { BillingAccountRow } from '../subscription/table'
import { issuedEvent } from './issue'
import { type InvoiceLine, type InvoiceRow, invoices } from './table'

/** Stripe’s largest page. */
const MOST_LINES = 100

/** A debt that was written off can still be paid. */
const STATUSES: Record<string, InvoiceRow['status']> = { uncollectible: 'open' }

/**
 * What follows from what was said of an invoice of the tenant’s own customer, as Stripe has it now; null where nothing does.
 * A draft that was deleted is void.
 */
export async function invoiceFollowed(
  ctx: Context,
  account: BillingAccountRow,
  id: string,
): Promise<Consequence | null> {
  const row = await ctx.db
    .select()
    .from(invoices)
    .where(and(eq(invoices.tenant_id, ctx.tenant.id), eq(invoices.provider_id, id)))
    .get()
  const path = `invoices/${encodeURIComponent(id)}`
  const invoice = await askStripe(ctx, { path, answer: StripeInvoice, meant: [404] })
  if (!invoice) return row && row.status === 'draft' ? changed(ctx, row, { status: 'void' }) : null
  if (invoice.customer !== account.customer_id) return null
  const next = shapeOf(invoice, await linesOf(ctx, invoice))
  return row ? changed(ctx, row, next) : added(ctx, id, next)
}

type Shape = Omit<
  InvoiceRow,
  'tenant_id' | 'id' | 'seq' | 'provider' | 'provider_id' | 'version' | 'created_at' | 'updated_at'
>

/** Its lines, of which the invoice itself shows the first ten. */
async function linesOf(ctx: Context, { id, lines }: StripeInvoice) {
  if (!lines.has_more) return lines.data
  const path = `invoices/${encodeURIComponent(id)}/lines`
  return (await needStripe(ctx, { path, params: { limit: MOST_LINES }, answer: StripeLines })).data
}

function shapeOf({ status, ...invoice }: StripeInvoice, lines: StripeInvoice['lines']['data']): Shape {
  const { number, currency, amount_due, amount_paid, period_start, period_end, invoice_pdf } = invoice
  const isDraft = status === 'draft' || !status
  return {
    ...{ number: number ?? null, currency, amount_due, amount_paid, period_start, period_end },
    status: isDraft ? 'draft' : (STATUSES[status] ?? (status as InvoiceRow['status'])),
    lines: lines.map(lineOf),
    provider_pdf: invoice_pdf ?? null,
    issued_at: isDraft ? null : (invoice.status_transitions?.finalized_at ?? invoice.created),
  }
}

function lineOf({
  description,
  quantity,
  amount,
  pricing,
}: StripeInvoice['lines']['data'][number]): InvoiceLine {
  const count = quantity ?? 1
  const unit = pricing?.unit_amount_decimal ?? (count === 0 ? amount : amount / count)
  return { description: description ?? '', quantity: count, unit_amount: unit, amount }
}

function added(ctx: Context, provider_id: string, shape: Shape): Consequence {
  const now = iso(ctx.now)
  const row: InvoiceRow = {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), seq: null, provider: 'stripe', provider_id },
    ...{ ...shape, version: 1, created_at: now, updated_at: now },
  }
  return {
    statements: [ctx.db.insert(invoices).values(row)],
    events: row.issued_at === null ? [] : [issuedEvent(row)],
    unique: { 'invoices.provider_id': OVERTAKEN },
  }
}

function changed(ctx: Context, row: InvoiceRow, set: Partial<Shape>): Consequence | null {
  const next = { ...row, ...set }
  if (JSON.stringify(next) === JSON.stringify(row)) return null
  const statement = ctx.db
    .update(invoices)
    .set({ ...set, updated_at: iso(ctx.now), version: sql`version + 1` })
    .where(
      and(eq(invoices.tenant_id, ctx.tenant.id), eq(invoices.id, row.id), eq(invoices.version, row.version)),
    )
  const isIssued = row.issued_at === null && next.issued_at !== null
  return {
    statements: [{ statement, otherwise: OVERTAKEN }],
    events: isIssued ? [issuedEvent(next)] : [],
  }
}
