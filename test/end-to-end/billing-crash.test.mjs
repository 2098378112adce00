// Checkouts are opened and paid while everything is killed (`kill -9`), again and again: what was paid is granted, once.
import assert from 'node:assert/strict'
import { createHmac, randomUUID } from 'node:crypto'
import http from 'node:http'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { stripeServer } from '../receiver/stripe.ts'
import { call, listAll, must, setLimits, signUp, startService, waitFor } from './harness.mjs'

const KILLS = 2
/** Checkouts that are opened before each kill, and granted before the next one. */
const ENOUGH = 24
const CREDITS = 700
const SIGNING = 'whsec_of_the_crash'
const WORDS = { success_url: 'https://app.example.com/paid' }

/** Stripe, as a server of its own that no kill reaches. */
async function startStripe(t) {
  const server = http.createServer(stripeServer)
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  const url = `http://127.0.0.1:${server.address().port}/stripe`
  const pay = async (id) =>
    (await fetch(`${url}/do/pay`, { method: 'POST', body: JSON.stringify({ id }) })).json()
  return { url, pay }
}

async function makeBuyer(t, vars) {
  const service = await startService(t, { vars: { CREDIT_PRICE: '1', ...vars } })
  const { tenant, token, key } = await signUp(service, 'buying')
  await setLimits(service, tenant.id, {
    ...{ requests_per_minute: 1_000_000, requests_per_hour: 50_000_000, requests_per_day: 1_000_000_000 },
  })
  return { service, token, key }
}

/** One attempt: what was answered, or null where the service went away under it. */
async function attempt(work) {
  try {
    return await work()
  } catch (error) {
    assert.doesNotMatch(error.message, /answered \d/)
    return null
  }
}

/** Opens checkouts one after the other until the service is gone; adds those that were answered. */
async function buyUntilGone({ service, token }, accepted) {
  for (;;) {
    const body = { credits: CREDITS, ...WORDS }
    const opened = await attempt(() => must(service, 'POST', '/api/v1/billing/checkout', { as: token, body }))
    if (opened === null) return
    accepted.push(opened)
  }
}

/** Does each of the things until it is said to be done, however often the service goes away. */
async function persist(things, work, done) {
  const left = [...things]
  for (let one = left.shift(); one; one = left.shift()) {
    const isDone = await attempt(() => work(one))
    if (isDone) done.add(one.id)
    else {
      left.push(one)
      await wait(20)
    }
  }
}

/** Of all that was accepted there is one of each thing, and the ledger adds up. */
async function assertGrantedOnce(buyer, accepted) {
  const ids = accepted.map(({ id }) => id).sort()
  const paid = await listAll(buyer.service, '/api/v1/billing/checkouts?status=completed', { as: buyer.key })
  assert.deepEqual(paid.map(({ id }) => id).sort(), ids)
  const ledger = (await listAll(buyer.service, '/api/v1/billing/transactions', { as: buyer.key })).reverse()
  assert.deepEqual(
    ledger.map(({ kind, amount, balance_after }) => [kind, amount, balance_after]),
    ids.map((_, i) => ['purchase', CREDITS, (i + 1) * CREDITS]),
  )
  assert.deepEqual(ledger.map(({ reference }) => reference).sort(), ids.map((id) => `checkout:${id}`).sort())
  const events = await listAll(buyer.service, '/api/v1/events?type=billing.checkout.completed', {
    as: buyer.key,
  })
  assert.deepEqual(events.map(({ data }) => data.checkout_id).sort(), ids)
  const { balance } = await must(buyer.service, 'GET', '/api/v1/billing/balance', { as: buyer.key })
  assert.equal(balance, ids.length * CREDITS)
}

/** Opens checkouts and has them paid by `work`, each by two at once; everything is killed in the middle of either. */
async function buyAndPay(buyer, work) {
  const { service } = buyer
  const accepted = []
  for (let kills = 1; kills <= KILLS; kills++) {
    const writers = Array.from({ length: 3 }, () => buyUntilGone(buyer, accepted))
    await waitFor(() => accepted.length >= ENOUGH * kills, 120_000, 'enough checkouts')
    await service.kill()
    await Promise.all(writers)
    await service.start()
    const [some, done] = [accepted.slice(ENOUGH * (kills - 1)), new Set()]
    const payers = [some, [...some].reverse()].map((mine) => persist(mine, work, done))
    await waitFor(() => done.size >= ENOUGH / 2, 120_000, 'some that are paid')
    await service.kill()
    await service.start()
    await Promise.all(payers)
  }
  return accepted
}

test('checkouts at Stripe, killed: each that is paid is granted once', { timeout: 600_000 }, async (t) => {
  const stripe = await startStripe(t)
  const buyer = await makeBuyer(t, {
    ...{ PAYMENTS: 'stripe', STRIPE_BASE_URL: stripe.url, STRIPE_SECRET_KEY: 'sk_test_of_the_tests' },
    STRIPE_WEBHOOK_SECRET: SIGNING,
  })
  const sessions = new Map()
  const sessionOf = (url) => {
    const id = new URL(url).pathname.split('/').at(-1)
    const paid = sessions.get(id) ?? stripe.pay(id)
    sessions.set(id, paid)
    return paid
  }
  // Two payers tell of each payment by an event of their own, and each until it is taken in.
  const hear = async ({ url }) => {
    const object = await sessionOf(url)
    const event = { id: `evt_${randomUUID()}`, type: 'checkout.session.completed', data: { object } }
    const body = JSON.stringify({ ...event, object: 'event', created: 1 })
    const at = Math.floor(Date.now() / 1000)
    const v1 = createHmac('sha256', SIGNING).update(`${at}.${body}`).digest('hex')
    const headers = { 'Content-Type': 'application/json', 'Stripe-Signature': `t=${at},v1=${v1}` }
    const heard = await fetch(`${buyer.service.url}/api/v1/webhooks/stripe`, {
      method: 'POST',
      headers,
      body,
    })
    await heard.text()
    assert.ok(heard.status === 200 || heard.status === 409 || heard.status >= 500, `got ${heard.status}`)
    return heard.status === 200
  }
  await assertGrantedOnce(buyer, await buyAndPay(buyer, hear))
})

test('checkouts where nobody pays, killed: each is granted once', { timeout: 600_000 }, async (t) => {
  const buyer = await makeBuyer(t, { PAYMENTS: 'simulated', PLAN_PRICES: '{"pro":{"amount":4900}}' })
  const { service, token, key } = buyer
  const pay = async ({ url }) => {
    const { status } = await call(service, 'POST', new URL(url).pathname)
    assert.ok(status === 303 || status === 409 || status >= 500, `got ${status}`)
    return status === 303
  }
  await assertGrantedOnce(buyer, await buyAndPay(buyer, pay))

  // A plan: its subscription, the tenant's plan and the invoice stand together, or none does.
  const body = { plan: 'pro', ...WORDS }
  const { checkout } = await must(service, 'POST', '/api/v1/billing/subscription', { as: token, body })
  const payers = Array.from({ length: 4 }, () => persist([checkout], pay, new Set()))
  await service.kill()
  await service.start()
  await Promise.all(payers)
  const { plan, status } = await must(service, 'GET', '/api/v1/billing/subscription', { as: key })
  assert.deepEqual([plan, status], ['pro', 'active'])
  assert.equal((await must(service, 'GET', '/api/v1/tenants/current', { as: token })).plan, 'pro')
  const invoices = await listAll(buyer.service, '/api/v1/billing/invoices', { as: buyer.key })
  assert.deepEqual(
    invoices.map(({ amount_paid, number }) => [amount_paid, number.slice(-5)]),
    [[4900, '-0001']],
  )
})
