import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, json, tenantId, time, version } from '../../../data/columns'

export const INVOICE_STATUSES = ['draft', 'open', 'paid', 'void'] as const

/** Money in the currency's smallest unit. */
export type InvoiceLine = { description: string; quantity: number; unit_amount: number; amount: number }

/** What a tenant was asked to pay, or paid: as Stripe has it, or made here where there is no Stripe. */
export const invoices = confined(
  sqliteTable(
    'invoices',
    {
      tenant_id: tenantId(),
      id: id(),
      /** Of those made here: 1, 2, 3, … of the tenant, without a gap. */
      seq: integer(),
      number: text(),
      status: text({ enum: INVOICE_STATUSES }).notNull(),
      currency: text().notNull(),
      amount_due: integer().notNull(),
      amount_paid: integer().notNull(),
      period_start: time().notNull(),
      period_end: time().notNull(),
      lines: json<InvoiceLine[]>().notNull(),
      provider: text({ enum: ['stripe', 'ledger', 'simulated'] }).notNull(),
      /** What it is of, once: Stripe’s id, a month, or a period of a subscription. */
      provider_id: text().notNull(),
      /** Where Stripe has it as PDF. */
      provider_pdf: text(),
      issued_at: time(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('invoices_by_origin').on(table.tenant_id, table.provider_id),
      uniqueIndex('invoices_by_seq').on(table.tenant_id, table.seq).where(sql`seq is not null`),
      index('invoices_by_status').on(table.tenant_id, table.status, table.id),
    ],
  ),
)

/**
 * What moved a tenant’s credit in a month of UTC, by kind: kept up by a trigger on the ledger, so that reading it costs
 * the same however much there was. A month that is over is invoiced once.
 */
export const creditMonths = confined(
  sqliteTable(
    'credit_months',
    {
      tenant_id: tenantId(),
      /** `2026-01`. */
      month: text().notNull(),
      kind: text().notNull(),
      transactions: integer().notNull(),
      amount: integer().notNull(),
      invoiced: integer({ mode: 'boolean' }).notNull().default(false),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.month, table.kind] }),
      index('credit_months_due').on(table.month).where(sql`invoiced = 0`),
    ],
  ),
)

export type InvoiceRow = typeof invoices.$inferSelect
