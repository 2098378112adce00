import { Buffer } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'

// A server of Stripe's API under /stripe/v1/…, as docs.stripe.com/api has it: form-encoded requests, keys of idempotency
// with their fingerprints, errors in its shape, objects in the shape of 2026-10-28. What people and time do at Stripe is done by
// POST /stripe/do/…: a session is paid, a subscription ends, and answers are late or fail.

type Json = Record<string, unknown>
type Asked = { method: string; path: string; params: Json; key: string | null; version: string | null }

const KEY = 'Bearer sk_test_of_the_tests'
const PRICES: Record<string, number> = { price_pro: 4900, price_enterprise: 49900 }
const DAY_S = 86_400

const objects = new Map<string, Json>()
const answered = new Map<string, { fingerprint: string; status: number; body: Json }>()
const asked: Asked[] = []
/** What is to go wrong next, by how the path begins. */
const faults: {
  path: string
  status?: number
  times: number
  retry_after?: string
  raw?: string
  code?: string
  /** It answers once it is released. */
  hold?: true
}[] = []
const held: (() => void)[] = []

let count = 0
const newId = (prefix: string) =>
  `${prefix}_${Date.now().toString(36)}${(++count).toString(36).padStart(6, '0')}`
const seconds = () => Math.floor(Date.now() / 1000)

export async function stripeServer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const send = (status: number, body: unknown, headers: Record<string, string> = {}) =>
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body))
  try {
    const url = new URL(request.url ?? '', 'http://stripe')
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const text = Buffer.concat(chunks).toString()
    const path = url.pathname.replace(/^\/stripe\//, '')
    if (path.startsWith('pdf/'))
      return void response.writeHead(200, { 'Content-Type': 'application/pdf' }).end(`%PDF-1.4 of ${path}`)
    if (path === 'asked') return void send(200, asked)
    if (path.startsWith('do/'))
      return void send(200, done(path.slice(3), text === '' ? {} : JSON.parse(text)))
    if (request.headers.authorization !== KEY)
      return void send(401, failure('invalid_request_error', 'Invalid API Key provided'))
    const method = request.method ?? 'GET'
    const params = decoded(method === 'POST' ? text : url.search.slice(1))
    const key = header(request, 'idempotency-key')
    const route = path.replace(/^v1\//, '')
    asked.push({ method, path: route, params, key, version: header(request, 'stripe-version') })
    const fault = faults.find((one) => route.startsWith(one.path) && one.times > 0)
    if (fault) {
      fault.times -= 1
      if (fault.hold) await new Promise<void>((resolve) => held.push(resolve))
      const headers = fault.retry_after === undefined ? {} : { 'Retry-After': fault.retry_after }
      if (fault.raw !== undefined) return void response.writeHead(200).end(fault.raw)
      return void send(fault.status ?? 500, failure('api_error', 'Something went wrong', fault.code), headers)
    }
    if (
      method === 'POST' &&
      !/^application\/x-www-form-urlencoded/.test(header(request, 'content-type') ?? '') &&
      text !== ''
    )
      return void send(400, failure('invalid_request_error', 'Requests are form-encoded'))
    const { status, body } = once(method, route, params, key)
    send(status, body)
  } catch (error) {
    send(500, failure('api_error', String(error)))
  }
}

const header = (request: IncomingMessage, name: string): string | null => {
  const value = request.headers[name]
  return typeof value === 'string' ? value : null
}

const failure = (type: string, message: string, code?: string, param?: string): Json => ({
  error: { type, message, ...(code ? { code } : {}), ...(param ? { param } : {}) },
})

/** `a[b][0]=c` as objects; lists stay objects with numbers for names. */
function decoded(form: string): Json {
  const root: Json = {}
  for (const [name, value] of new URLSearchParams(form)) {
    const path = name.replaceAll(']', '').split('[')
    let at = root
    for (const part of path.slice(0, -1)) {
      at[part] ??= {}
      at = at[part] as Json
    }
    at[path.at(-1) ?? ''] = value
  }
  return root
}

type Answer = { status: number; body: Json }

/** docs.stripe.com/api/idempotent_requests: the first answer again; another request under the key is refused. */
function once(method: string, path: string, params: Json, key: string | null): Answer {
  if (method !== 'POST' || key === null) return act(method, path, params)
  const fingerprint = JSON.stringify([path, params])
  const before = answered.get(key)
  if (before && before.fingerprint !== fingerprint)
    return {
      status: 400,
      body: failure(
        'idempotency_error',
        'Keys for idempotent requests can only be used with the same parameters',
      ),
    }
  if (before) return before
  const answer = act(method, path, params)
  answered.set(key, { fingerprint, ...answer })
  return answer
}

function act(method: string, path: string, params: Json): Answer {
  const [first = '', second = '', third = '', fourth = ''] = path.split('/')
  const make = (object: Json): Answer => {
    objects.set(String(object.id), object)
    return { status: 200, body: object }
  }
  if (method === 'POST' && path === 'customers')
    return make({ id: newId('cus'), object: 'customer', ...params })
  if (method === 'POST' && path === 'checkout/sessions') return newSession(params, make)
  if (method === 'POST' && path === 'billing_portal/sessions') {
    const { customer, return_url } = params
    if (!objects.has(String(customer)))
      return {
        status: 400,
        body: failure('invalid_request_error', 'No such customer', 'resource_missing', 'customer'),
      }
    const id = newId('bps')
    return make({
      ...{ id, object: 'billing_portal.session', customer, return_url },
      url: `https://billing.stripe.com/p/session/${id}`,
    })
  }
  if (method === 'GET' && path === 'checkout/sessions') {
    const found = [...objects.values()].filter(
      (one) => one.object === 'checkout.session' && one.payment_intent === params.payment_intent,
    )
    return { status: 200, body: { object: 'list', data: found, has_more: false } }
  }
  if (method === 'GET' && path === 'refunds') {
    const found = [...objects.values()].filter(
      (one) => one.object === 'refund' && one.payment_intent === params.payment_intent,
    )
    return { status: 200, body: { object: 'list', data: found, has_more: false } }
  }
  const id = first === 'checkout' ? third : second
  const object = objects.get(id)
  if (!object)
    return {
      status: 404,
      body: failure('invalid_request_error', `No such thing: '${id}'`, 'resource_missing', 'id'),
    }
  if (method === 'GET' && first === 'invoices' && third === 'lines')
    return {
      status: 200,
      body: { object: 'list', data: (object.all_lines as Json[]) ?? [], has_more: false },
    }
  if (method === 'GET') return { status: 200, body: object }
  if (fourth === 'expire') {
    if (object.status !== 'open')
      return { status: 400, body: failure('invalid_request_error', 'Only open sessions can be expired') }
    return make({ ...object, status: 'expired', url: null })
  }
  if (first === 'subscriptions') return changedSubscription(method, object, params, make)
  return { status: 405, body: failure('invalid_request_error', 'No such route') }
}

function newSession(params: Json, make: (object: Json) => Answer): Answer {
  const { mode, customer, success_url, line_items, customer_update } = params
  const wrong = (param: string) => ({
    status: 400,
    body: failure('invalid_request_error', `Missing or wrong: ${param}`, 'parameter_missing', param),
  })
  if (!objects.has(String(customer))) return wrong('customer')
  if (mode !== 'payment' && mode !== 'subscription') return wrong('mode')
  if (!success_url) return wrong('success_url')
  if (customer_update && !customer) return wrong('customer_update')
  const item = (line_items as Json)?.['0'] as Json | undefined
  const data = item?.price_data as Json | undefined
  const amount = item?.price ? PRICES[String(item.price)] : Number(data?.unit_amount)
  if (!item || !amount || Number(item.quantity) !== 1) return wrong('line_items')
  if (mode === 'payment' && (!data?.currency || !(data.product_data as Json)?.name))
    return wrong('line_items[0][price_data]')
  if (mode === 'subscription' && params.invoice_creation) return wrong('invoice_creation')
  const id = newId('cs_test')
  return make({
    ...{ id, object: 'checkout.session', mode, customer, status: 'open', payment_status: 'unpaid' },
    ...{ amount_total: amount, currency: data?.currency ?? 'usd', metadata: params.metadata ?? {} },
    ...{ price: item.price ?? null, payment_intent: null, subscription: null },
    ...{ url: `https://checkout.stripe.com/c/pay/${id}`, expires_at: seconds() + DAY_S },
  })
}

const itemOf = (id: string, price: string, start: number) => ({
  ...{ id, object: 'subscription_item', quantity: 1, price: { id: price, unit_amount: PRICES[price] } },
  ...{ current_period_start: start, current_period_end: start + 30 * DAY_S },
})

function changedSubscription(
  method: string,
  object: Json,
  params: Json,
  make: (object: Json) => Answer,
): Answer {
  if (method === 'DELETE') return make({ ...object, status: 'canceled', ended_at: seconds() })
  if (object.status === 'canceled')
    return {
      status: 400,
      body: failure('invalid_request_error', 'A canceled subscription can only update its metadata'),
    }
  const item = ((object.items as Json).data as Json[])[0] as Json
  const next = (params.items as Json)?.['0'] as Json | undefined
  if (next && next.id !== item.id)
    return { status: 400, body: failure('invalid_request_error', 'No such item') }
  if (next && object.declines === true && params.payment_behavior === 'error_if_incomplete')
    return { status: 402, body: failure('card_error', 'Your card was declined.', 'card_declined') }
  const price = next ? String(next.price) : String((item.price as Json).id)
  const cancel = params.cancel_at_period_end
  return make({
    ...object,
    ...(cancel === undefined ? {} : { cancel_at_period_end: cancel === 'true' }),
    items: { object: 'list', data: [itemOf(String(item.id), price, Number(item.current_period_start))] },
  })
}

/** What is done at Stripe by others: `pay`, `refund`, `set` (members of an object), `remove`, `invoice`, `fail`,
 * `release` (what is held). */
function done(what: string, told: Json): Json {
  const object = objects.get(String(told.id)) ?? {}
  const keep = (next: Json) => {
    objects.set(String(next.id), next)
    return next
  }
  if (what === 'fail') {
    faults.push(told as (typeof faults)[number])
    return told
  }
  if (what === 'release') {
    for (const answer of held.splice(0)) answer()
    return told
  }
  if (what === 'remove') {
    objects.delete(String(told.id))
    return told
  }
  if (what === 'set') return keep({ ...object, ...told })
  if (what === 'refund') return keep({ object: 'refund', id: newId('re'), status: 'succeeded', ...told })
  if (what === 'invoice') return keep({ object: 'invoice', id: newId('in'), ...told })
  if (what !== 'pay') throw new Error(`no such thing to do: ${what}`)
  if (object.mode === 'payment')
    return keep({
      ...object,
      status: 'complete',
      payment_status: told.payment_status ?? 'paid',
      payment_intent: newId('pi'),
    })
  const subscription = keep({
    ...{ id: newId('sub'), object: 'subscription', customer: object.customer, status: 'active' },
    ...{ cancel_at_period_end: false, created: seconds() },
    items: { object: 'list', data: [itemOf(newId('si'), String(object.price), seconds())] },
  })
  return keep({ ...object, status: 'complete', payment_status: 'paid', subscription: subscription.id })
}
