import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, params, query, returns, returnsPage } from '../../../http/route'
import type { ProblemCode } from '../../../lib/problem'
import { allow } from '../../tenancy/authorize'
import '../stripe/incoming'
import { openPortal } from '../subscription/portal'
import { ChooseSubscription, OpenPortal, Portal, Subscription } from '../subscription/schema'
import { chooseSubscription, getSubscription } from '../subscription/service'
import { Checkout, CreateCheckout, ListCheckouts } from './schema'
import { createCheckout, getCheckout, listCheckouts } from './service'

const tag = 'Billing'
const errors: ProblemCode[] = ['conflict', 'payments_not_configured', 'provider_failed', 'provider_refused']

/** What is bought, and by what the tenant has its plan. */
export const checkoutRoutes = new Hono<AppEnv>()
  .post(
    '/checkout',
    doc('Buy credits, or subscribe to a plan', {
      tag,
      description:
        'Answers with a `url` where it is paid (Stripe Checkout). What was bought is there once it is paid, whether or not the browser comes back.',
      idempotency: 'claimed',
      errors,
    }),
    allow('billing:write'),
    body(CreateCheckout, {
      example: { credits: 10_000, success_url: 'https://app.example.com/billing?paid=1' },
    }),
    returns(201, Checkout, { location: ({ id }) => `/api/v1/billing/checkouts/${id}` }),
    async (c) => c.var.reply(await createCheckout(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/checkouts',
    doc('List checkouts, newest first', { tag }),
    allow('billing:read'),
    query(ListCheckouts),
    returnsPage(Checkout),
    async (c) => c.var.reply(await listCheckouts(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/checkouts/:id',
    doc('Read a checkout', { tag }),
    allow('billing:read'),
    params({ id: Id }),
    returns(200, Checkout),
    async (c) => c.var.reply(await getCheckout(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/subscription',
    doc('Read by what the tenant has its plan', { tag }),
    allow('billing:read'),
    returns(200, Subscription),
    async (c) => c.var.reply(await getSubscription(c.var.ctx)),
  )
  .post(
    '/subscription',
    doc('Choose a plan', {
      tag,
      description:
        'Without a subscription it answers with a `checkout` to be paid first. With one the plan changes at once, paid for in proportion; `starter` ends it with what is paid, and the plan itself takes that back.',
      idempotency: 'claimed',
      errors: [...errors, 'payment_failed'],
    }),
    allow('billing:write'),
    body(ChooseSubscription, {
      example: { plan: 'pro', success_url: 'https://app.example.com/billing?paid=1' },
    }),
    returns(200, Subscription),
    async (c) => c.var.reply(await chooseSubscription(c.var.ctx, c.req.valid('json'))),
  )
  .post(
    '/portal',
    doc('Open Stripe’s page for ways of paying', {
      tag,
      description: 'Where cards, the address on invoices, and invoices themselves are.',
      idempotency: 'claimed',
      secret: true,
      errors,
    }),
    allow('billing:write'),
    body(OpenPortal, { example: { return_url: 'https://app.example.com/billing' } }),
    returns(200, Portal),
    async (c) => c.var.reply(await openPortal(c.var.ctx, c.req.valid('json'))),
  )
