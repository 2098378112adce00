import { sql } from 'drizzle-orm'
import { check, index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, tenantId, time } from '../../data/columns'

/** What moves credit. Credit that is reserved is spent or released at the end of what it was reserved for. */
export const CREDIT_KINDS = ['purchase', 'spend', 'refund', 'grant', 'reserve', 'release'] as const

/**
 * The ledger of a tenant's credit, append-only (a trigger refuses changes): each row follows the one before it and says
 * what is left, so the balance is one row's to read.
 */
export const creditTransactions = confined(
  sqliteTable(
    'credit_transactions',
    {
      tenant_id: tenantId(),
      /** 1, 2, 3, … of the tenant. */
      seq: integer().notNull(),
      id: id(),
      kind: text({ enum: CREDIT_KINDS }).notNull(),
      /** Credits; what takes away is negative. */
      amount: integer().notNull(),
      balance_after: integer().notNull(),
      /** What it is for: under one name of a kind nothing is booked twice. */
      reference: text(),
      created_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.seq] }),
      index('credit_transactions_by_kind').on(table.tenant_id, table.kind, table.created_at, table.seq),
      index('credit_transactions_by_time').on(table.tenant_id, table.created_at, table.seq),
      uniqueIndex('credit_transactions_by_reference')
        .on(table.tenant_id, table.reference, table.kind)
        .where(sql`reference is not null`),
      check('credit_is_never_owed', sql`balance_after >= 0`),
    ],
  ),
)

/**
 * What calls ended in a month of UTC, and how long they lasted: kept up by a trigger where they end, so that reading it
 * costs the same however many there were.
 */
export const callMonths = confined(
  sqliteTable(
    'call_months',
    {
      tenant_id: tenantId(),
      /** `2026-01`. */
      month: text().notNull(),
      calls: integer().notNull(),
      seconds: integer().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.month] })],
  ),
)

export type CreditTransactionRow = typeof creditTransactions.$inferSelect
