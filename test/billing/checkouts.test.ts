import { env } from 'cloudflare:workers'
import { describe, expect, it, vi } from 'vitest'
import { systemContext } from '../../src/data/system'
import { lookAtCheckout } from '../../src/domains/billing/checkouts/look'
import type { Bindings } from '../../src/env'
import { callJson } from '../world'
import {
  announced,
  askedAtStripe,
  atStripe,
  audited,
  balance,
  buy,
  type Checkout,
  hear,
  ledger,
  makeBuyer,
  payAtStripe,
  read,
  rowOf,
  SUCCESS,
} from './kit'

const completed = 'checkout.session.completed'

describe('a checkout of credits', () => {
  it('is opened at Stripe as its API has it, and stored before anybody is told', async () => {
    const world = await makeBuyer()
    const { status, data } = await buy(world, { credits: 2_000, cancel_url: 'https://app.example.com/back' })
    expect([status, data]).toMatchObject([
      201,
      { kind: 'credits', credits: 2_000, plan: null, amount: 1_000, currency: 'usd', status: 'open' },
    ])
    const { session_id } = await rowOf(data.id)
    expect(data.url).toContain(session_id)
    const [asked] = (await askedAtStripe('checkout/sessions')).filter(
      ({ key }) => key === `checkout-${data.id}`,
    )
    expect(asked).toMatchObject({
      version: '2026-10-28.endive',
      params: {
        mode: 'payment',
        success_url: SUCCESS,
        cancel_url: 'https://app.example.com/back',
        invoice_creation: { enabled: 'true' },
        line_items: {
          0: {
            quantity: '1',
            price_data: { currency: 'usd', unit_amount: '1000', product_data: { name: '2,000 credits' } },
          },
        },
      },
    })
    expect(await balance(world)).toBe(0)
    expect(await audited(world, 'checkout.create')).toHaveLength(1)
    expect((await read<Checkout[]>(world, 'checkouts?status=open')).map(({ id }) => id)).toEqual([data.id])
  })

  it('makes one customer of a tenant, however many ask at once', async () => {
    const world = await makeBuyer()
    const all = await Promise.all(Array.from({ length: 5 }, () => buy(world, { credits: 1_000 })))
    expect(all.map(({ status }) => status)).toEqual([201, 201, 201, 201, 201])
    const { results } = await env.DB.prepare('select customer_id from billing_accounts where tenant_id = ?')
      .bind(world.tenant.id)
      .all<{ customer_id: string }>()
    expect(results).toHaveLength(1)
    const keys = all.map(({ data }) => `checkout-${data.id}`)
    const sessions = (await askedAtStripe('checkout/sessions')).filter(({ key }) => keys.includes(key ?? ''))
    expect(new Set(sessions.map(({ params }) => params.customer))).toEqual(new Set([results[0]?.customer_id]))
  })

  it('grants what stands in its row, once, whatever the event says and however often it comes', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 2_000 })
    const session = await payAtStripe(data)
    const lying = { ...session, amount_total: 99_999, metadata: { credits: '1000000', tenant_id: 'another' } }
    const first = await hear(completed, lying, 'evt_same')
    expect(first).toMatchObject({ status: 200, duplicate: false })
    expect(await hear(completed, lying, 'evt_same')).toMatchObject({ status: 200, duplicate: true })
    const others = await Promise.all(Array.from({ length: 4 }, () => hear(completed, session)))
    expect(others.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect(await ledger(world)).toEqual([['purchase', 2_000]])
    expect(await read<Checkout>(world, `checkouts/${data.id}`)).toMatchObject({
      status: 'completed',
      url: null,
    })
    expect(await announced(world, 'billing.checkout.completed')).toEqual([
      { checkout_id: data.id, kind: 'credits', credits: 2_000, plan: null, amount: 1_000, currency: 'usd' },
    ])
    const incoming = await announced(world, 'incoming.stripe.checkout.session.completed')
    expect(incoming).toHaveLength(5)
  })

  it('is granted once by fifty different events at the same moment', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 500 })
    const session = await payAtStripe(data)
    const all = await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        hear(i % 2 ? completed : 'checkout.session.async_payment_succeeded', session),
      ),
    )
    // Those that were overtaken too often are sent again by Stripe.
    expect(all.filter(({ status }) => status === 200).length).toBeGreaterThan(0)
    expect(all.filter(({ status }) => status !== 200 && status !== 409)).toEqual([])
    expect(await balance(world)).toBe(500)
    expect(await ledger(world)).toEqual([['purchase', 500]])
  })

  it('that takes days grants nothing until it is paid, and nothing where that fails', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 1_000 })
    const session = await payAtStripe(data, { payment_status: 'unpaid' })
    await hear(completed, session)
    expect([(await read<Checkout>(world, `checkouts/${data.id}`)).status, await balance(world)]).toEqual([
      'processing',
      0,
    ])
    await hear('checkout.session.async_payment_failed', session)
    expect((await read<Checkout>(world, `checkouts/${data.id}`)).status).toBe('failed')
    // Late, and repeated: what has failed does not begin again, what was paid after all is there.
    await hear(completed, session)
    expect((await read<Checkout>(world, `checkouts/${data.id}`)).status).toBe('failed')
    await hear('checkout.session.async_payment_succeeded', { ...session, payment_status: 'paid' })
    expect([(await read<Checkout>(world, `checkouts/${data.id}`)).status, await balance(world)]).toEqual([
      'completed',
      1_000,
    ])
  })

  it('that was paid stays paid, though it is said to have expired', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 1_000 })
    const session = await payAtStripe(data)
    await hear('checkout.session.expired', { ...session, status: 'expired' })
    expect((await read<Checkout>(world, `checkouts/${data.id}`)).status).toBe('expired')
    await hear(completed, session)
    await hear('checkout.session.expired', { ...session, status: 'expired' })
    expect([(await read<Checkout>(world, `checkouts/${data.id}`)).status, await balance(world)]).toEqual([
      'completed',
      1_000,
    ])
  })

  it('of another tenant, or of nobody, grants nothing', async () => {
    const [one, other] = [await makeBuyer(), await makeBuyer()]
    const { data } = await buy(one, { credits: 1_000 })
    await buy(other, { credits: 1_000 })
    const session = await payAtStripe(data)
    const account = await env.DB.prepare('select customer_id from billing_accounts where tenant_id = ?')
      .bind(other.tenant.id)
      .first<string>('customer_id')
    // A session that nobody opened here, of a customer that we know: it becomes that tenant’s event, and no more.
    const forged = { ...session, id: 'cs_test_of_nobody', customer: account }
    expect(await hear(completed, forged)).toMatchObject({ status: 200 })
    // One tenant’s session with another’s customer is nobody’s.
    expect(await hear(completed, { ...session, customer: account })).toMatchObject({
      status: 202,
      event_id: null,
    })
    expect(
      await hear(completed, { ...session, id: 'cs_x', customer: 'cus_x', payment_intent: 'pi_x' }),
    ).toMatchObject({
      status: 202,
    })
    expect([await balance(one), await balance(other)]).toEqual([0, 0])
  })

  it('is refused in words that say what to do', async () => {
    const world = await makeBuyer()
    const wrong = async (body: object) => {
      const { status, error } = await buy(world, body)
      return [status, Object.keys(error?.details?.fields ?? {})]
    }
    expect(await wrong({})).toEqual([422, ['credits']])
    expect(await wrong({ credits: 10, plan: 'pro' })).toEqual([422, ['plan']])
    for (const credits of [0, -1, 1.5, '10', 99, 1e9])
      expect(await wrong({ credits })).toEqual([422, ['credits']])
    expect(await wrong({ plan: 'starter' })).toEqual([422, ['plan']])
    expect(await wrong({ plan: 'gold' })).toEqual([422, ['plan']])
    for (const success_url of ['no', 'ftp://example.com', 'javascript:alert(1)', 'https://u:p@example.com/'])
      expect(await wrong({ credits: 1_000, success_url })).toEqual([422, ['success_url']])
    expect((await buy(world, { credits: 1_000 }, world.developer)).status).toBe(403)
  })

  it('is not made while Stripe fails, and is made after it was busy', async () => {
    const world = await makeBuyer()
    await buy(world, { credits: 1_000 })
    await atStripe('fail', { path: 'checkout/sessions', status: 400, times: 1 })
    const refused = await buy(world, { credits: 1_000 })
    expect([refused.status, refused.error.code]).toEqual([502, 'provider_refused'])
    await atStripe('fail', { path: 'checkout/sessions', raw: '{"id":7}', times: 1 })
    const nonsense = await buy(world, { credits: 1_000 })
    expect([nonsense.status, nonsense.error.code]).toEqual([502, 'provider_failed'])
    expect(JSON.stringify(nonsense.error)).not.toContain('sk_test')
    await atStripe('fail', { path: 'checkout/sessions', status: 429, times: 1, retry_after: '1' })
    expect((await buy(world, { credits: 1_000 })).status).toBe(201)
    expect(await read<Checkout[]>(world, 'checkouts')).toHaveLength(2)
  })

  it('is paid to the operator, whatever account of Stripe’s the tenant has', async () => {
    const world = await makeBuyer()
    const { status } = await callJson('PATCH', '/api/v1/auth/providers/stripe', {
      token: world.admin.token,
      body: { api_key: 'sk_test_of_the_tenant', base_url: `${env.RECEIVER_URL}/nowhere` },
    })
    expect(status).toBe(200)
    const { data } = await buy(world, { credits: 1_000 })
    const asked = await askedAtStripe('checkout/sessions')
    expect(asked.filter(({ key }) => key === `checkout-${data.id}`)).toHaveLength(1)
  })

  it('waits where Stripe is asked the same at the same moment', async () => {
    const world = await makeBuyer()
    await atStripe('fail', { path: 'customers', status: 409, times: 1, code: 'idempotency_key_in_use' })
    expect((await buy(world, { credits: 1_000 })).status).toBe(201)
  })

  it('makes another customer of who is none at Stripe any more', async () => {
    const world = await makeBuyer()
    await buy(world, { credits: 1_000 })
    const customer = () =>
      env.DB.prepare('select customer_id from billing_accounts where tenant_id = ?')
        .bind(world.tenant.id)
        .first<string>('customer_id')
    const gone = await customer()
    await atStripe('remove', { id: gone })
    const { status, data } = await buy(world, { credits: 2_000 })
    expect(status).toBe(201)
    expect(await customer()).not.toBe(gone)
    await hear(completed, await payAtStripe(data))
    expect(await ledger(world)).toEqual([['purchase', 2_000]])
    expect((await buy(world, { credits: 3_000 })).status).toBe(201)
  })

  it('is settled by an event though Stripe is just being asked', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 1_000 })
    const row = await rowOf(data.id)
    const path = `checkout/sessions/${row.session_id}`
    const ctx = systemContext(env as unknown as Bindings, world.ctx.tenant, 'test', () => undefined)
    const still = { id: row.session_id, status: 'open', payment_status: 'unpaid', expires_at: 1_900_000_000 }
    await atStripe('fail', { path, raw: JSON.stringify(still), times: 1, hold: true })
    const looking = lookAtCheckout({ ...ctx, now: Date.parse(row.look_at ?? '') + 1 }, data.id)
    await vi.waitFor(async () => expect(await askedAtStripe(path)).toHaveLength(1), 10_000)
    await hear(completed, await payAtStripe(data))
    await atStripe('release', {})
    await looking
    expect(await rowOf(data.id)).toMatchObject({ status: 'completed', look_at: null })
    expect(await ledger(world)).toEqual([['purchase', 1_000]])
  })

  it('under one idempotency key is one', async () => {
    const world = await makeBuyer()
    const headers = { 'X-Idempotency-Key': 'once' }
    const ask = () =>
      callJson<Checkout>('POST', '/api/v1/billing/checkout', {
        token: world.admin.token,
        headers,
        body: { credits: 1_000, success_url: SUCCESS },
      })
    const all = await Promise.all([ask(), ask(), ask()])
    expect(all.filter(({ status }) => status === 201).length).toBeGreaterThan(0)
    expect((await ask()).status).toBe(201)
    expect(await read<Checkout[]>(world, 'checkouts')).toHaveLength(1)
  })
})

describe('what is paid back', () => {
  it('takes credits in proportion, each part once, in any order', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 2_001 })
    expect(data.amount).toBe(1_000)
    const { payment_intent, customer } = await payAtStripe(data)
    const refunded = async (amount_refunded: number, more = 0) => {
      if (more > 0) await atStripe('refund', { payment_intent, amount: more })
      return hear('charge.refunded', {
        ...{ id: 'ch_1', object: 'charge', customer, payment_intent },
        ...{ amount: 1_000, amount_refunded },
      })
    }
    // Before the payment was heard of: Stripe says which checkout it is of.
    await refunded(250, 250)
    expect(await ledger(world)).toEqual([
      ['refund', -500],
      ['purchase', 2_001],
    ])
    await refunded(600, 350)
    await refunded(400)
    await refunded(600)
    expect(await balance(world)).toBe(801)
    await refunded(1_000, 400)
    expect(await balance(world)).toBe(0)
    expect(await announced(world, 'billing.checkout.refunded')).toMatchObject([
      { refunded_amount: 250, refunded_credits: 500 },
      { refunded_amount: 600, refunded_credits: 1_200 },
      { refunded_amount: 1_000, refunded_credits: 2_001 },
    ])
    expect(await read<Checkout>(world, `checkouts/${data.id}`)).toMatchObject({ refunded_amount: 1_000 })
    expect(await audited(world, 'checkout.refunded')).toHaveLength(3)
  })

  it('takes no more than is there: nobody owes credit', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 1_000 })
    const session = await payAtStripe(data)
    await hear(completed, session)
    await env.DB.prepare(
      `insert into credit_transactions (tenant_id, seq, id, kind, amount, balance_after, created_at)
       values (?, 2, ?, 'spend', -900, 100, ?)`,
    )
      .bind(world.tenant.id, crypto.randomUUID(), new Date().toISOString())
      .run()
    const { payment_intent } = session
    // A dispute names no customer.
    await hear('charge.dispute.closed', {
      id: 'dp_1',
      object: 'dispute',
      payment_intent,
      amount: 500,
      status: 'won',
    })
    expect(await balance(world)).toBe(100)
    await hear('charge.dispute.closed', {
      id: 'dp_1',
      object: 'dispute',
      payment_intent,
      amount: 500,
      status: 'lost',
    })
    expect(await ledger(world)).toEqual([
      ['refund', -100],
      ['spend', -900],
      ['purchase', 1_000],
    ])
    await hear('charge.dispute.closed', {
      id: 'dp_2',
      object: 'dispute',
      payment_intent,
      amount: 500,
      status: 'lost',
    })
    expect(await ledger(world)).toHaveLength(3)
  })

  it('is given again where that failed, as much as was taken and once, and taken anew where it is paid back again', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 2_000 })
    const session = await payAtStripe(data)
    await hear('checkout.session.completed', session)
    const { payment_intent } = session
    await env.DB.prepare(
      `insert into credit_transactions (tenant_id, seq, id, kind, amount, balance_after, created_at)
       values (?, 2, ?, 'spend', -1700, 300, ?)`,
    )
      .bind(world.tenant.id, crypto.randomUUID(), new Date().toISOString())
      .run()
    const refund = (amount: number, status = 'succeeded') =>
      atStripe<{ id: string }>('refund', { payment_intent, amount, status })
    const told = (type: string, one: object) => hear(type, { ...one, object: 'refund', payment_intent })
    const [first, second] = [await refund(100), await refund(100, 'pending')]
    await told('refund.created', first)
    // 400 credits were to be taken, and 300 were there.
    expect(await ledger(world)).toEqual([
      ['refund', -300],
      ['spend', -1_700],
      ['purchase', 2_000],
    ])
    await atStripe('set', { id: second.id, status: 'failed' })
    await Promise.all([told('refund.failed', second), told('charge.refund.updated', second)])
    // One of them stands: of the 300 that were taken, 200 are.
    expect((await ledger(world))[0]).toEqual(['refund', 100])
    expect(await read<Checkout>(world, `checkouts/${data.id}`)).toMatchObject({ refunded_amount: 100 })
    await atStripe('set', { id: first.id, status: 'canceled' })
    await told('refund.updated', first)
    expect([(await ledger(world))[0], await balance(world)]).toEqual([['refund', 200], 300])
    // A late word of what was paid back by then is no news.
    await hear('charge.refunded', { id: 'ch_2', object: 'charge', payment_intent, amount_refunded: 200 })
    expect(await ledger(world)).toHaveLength(5)
    await told('refund.created', await refund(100))
    expect([(await ledger(world))[0], await balance(world)]).toEqual([['refund', -200], 100])
    expect(await announced(world, 'billing.checkout.refunded')).toMatchObject([
      { refunded_amount: 200, refunded_credits: 400 },
      { refunded_amount: 100, refunded_credits: 200 },
      { refunded_amount: 0, refunded_credits: 0 },
      { refunded_amount: 100, refunded_credits: 200 },
    ])
  })
})
