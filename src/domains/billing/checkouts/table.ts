import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, tenantId, time, version } from '../../../data/columns'
import { PLAN_NAMES } from '../../tenancy/plans'

/** How a checkout stands. `processing`: paid by a way that takes days to be sure. */
export const CHECKOUT_STATUSES = ['open', 'processing', 'completed', 'expired', 'failed'] as const

/**
 * What somebody set out to pay. What it grants is what stands here, whatever the payment provider's events say; the row is
 * written before anybody is told where to pay.
 */
export const checkouts = confined(
  sqliteTable(
    'checkouts',
    {
      tenant_id: tenantId(),
      id: id(),
      kind: text({ enum: ['credits', 'plan'] }).notNull(),
      /** Of the kind `credits`: how many. */
      credits: integer(),
      /** Of the kind `plan`: which. */
      plan: text({ enum: PLAN_NAMES }),
      /** In the currency's smallest unit; of a plan for a month. */
      amount: integer().notNull(),
      currency: text().notNull(),
      status: text({ enum: CHECKOUT_STATUSES }).notNull(),
      provider: text({ enum: ['stripe', 'simulated'] }).notNull(),
      /** The provider's own ids. */
      session_id: text().notNull(),
      payment_intent: text(),
      url: text().notNull(),
      success_url: text().notNull(),
      cancel_url: text(),
      /** What was paid back, and what was lost to a dispute, in all. */
      refunded_amount: integer().notNull().default(0),
      disputed_amount: integer().notNull().default(0),
      /** Credits that were to be taken back for it. */
      refunded_credits: integer().notNull().default(0),
      expires_at: time().notNull(),
      /** When Stripe is asked how it stands, should no event have told; null where nothing more can come. */
      look_at: time(),
      completed_at: time(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      uniqueIndex('checkouts_by_session').on(table.tenant_id, table.session_id),
      index('checkouts_by_status').on(table.tenant_id, table.status, table.id),
      index('checkouts_due').on(table.look_at).where(sql`look_at is not null`),
      index('checkouts_by_completion')
        .on(table.tenant_id, table.completed_at)
        .where(sql`completed_at is not null`),
      uniqueIndex('checkouts_by_payment')
        .on(table.tenant_id, table.payment_intent)
        .where(sql`payment_intent is not null`),
    ],
  ),
)

export type CheckoutRow = typeof checkouts.$inferSelect
