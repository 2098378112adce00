import { env } from 'cloudflare:workers'
import Stripe from 'stripe'
import { describe, expect, it } from 'vitest'
import { formOf } from '../../src/domains/billing/stripe/client'
import { STRIPE } from '../webhooks/incoming/kit'
import { call } from '../world'
import { askedAtStripe, balance, buy, makeBuyer, makeSubscriber, payAtStripe, rowOf, SUCCESS } from './kit'

// Stripe’s own library as an independent check: it asks the same server for the same things, and signs as Stripe does.

const { hostname, port } = new URL(env.RECEIVER_URL)
const stripe = new Stripe('sk_test_of_the_tests', {
  ...{ host: hostname, port, protocol: 'http' as const, maxNetworkRetries: 0 },
  httpClient: Stripe.createFetchHttpClient((request: RequestInfo | URL, init?: RequestInit) => {
    const { pathname, search } = new URL(request instanceof Request ? request.url : String(request))
    return fetch(`${env.RECEIVER_URL}/stripe${pathname}${search}`, init)
  }),
})

describe('Stripe’s own library', () => {
  it('asks for a checkout as the service does', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 2_000, cancel_url: 'https://app.example.com/back' })
    const sessions = () => askedAtStripe('checkout/sessions')
    const ours = (await sessions()).find(({ key }) => key === `checkout-${data.id}`)
    const customer = String(ours?.params.customer)
    const session = await stripe.checkout.sessions.create(
      {
        ...{ mode: 'payment', customer, success_url: SUCCESS, cancel_url: 'https://app.example.com/back' },
        ...{ client_reference_id: data.id, metadata: { checkout_id: data.id, tenant_id: world.tenant.id } },
        customer_update: { name: 'auto', address: 'auto' },
        invoice_creation: { enabled: true },
        line_items: [
          {
            quantity: 1,
            price_data: { currency: 'usd', unit_amount: 1_000, product_data: { name: '2,000 credits' } },
          },
        ],
      },
      { idempotencyKey: `library-${data.id}` },
    )
    const theirs = (await sessions()).find(({ key }) => key === `library-${data.id}`)
    expect(ours?.params).toEqual(theirs?.params)
    expect(ours?.version).toBe(theirs?.version)
    expect(session).toMatchObject({ object: 'checkout.session', status: 'open', customer })
    // And reads what the service made.
    const { session_id } = await rowOf(data.id)
    expect(await stripe.checkout.sessions.retrieve(session_id)).toMatchObject({
      id: session_id,
      url: data.url,
    })
  })

  it('changes a subscription as the service does', async () => {
    const { world, id } = await makeSubscriber()
    const { token } = world.admin
    await call('POST', '/api/v1/billing/subscription', { token, body: { plan: 'enterprise' } })
    const ours = (await askedAtStripe(`subscriptions/${id}`)).findLast(({ method }) => method === 'POST')
    const { items } = await stripe.subscriptions.retrieve(id)
    await stripe.subscriptions.update(id, {
      cancel_at_period_end: false,
      items: [{ id: items.data[0]?.id ?? '', price: 'price_enterprise' }],
      ...{ proration_behavior: 'always_invoice', payment_behavior: 'error_if_incomplete' },
    })
    const theirs = (await askedAtStripe(`subscriptions/${id}`)).findLast(({ method }) => method === 'POST')
    expect(ours?.params).toEqual(theirs?.params)
  })

  it('signs what grants credit', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 1_000 })
    const session = await payAtStripe(data)
    const event = {
      id: `evt_${data.id}`,
      object: 'event',
      type: 'checkout.session.completed',
      data: { object: session },
    }
    const payload = JSON.stringify(event)
    const send = async (secret: string) =>
      (
        await call('POST', '/api/v1/webhooks/stripe', {
          raw: payload,
          headers: {
            'Content-Type': 'application/json',
            'Stripe-Signature': await stripe.webhooks.generateTestHeaderStringAsync({
              payload,
              secret,
            } as never),
          },
        })
      ).status
    expect([await send('whsec_of_somebody_else'), await balance(world)]).toEqual([401, 0])
    expect([await send(STRIPE), await balance(world)]).toEqual([200, 1_000])
  })
})

describe('a form', () => {
  it('has names as Stripe reads them', () => {
    expect(
      formOf({ a: 1, b: { c: [true, 'x & y'] }, none: null, left: undefined, list: [{ d: '' }] }).toString(),
    ).toBe('a=1&b%5Bc%5D%5B0%5D=true&b%5Bc%5D%5B1%5D=x+%26+y&list%5B0%5D%5Bd%5D=')
  })
})
