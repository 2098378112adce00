import { Hono } from 'hono'
import type * as z from 'zod'
import type { Settings } from '../../env'
import type { AppEnv } from '../../http/app-env'
import { body, doc, Id, open, params, query, returns, returnsPage } from '../../http/route'
import { allow } from '../tenancy/authorize'
import { limitsOf, PLAN_NAMES, termsOf, UNLIMITED_USERS } from '../tenancy/plans'
import { Invoice, ListInvoices } from './invoices/schema'
import { getInvoice, invoicePdf, listInvoices } from './invoices/service'
import { priceOfPlan } from './prices'
import {
  Balance,
  BillingUsage,
  CreditGrant,
  CreditTransaction,
  GrantCredits,
  ListTransactions,
  PlanView,
} from './schema'
import { getBalance, grantCredits, listTransactions } from './service'
import { billingUsage } from './usage'

const tag = 'Billing'
const id = params({ id: Id })

/** Frozen, so that they are printed once. */
const pages = new WeakMap<Settings, { items: z.input<typeof PlanView>[]; next_cursor: null }>()

function plansOf(settings: Settings) {
  const items = PLAN_NAMES.map((name) => {
    const { users } = termsOf(name)
    const amount = priceOfPlan(settings, name)?.amount
    return {
      name,
      limits: limitsOf({ plan: name, rate_limits: {} }),
      users: users === UNLIMITED_USERS ? null : users,
      price:
        amount === undefined
          ? null
          : { amount, currency: settings.BILLING_CURRENCY, interval: 'month' as const },
    }
  })
  const page = { items: Object.freeze(items) as typeof items, next_cursor: null }
  pages.set(settings, page)
  return page
}

export const billing = new Hono<AppEnv>()
  .get(
    '/plans',
    doc('List the plans', { tag, description: 'What each plan means and costs, smallest first.' }),
    open(),
    returnsPage(PlanView),
    (c) => c.var.reply(pages.get(c.var.request.settings) ?? plansOf(c.var.request.settings)),
  )
  .get(
    '/balance',
    doc('Read how much credit is left', { tag }),
    allow('billing:read'),
    returns(200, Balance),
    async (c) => c.var.reply(await getBalance(c.var.ctx)),
  )
  .get(
    '/transactions',
    doc('List what moved the tenant’s credit, the last first', { tag }),
    allow('billing:read'),
    query(ListTransactions),
    returnsPage(CreditTransaction),
    async (c) => c.var.reply(await listTransactions(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/usage',
    doc('Read what was used this month', { tag, description: 'Of UTC, until now.' }),
    allow('billing:read'),
    returns(200, BillingUsage),
    async (c) => c.var.reply(await billingUsage(c.var.ctx)),
  )
  .get(
    '/invoices',
    doc('List invoices, newest first', { tag }),
    allow('billing:read'),
    query(ListInvoices),
    returnsPage(Invoice),
    async (c) => c.var.reply(await listInvoices(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/invoices/:id',
    doc('Read an invoice', { tag }),
    allow('billing:read'),
    id,
    returns(200, Invoice),
    async (c) => c.var.reply(await getInvoice(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/invoices/:id/pdf',
    doc('Download an invoice', {
      tag,
      errors: ['conflict', 'provider_failed'],
      returns: {
        status: 200,
        schema: null,
        contentType: 'application/pdf',
        description: 'The invoice as PDF',
      },
    }),
    allow('billing:read'),
    id,
    async (c) => {
      const { name, bytes } = await invoicePdf(c.var.ctx, c.req.valid('param').id)
      c.set('responseBytes', bytes.byteLength)
      return c.body(bytes, 200, {
        'Content-Type': 'application/pdf',
        'Content-Disposition': `attachment; filename="${name}"`,
        'Cache-Control': 'no-store',
      })
    },
  )

/** What the platform does about a tenant’s credit. */
export const platformCredit = new Hono<AppEnv>().post(
  '/:id/credits',
  doc('Give a tenant credits', {
    tag: 'Platform',
    description: 'Under one `reference` once, however often it is asked for.',
    errors: ['already_exists', 'conflict'],
  }),
  allow('platform:*'),
  params({ id: Id }),
  body(GrantCredits),
  returns(201, CreditGrant, { location: () => '/api/v1/billing/transactions' }),
  async (c) => c.var.reply(await grantCredits(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
)
