import type { Context } from '../../../data/context'
import { newest } from '../../../data/newest'
import type { Page } from '../../../data/page'
import { find } from '../../../data/revise'
import { problem } from '../../../lib/problem'
import { bytesOf } from '../../../lib/provider-fetch'
import { currentTenant } from '../../tenancy/tenants/service'
import { needStripe, StripeInvoice } from '../stripe/client'
import { printInvoice } from './print'
import type { Invoice, ListInvoices } from './schema'
import { type InvoiceRow, invoices } from './table'

type Seen = Invoice & { version: number }

/** The tenant’s invoices, newest first. */
export async function listInvoices(ctx: Context, input: ListInvoices): Promise<Page<Seen>> {
  const page = await newest(ctx, invoices, input, { status: input.status })
  return { ...page, items: page.items.map((row) => view(ctx, row)) }
}

/** One invoice; 404. */
export async function getInvoice(ctx: Context, id: string): Promise<Seen> {
  return view(ctx, await rowOf(ctx, id))
}

const MOST_BYTES = 10 * 1024 * 1024
const PATIENCE_MS = 10_000

/** An invoice as PDF: Stripe’s own of those that are Stripe’s. 404, 409 while it is a draft. */
export async function invoicePdf(
  ctx: Context,
  id: string,
): Promise<{ name: string; bytes: Uint8Array<ArrayBuffer> }> {
  const row = await rowOf(ctx, id)
  if (row.issued_at === null || row.number === null)
    throw problem('conflict', 'The invoice is a draft; it has a PDF once it is issued')
  const name = `invoice-${row.number.replace(/[^A-Za-z0-9-]/g, '_')}.pdf`
  if (row.provider_pdf !== null)
    return { name, bytes: await stripesPdf(ctx, row.provider_id, row.provider_pdf) }
  const { name: to } = await currentTenant(ctx)
  return { name, bytes: printInvoice(row, { from: new URL(ctx.settings.PUBLIC_URL).host, to }) }
}

/** Stripe's links end after some months: where the one that was kept gives nothing, it is asked for another. */
async function stripesPdf(ctx: Context, id: string, kept: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await fetched(kept)
  } catch (error) {
    const path = `invoices/${encodeURIComponent(id)}`
    const { invoice_pdf } = await needStripe(ctx, { path, answer: StripeInvoice })
    if (!invoice_pdf || invoice_pdf === kept) throw error
    return fetched(invoice_pdf)
  }
}

/** Stripe says where it is, in an answer to our own key; it needs no other. */
async function fetched(url: string): Promise<Uint8Array<ArrayBuffer>> {
  let status: number | null = null
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS) })
    status = response.status
    const bytes = await bytesOf(response, MOST_BYTES)
    if (response.ok && new TextDecoder('latin1').decode(bytes.subarray(0, 5)) === '%PDF-') return bytes
    throw new Error(`answered ${status} with what is no PDF`)
  } catch (cause) {
    throw problem('provider_failed', 'The provider stripe did not give the invoice’s PDF', {
      details: { provider: 'stripe', status, said: null },
      cause,
    })
  }
}

async function rowOf(ctx: Context, id: string): Promise<InvoiceRow> {
  const row = await find(ctx, invoices, id)
  if (!row) throw problem.notFound('invoice', id)
  return row
}

const view = ({ settings }: Pick<Context, 'settings'>, row: InvoiceRow): Seen => ({
  ...row,
  pdf_url: row.issued_at === null ? null : `${settings.PUBLIC_URL}/api/v1/billing/invoices/${row.id}/pdf`,
})
