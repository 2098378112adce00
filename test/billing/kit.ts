import { env } from 'cloudflare:workers'
import { ofStripe, post } from '../webhooks/incoming/kit'
import { callJson, makeWorld, type Person, type World } from '../world'

export const SUCCESS = 'https://app.example.com/paid?session={CHECKOUT_SESSION_ID}'

export type Checkout = {
  id: string
  status: string
  url: string | null
  amount: number
  refunded_amount: number
  completed_at: string | null
}
export type Session = {
  id: string
  payment_intent: string | null
  subscription: string | null
  customer: string
}

const receiver = `${env.RECEIVER_URL}/stripe`

/** Has something be done at Stripe, by others. */
export async function atStripe<T = Record<string, unknown>>(what: string, told: object): Promise<T> {
  const answer = await fetch(`${receiver}/do/${what}`, { method: 'POST', body: JSON.stringify(told) })
  if (!answer.ok) throw new Error(await answer.text())
  return (await answer.json()) as T
}

type Asked = {
  method: string
  path: string
  params: Record<string, unknown>
  key: string | null
  version: string
}

/** What Stripe was asked about this tenant’s checkouts and customers. */
export async function askedAtStripe(path: string): Promise<Asked[]> {
  const all = (await (await fetch(`${receiver}/asked`)).json()) as Asked[]
  return all.filter((one) => one.path.startsWith(path))
}

/** A world that can have any number of requests. */
export const makeBuyer = () => makeWorld({ rate_limits: { requests_per_minute: 100_000 } })

export const buy = (world: World, body: object, by: Person = world.admin) =>
  callJson<Checkout>('POST', '/api/v1/billing/checkout', {
    token: by.token,
    body: { success_url: SUCCESS, ...body },
  })

export const read = async <T>(world: World, path: string) =>
  (await callJson<T>('GET', `/api/v1/billing/${path}`, { token: world.viewer.token })).data

export const balance = async (world: World) => (await read<{ balance: number }>(world, 'balance')).balance

type Row = { kind: string; amount: number; reference: string | null }
export const ledger = async (world: World) =>
  (await read<Row[]>(world, 'transactions')).map(({ kind, amount }) => [kind, amount])

/** The row of a checkout as it is kept. */
export async function rowOf(
  id: string,
): Promise<{ session_id: string; status: string; payment_intent: string | null; look_at: string | null }> {
  const row = await env.DB.prepare('select * from checkouts where id = ?').bind(id).first()
  return row as never
}

/** Pays a checkout at Stripe, as a person with a card does. */
export async function payAtStripe(checkout: Checkout, more: object = {}): Promise<Session> {
  const { session_id } = await rowOf(checkout.id)
  return atStripe<Session>('pay', { id: session_id, ...more })
}

let events = 0
/** An event of Stripe’s, as it comes in; its status and what came of it. */
export async function hear(type: string, object: object, id = `evt_${crypto.randomUUID()}`) {
  events += 1
  const answer = await post(
    'stripe',
    ofStripe({ id, object: 'event', type, created: events, data: { object } }),
  )
  const { data } = (await answer.json()) as { data?: { duplicate: boolean; event_id: string | null } }
  return { status: answer.status, ...data }
}

/** What was announced to the tenant, by type. */
export async function announced(world: World, type: string): Promise<Record<string, unknown>[]> {
  const { results } = await env.DB.prepare(
    'select data from events where tenant_id = ? and type = ? order by seq',
  )
    .bind(world.tenant.id, type)
    .all<{ data: string }>()
  return results.map(({ data }) => JSON.parse(data))
}

export const audited = async (world: World, action: string) =>
  (
    await callJson<{ action: string; actor_kind: string }[]>('GET', `/api/v1/audit?action=${action}`, {
      token: world.admin.token,
    })
  ).data

export const choose = (world: World, body: object) =>
  callJson<Subscription>('POST', '/api/v1/billing/subscription', { token: world.admin.token, body })

export type Subscription = {
  plan: string | null
  status: string
  period_end: string | null
  cancel_at_period_end: boolean
  checkout: Checkout | null
}

/** The plan that the tenant has. */
export const planOf = async (world: World) =>
  (await callJson<{ plan: string }>('GET', '/api/v1/tenants/current', { token: world.admin.token })).data.plan

/** A world with a plan that is paid for, and the id of its subscription at Stripe. */
export async function makeSubscriber(plan = 'pro'): Promise<{ world: World; session: Session; id: string }> {
  const world = await makeBuyer()
  const { data } = await choose(world, { plan, success_url: SUCCESS })
  if (!data.checkout) throw new Error('no checkout')
  const session = await payAtStripe(data.checkout)
  await hear('checkout.session.completed', session)
  return { world, session, id: session.subscription ?? '' }
}
