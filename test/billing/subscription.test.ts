import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { allSweeps, dueNext } from '../../src/data/sweeping'
import { systemContext } from '../../src/data/system'
import { lookAtCheckout } from '../../src/domains/billing/checkouts/look'
import { createCheckout } from '../../src/domains/billing/checkouts/service'
import { endWithPeriod, lookAtSubscription } from '../../src/domains/billing/subscription/look'
import { monthLater } from '../../src/domains/billing/subscription/period'
import { openPortal } from '../../src/domains/billing/subscription/portal'
import type { Bindings } from '../../src/env'
import { callJson, makePlatformAdmin, type World } from '../world'
import {
  announced,
  askedAtStripe,
  atStripe,
  audited,
  balance,
  buy,
  choose,
  hear,
  makeBuyer,
  makeSubscriber,
  payAtStripe,
  planOf,
  read,
  rowOf,
  SUCCESS,
  type Subscription,
} from './kit'

const bindings = env as unknown as Bindings

/** The service at another time, as its sweep looks. */
const later = (world: World, ms: number) => ({
  ...systemContext(bindings, world.ctx.tenant, 'test', () => undefined),
  now: Date.now() + ms,
})
const DAY_MS = 24 * 3600_000
const updated = 'customer.subscription.updated'

describe('a subscription', () => {
  it('begins with a checkout, and gives its plan once that is paid', async () => {
    const world = await makeBuyer()
    expect(await read(world, 'subscription')).toMatchObject({ plan: null, status: 'none', checkout: null })
    const { status, data } = await choose(world, { plan: 'pro', success_url: SUCCESS })
    expect([status, data]).toMatchObject([
      200,
      { plan: null, checkout: { kind: 'plan', plan: 'pro', amount: 4_900, status: 'open' } },
    ])
    const asked = (await askedAtStripe('checkout/sessions')).find(
      ({ key }) => key === `checkout-${data.checkout?.id}`,
    )
    expect(asked?.params).toMatchObject({
      mode: 'subscription',
      line_items: { 0: { price: 'price_pro', quantity: '1' } },
    })
    if (!data.checkout) throw new Error('no checkout')
    const session = await payAtStripe(data.checkout)
    await hear('checkout.session.completed', session)
    expect(await planOf(world)).toBe('pro')
    expect(await read(world, 'subscription')).toMatchObject({ plan: 'pro', status: 'active', checkout: null })
    expect(await announced(world, 'billing.subscription.updated')).toMatchObject([
      { plan: 'pro', status: 'active' },
    ])
    expect(await audited(world, 'tenant.change_plan')).toMatchObject([{ actor_kind: 'system' }])
    // What else Stripe tells of its beginning changes nothing any more.
    const { subscription } = session
    await hear('customer.subscription.created', { id: subscription, customer: session.customer })
    await hear(updated, { id: subscription, customer: session.customer, status: 'canceled' })
    expect(await announced(world, 'billing.subscription.updated')).toHaveLength(1)
    expect(await balance(world)).toBe(0)
  })

  it('follows what Stripe has, in whatever order its events come', async () => {
    const { world, session, id } = await makeSubscriber()
    await atStripe('set', { id, status: 'past_due' })
    await hear(updated, { id, customer: session.customer })
    expect([(await read<Subscription>(world, 'subscription')).status, await planOf(world)]).toEqual([
      'past_due',
      'pro',
    ])
    await atStripe('set', { id, status: 'canceled' })
    await hear('customer.subscription.deleted', { id, customer: session.customer })
    expect([(await read<Subscription>(world, 'subscription')).plan, await planOf(world)]).toEqual([
      null,
      'starter',
    ])
    // One from before its end, too late.
    await hear(updated, { id, customer: session.customer, status: 'active' })
    expect(await planOf(world)).toBe('starter')
    expect(await announced(world, 'billing.subscription.updated')).toHaveLength(3)
  })

  it('changes its plan at once, or not at all where that can’t be paid', async () => {
    const { world, session, id } = await makeSubscriber()
    await atStripe('set', { id, declines: true })
    const declined = await choose(world, { plan: 'enterprise' })
    expect([declined.status, declined.error.code]).toEqual([409, 'payment_failed'])
    expect(await planOf(world)).toBe('pro')
    await atStripe('set', { id, declines: false })
    const changed = await choose(world, { plan: 'enterprise' })
    expect([changed.status, changed.data]).toMatchObject([200, { plan: 'enterprise', checkout: null }])
    expect(await planOf(world)).toBe('enterprise')
    const asked = (await askedAtStripe(`subscriptions/${id}`)).findLast(({ method }) => method === 'POST')
    expect(asked?.params).toMatchObject({
      items: { 0: { price: 'price_enterprise' } },
      proration_behavior: 'always_invoice',
      payment_behavior: 'error_if_incomplete',
    })
    await hear(updated, { id, customer: session.customer })
    expect(await announced(world, 'billing.subscription.updated')).toHaveLength(2)
    expect(await audited(world, 'subscription.update')).toHaveLength(1)
  })

  it('ends with what is paid, and goes on if its plan is chosen again', async () => {
    const { world, id } = await makeSubscriber()
    expect((await choose(world, { plan: 'starter' })).data).toMatchObject({
      plan: 'pro',
      cancel_at_period_end: true,
    })
    expect(await planOf(world)).toBe('pro')
    expect((await choose(world, { plan: 'pro' })).data).toMatchObject({
      plan: 'pro',
      cancel_at_period_end: false,
    })
    const asked = (await askedAtStripe(`subscriptions/${id}`)).filter(({ method }) => method === 'POST')
    expect(asked.map(({ params }) => params)).toEqual([
      { cancel_at_period_end: 'true' },
      { cancel_at_period_end: 'false' },
    ])
    // As it is already: nobody is asked.
    expect((await choose(world, { plan: 'pro' })).status).toBe(200)
    expect(
      (await askedAtStripe(`subscriptions/${id}`)).filter(({ method }) => method === 'POST'),
    ).toHaveLength(2)
  })

  it('is one: an earlier checkout can’t be paid any more, and a second subscription takes the first’s place', async () => {
    const world = await makeBuyer()
    const first = (await choose(world, { plan: 'pro', success_url: SUCCESS })).data.checkout
    const second = (await buy(world, { plan: 'enterprise' })).data
    if (!first) throw new Error('no checkout')
    expect(await read(world, `checkouts/${first.id}`)).toMatchObject({ status: 'expired', url: null })
    // All the same both are paid, by two people at once.
    for (const checkout of [first, second])
      await hear('checkout.session.completed', await payAtStripe(checkout))
    expect(await planOf(world)).toBe('enterprise')
    const ended = (await askedAtStripe('subscriptions/')).filter(({ method }) => method === 'DELETE')
    expect(ended.at(-1)?.params).toEqual({ prorate: 'true', invoice_now: 'true' })
    const third = await buy(world, { plan: 'pro' })
    expect([third.status, third.error.code]).toEqual([409, 'conflict'])
  })

  it('of another customer, or of nobody’s price, changes nothing', async () => {
    const { world, session, id } = await makeSubscriber()
    const other = await makeSubscriber('enterprise')
    // Said with our customer, but Stripe has it as another’s.
    await hear(updated, { id: other.id, customer: session.customer })
    expect(await planOf(world)).toBe('pro')
    await atStripe('set', {
      id,
      items: {
        data: [
          {
            id: 'si_x',
            price: { id: 'price_of_nobody' },
            current_period_start: 1_700_000_000,
            current_period_end: 1_900_000_000,
          },
        ],
      },
    })
    await hear(updated, { id, customer: session.customer })
    expect(await planOf(world)).toBe('pro')
  })

  it('takes at its end only what it gave', async () => {
    const { world, session, id } = await makeSubscriber()
    const operator = await makePlatformAdmin()
    await callJson('PATCH', `/api/platform/tenants/${world.tenant.id}`, {
      token: operator.token,
      body: { plan: 'enterprise' },
    })
    await atStripe('set', { id, status: 'canceled' })
    await hear('customer.subscription.deleted', { id, customer: session.customer })
    expect([await planOf(world), (await read<Subscription>(world, 'subscription')).plan]).toEqual([
      'enterprise',
      null,
    ])
  })

  it('is refused in words that say what to do', async () => {
    const world = await makeBuyer()
    const wrong = async (body: object) => {
      const { status, error } = await choose(world, body)
      return [status, Object.keys(error?.details?.fields ?? {})]
    }
    expect(await wrong({ plan: 'pro' })).toEqual([422, ['success_url']])
    expect(await wrong({ plan: 'gold', success_url: SUCCESS })).toEqual([422, ['plan']])
    expect(await wrong({})).toEqual([422, ['plan']])
    // To have the free plan nothing is to be done.
    expect((await choose(world, { plan: 'starter' })).data).toMatchObject({ status: 'none' })
  })
})

describe('what no event told', () => {
  it('of a checkout is asked of Stripe: who paid has what they paid for', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 1_000 })
    await lookAtCheckout(later(world, 60_000), data.id)
    const before = await rowOf(data.id)
    await lookAtCheckout(later(world, 11 * 60_000), data.id)
    const after = await rowOf(data.id)
    expect(Date.parse(after.look_at ?? '')).toBeGreaterThan(Date.parse(before.look_at ?? ''))
    await payAtStripe(data)
    await lookAtCheckout(later(world, DAY_MS), data.id)
    expect(await balance(world)).toBe(1_000)
    expect((await rowOf(data.id)).look_at).toBeNull()
    await hear('checkout.session.completed', await payAtStripe(data))
    expect(await balance(world)).toBe(1_000)
  })

  it('of a checkout that is not there is asked for as long, and then given up; an event is believed still', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 1_000 })
    const paid = await payAtStripe(data)
    await atStripe('remove', { id: paid.id })
    await lookAtCheckout(later(world, 11 * 60_000), data.id)
    expect(await rowOf(data.id)).toMatchObject({ status: 'open', look_at: expect.any(String) })
    await lookAtCheckout(later(world, 31 * DAY_MS), data.id)
    expect(await rowOf(data.id)).toMatchObject({ status: 'expired', look_at: null })
    await hear('checkout.session.completed', paid)
    expect(await balance(world)).toBe(1_000)
  })

  it('of a payment that takes days is that it failed, once it should have come', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 1_000 })
    await hear('checkout.session.completed', await payAtStripe(data, { payment_status: 'unpaid' }))
    await lookAtCheckout(later(world, 5 * DAY_MS), data.id)
    expect(await rowOf(data.id)).toMatchObject({ status: 'processing', look_at: expect.any(String) })
    await lookAtCheckout(later(world, 31 * DAY_MS), data.id)
    expect(await rowOf(data.id)).toMatchObject({ status: 'failed', look_at: null })
    expect(await balance(world)).toBe(0)
  })

  it('of a subscription is asked once its period is over', async () => {
    const { world, id } = await makeSubscriber()
    await atStripe('set', { id, status: 'canceled' })
    await lookAtSubscription(later(world, 0))
    expect(await planOf(world)).toBe('pro')
    await lookAtSubscription(later(world, 31 * DAY_MS))
    expect(await planOf(world)).toBe('starter')
  })

  it('a tenant that is cancelled pays no further period', async () => {
    const { world, id } = await makeSubscriber()
    await endWithPeriod(later(world, 0))
    await endWithPeriod(later(world, 0))
    const asked = (await askedAtStripe(`subscriptions/${id}`)).filter(({ method }) => method === 'POST')
    expect(asked.map(({ params }) => params)).toEqual([{ cancel_at_period_end: 'true' }])
    expect(await read(world, 'subscription')).toMatchObject({ plan: 'pro', cancel_at_period_end: true })
  })
})

describe('what is due by the clock', () => {
  const sweep = async (name: string, now = Date.now()) => {
    const look = allSweeps().get(name)
    if (!look) throw new Error(`no sweep ${name}`)
    // Others' may be due before.
    while ((await look(bindings, { waitUntil: () => undefined }, now)) > 0);
  }

  it('is found over all tenants: checkouts that were paid, and periods that are over', async () => {
    const world = await makeBuyer()
    const { data } = await buy(world, { credits: 1_000 })
    await payAtStripe(data)
    const { world: other, id } = await makeSubscriber()
    await atStripe('set', { id, status: 'canceled' })
    await env.DB.prepare('update checkouts set look_at = ? where tenant_id = ?')
      .bind('2020-01-01T00:00:00.000Z', world.tenant.id)
      .run()
    await env.DB.prepare('update billing_accounts set renews_at = ? where tenant_id = ?')
      .bind('2020-01-01T00:00:00.000Z', other.tenant.id)
      .run()
    await sweep('checkouts_not_looked_at')
    await sweep('subscriptions_not_looked_at')
    expect([await balance(world), await planOf(other)]).toEqual([1_000, 'starter'])
  })

  it('is the end of what a cancelled tenant pays', async () => {
    const { world, id } = await makeSubscriber()
    const operator = await makePlatformAdmin()
    const cancelled = await callJson('DELETE', `/api/platform/tenants/${world.tenant.id}`, {
      token: operator.token,
    })
    expect(cancelled.status).toBe(204)
    await sweep('subscriptions_of_cancelled_tenants')
    await sweep('subscriptions_of_cancelled_tenants')
    const asked = (await askedAtStripe(`subscriptions/${id}`)).filter(({ method }) => method === 'POST')
    expect(asked.map(({ params }) => params)).toEqual([{ cancel_at_period_end: 'true' }])
  })

  it('says when the next is', async () => {
    await makeSubscriber()
    expect(await dueNext(bindings)).not.toBeNull()
  })

  it('is not each second what could not be done: it steps back', async () => {
    const { world, id } = await makeSubscriber()
    await atStripe('fail', { path: `subscriptions/${id}`, status: 400, times: 1 })
    await env.DB.prepare('update billing_accounts set renews_at = ? where tenant_id = ?')
      .bind('2020-01-01T00:00:00.000Z', world.tenant.id)
      .run()
    const renewsAt = async () => {
      await sweep('subscriptions_not_looked_at')
      return env.DB.prepare('select renews_at from billing_accounts where tenant_id = ?')
        .bind(world.tenant.id)
        .first('renews_at')
    }
    expect(await renewsAt()).toBe('2020-01-01T00:00:00.000Z')
    // Stripe would answer now, and is not asked.
    expect(await renewsAt()).toBe('2020-01-01T00:00:00.000Z')
    await lookAtSubscription(later(world, 0))
  })
})

describe('the portal', () => {
  const open = (world: World, by = world.admin) =>
    callJson<{ url: string }>('POST', '/api/v1/billing/portal', {
      token: by.token,
      body: { return_url: 'https://app.example.com/billing' },
    })

  it('is Stripe’s, for who has bought something', async () => {
    const world = await makeBuyer()
    expect((await open(world)).status).toBe(409)
    await buy(world, { credits: 1_000 })
    const { status, data } = await open(world)
    expect([status, data.url]).toEqual([200, expect.stringContaining('https://billing.stripe.com/')])
    expect((await open(world, world.developer)).status).toBe(403)
  })

  it('sends nobody away over plain http in production, as checkouts don’t', async () => {
    const world = await makeBuyer()
    await buy(world, { credits: 1_000 })
    const ctx = later(world, 0)
    const production = { ...ctx, settings: { ...ctx.settings, ENVIRONMENT: 'production' as const } }
    const url = 'http://app.example.com/billing'
    const refused = (name: string) => ({ details: { fields: { [name]: 'must be https' } } })
    await expect(openPortal(production, { return_url: url })).rejects.toMatchObject(refused('return_url'))
    await expect(createCheckout(production, { credits: 1_000, success_url: url })).rejects.toMatchObject(
      refused('success_url'),
    )
  })
})

describe('a month later', () => {
  it.each([
    ['2026-01-15T10:00:00.000Z', '2026-02-15T10:00:00.000Z'],
    ['2026-01-31T10:00:00.000Z', '2026-02-28T10:00:00.000Z'],
    ['2028-01-31T10:00:00.000Z', '2028-02-29T10:00:00.000Z'],
    ['2026-12-31T23:59:59.999Z', '2027-01-31T23:59:59.999Z'],
  ])('than %s is %s', (from, to) => {
    expect(monthLater(from)).toBe(to)
  })
})
