import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { systemContext } from '../../src/data/system'
import { lookAtSubscription } from '../../src/domains/billing/subscription/look'
import { type Bindings, settingsOf } from '../../src/env'
import { PRODUCTION, serviceWith } from '../http/service'
import type { World } from '../world'
import { balance, type Checkout, ledger, makeBuyer, planOf, read, SUCCESS, type Subscription } from './kit'

const simulated = { PAYMENTS: 'simulated' }
const service = serviceWith(simulated)
const url = (path: string) => `http://localhost:8787${path}`

async function ask<T>(world: World, path: string, body: object) {
  const answer = await service('POST', url(`/api/v1/billing/${path}`), {
    token: world.admin.token,
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })
  return { status: answer.status, ...((await answer.json()) as { data: T; error: { code: string } }) }
}

const submit = (checkout: Checkout, what = 'pay') =>
  service('POST', checkout.url ?? '', {
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: `do=${what}`,
  })

describe('where payments are simulated', () => {
  it('a checkout has a page with two buttons, and is paid once', async () => {
    const world = await makeBuyer()
    const { data } = await ask<Checkout>(world, 'checkout', {
      ...{ credits: 2_000, success_url: SUCCESS, cancel_url: 'https://app.example.com/<back>' },
    })
    const page = await service('GET', data.url ?? '')
    expect([page.status, page.headers.get('Content-Type')]).toEqual([200, 'text/html; charset=UTF-8'])
    expect(await page.text()).toMatch(/2000 credits: 10\.00 USD[\s\S]*value="pay"[\s\S]*value="cancel"/)
    const back = await submit(data, 'cancel')
    expect([back.status, back.headers.get('Location'), await balance(world)]).toEqual([
      303,
      'https://app.example.com/%3Cback%3E',
      0,
    ])
    const all = await Promise.all([submit(data), submit(data), submit(data)])
    expect(all.map(({ status }) => status)).toContain(303)
    const again = await submit(data)
    expect([again.status, again.headers.get('Location')]).toEqual([
      303,
      `https://app.example.com/paid?session=cs_simulated_${data.id}`,
    ])
    expect(await ledger(world)).toEqual([['purchase', 2_000]])
    expect(await (await service('GET', data.url ?? '')).text()).toContain('This checkout is completed.')
  })

  it('a subscription goes on month by month with an invoice each, until it is ended', async () => {
    const world = await makeBuyer()
    const chosen = await ask<Subscription>(world, 'subscription', { plan: 'pro', success_url: SUCCESS })
    if (!chosen.data.checkout) throw new Error('no checkout')
    await submit(chosen.data.checkout)
    expect(await planOf(world)).toBe('pro')
    const look = async (after: string) => {
      const bindings = { ...env, ...simulated } as unknown as Bindings
      const ctx = systemContext(bindings, world.ctx.tenant, 'test', () => undefined)
      await lookAtSubscription({ ...ctx, now: Date.parse(after) + 1 })
    }
    const standing = () => read<Subscription>(world, 'subscription')
    const first = (await standing()).period_end ?? ''
    await look(first)
    const second = (await standing()).period_end ?? ''
    expect(Date.parse(second)).toBeGreaterThan(Date.parse(first))
    const up = await ask<Subscription>(world, 'subscription', { plan: 'enterprise' })
    expect([up.status, up.data.plan, await planOf(world)]).toEqual([200, 'enterprise', 'enterprise'])
    const invoices = await read<{ amount_due: number; number: string }[]>(world, 'invoices')
    expect(invoices.map(({ amount_due, number }) => [number.slice(-4), amount_due]).sort()).toEqual([
      ['0001', 4_900],
      ['0002', 4_900],
      ['0003', 49_900],
    ])
    await ask(world, 'subscription', { plan: 'starter' })
    expect(await planOf(world)).toBe('enterprise')
    await look((await standing()).period_end ?? '')
    expect([await planOf(world), (await standing()).status]).toEqual(['starter', 'canceled'])
    expect(await read<object[]>(world, 'invoices')).toHaveLength(3)
  })

  it('the page of a plan refuses a second subscription, and what is over', async () => {
    const world = await makeBuyer()
    const one = await ask<Checkout>(world, 'checkout', { plan: 'pro', success_url: SUCCESS })
    const two = await ask<Checkout>(world, 'checkout', { plan: 'pro', success_url: SUCCESS })
    expect((await submit(one.data)).status).toBe(409)
    expect((await submit(two.data)).status).toBe(303)
    const late = await ask<Checkout>(world, 'checkout', { credits: 1_000, success_url: SUCCESS })
    await env.DB.prepare("update checkouts set expires_at = '2020-01-01T00:00:00.000Z' where id = ?")
      .bind(late.data.id)
      .run()
    expect((await submit(late.data)).status).toBe(409)
    expect(await read<Checkout>(world, `checkouts/${late.data.id}`)).toMatchObject({ status: 'expired' })
    expect(await balance(world)).toBe(0)
  })
})

describe('a simulated page', () => {
  it('is nobody’s where payments are not simulated, or the address is none', async () => {
    const world = await makeBuyer()
    const { data } = await ask<Checkout>(world, 'checkout', { credits: 1_000, success_url: SUCCESS })
    const path = new URL(data.url ?? '').pathname
    for (const other of [serviceWith({}), serviceWith({ PAYMENTS: '' })]) {
      expect((await other('GET', url(path))).status).toBe(404)
      expect((await other('POST', url(path))).status).toBe(404)
    }
    for (const at of ['x', 'x.y', `${world.tenant.id}.${crypto.randomUUID()}`, path.split('.')[1]])
      expect((await service('POST', url(`/api/v1/dev/checkouts/${at}`))).status).toBe(404)
    expect(await balance(world)).toBe(0)
  })
})

describe('the settings of billing', () => {
  const refusal = (more: Record<string, string>) => {
    try {
      settingsOf({ ...env, ...more } as unknown as Bindings)
      return null
    } catch (error) {
      return String((error as Error).cause)
    }
  }

  it('refuse in production what nobody pays, and what lacks its keys', () => {
    expect(refusal({ ...PRODUCTION, ...simulated })).toContain('PAYMENTS: simulated is for development only')
    expect(refusal({ STRIPE_SECRET_KEY: '' })).toContain('STRIPE_SECRET_KEY: is needed by PAYMENTS=stripe')
    expect(refusal({ STRIPE_WEBHOOK_SECRET: '' })).toContain('STRIPE_WEBHOOK_SECRET: is needed')
    expect(refusal({ PLAN_PRICES: '{"pro":{"amount":1}}' })).toContain(
      'PLAN_PRICES: must name each plan’s stripe_price',
    )
    for (const wrong of ['{', '{"gold":{"amount":1}}', '{"pro":{"amount":0.5}}', '{"starter":{"amount":5}}'])
      expect(refusal({ PLAN_PRICES: wrong })).toContain('PLAN_PRICES: must be JSON like')
    for (const wrong of ['-1', '0', '1,5', '1.00001', 'x'])
      expect(refusal({ CREDIT_PRICE: wrong })).toContain('CREDIT_PRICE')
    expect(refusal({ BILLING_CURRENCY: 'dollar' })).toContain('BILLING_CURRENCY')
    expect(refusal({ ...simulated, STRIPE_SECRET_KEY: '' })).toBeNull()
  })

  it('without anybody who takes payments nothing is sold', async () => {
    const world = await makeBuyer()
    const none = serviceWith({ PAYMENTS: '' })
    const answer = await none('POST', url('/api/v1/billing/checkout'), {
      token: world.admin.token,
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ credits: 1_000, success_url: SUCCESS }),
    })
    const { error } = (await answer.json()) as { error: { code: string } }
    expect([answer.status, error.code]).toEqual([409, 'payments_not_configured'])
  })
})
