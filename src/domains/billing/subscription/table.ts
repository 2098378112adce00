import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { confined, tenantId, time, version } from '../../../data/columns'
import { PLAN_NAMES } from '../../tenancy/plans'

/** A tenant as who pays: a customer of the payment provider, and the subscription by which it has its plan. */
export const billingAccounts = confined(
  sqliteTable(
    'billing_accounts',
    {
      tenant_id: tenantId(),
      provider: text({ enum: ['stripe', 'simulated'] }).notNull(),
      customer_id: text(),
      /** The checkout of a plan that may still be paid; there is one at most. */
      plan_checkout_id: text(),
      subscription_id: text(),
      /** What of the subscription names its price. */
      item_id: text(),
      /** As Stripe has it: active, past_due, canceled, … */
      subscription_status: text(),
      /** What the subscription gives; null where it gives nothing (any more). */
      plan: text({ enum: PLAN_NAMES }),
      period_start: time(),
      period_end: time(),
      cancel_at_period_end: integer({ mode: 'boolean' }).notNull().default(false),
      /** When a simulated subscription goes on or ends, and Stripe is asked, should no event have told. */
      renews_at: time(),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id] }),
      index('billing_accounts_due').on(table.renews_at).where(sql`renews_at is not null`),
    ],
  ),
)

export type BillingAccountRow = typeof billingAccounts.$inferSelect
