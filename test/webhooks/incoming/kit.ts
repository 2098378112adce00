import { env } from 'cloudflare:workers'
import { createHmac, createPrivateKey, sign } from 'node:crypto'
import { commit } from '../../../src/data/commit'
import { referenceStatement } from '../../../src/domains/webhooks/incoming/references'
import type { Provider } from '../../../src/domains/webhooks/incoming/table'
import { call, callJson, type World } from '../../world'

// What senders send, made without a line of the service's own.

export const STRIPE = 'whsec_stripe_of_the_tests'
export const STRIPE_BEFORE = 'whsec_stripe_that_was_before'
export const ULTRAVOX = 'ultravox_of_the_tests'
/** RFC 8032, 7.1, test 1: the private half of the key in vitest.config.ts. */
const TELNYX = '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'

export const SECRET = 'a secret of this source alone'

export type Sent = { body: BodyInit; headers: Record<string, string> }

export const seconds = (ms = Date.now()) => Math.floor(ms / 1000)
export const hmacOf = (algorithm: string, key: string | Buffer, text: string | Uint8Array) =>
  createHmac(algorithm, key).update(text)

const JSON_TYPE = { 'Content-Type': 'application/json' }

export function ofTelnyx(value: unknown, at = String(seconds())): Sent {
  const body = JSON.stringify(value)
  // PKCS #8 of an Ed25519 seed.
  const der = Buffer.concat([
    Buffer.from('302e020100300506032b657004220420', 'hex'),
    Buffer.from(TELNYX, 'hex'),
  ])
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  const signature = sign(null, Buffer.from(`${at}|${body}`), key).toString('base64')
  return {
    body,
    headers: { ...JSON_TYPE, 'telnyx-signature-ed25519': signature, 'telnyx-timestamp': at },
  }
}

export function ofStripe(value: unknown, at = seconds()): Sent {
  const body = JSON.stringify(value)
  const v1 = hmacOf('sha256', STRIPE, `${at}.${body}`).digest('hex')
  return { body, headers: { ...JSON_TYPE, 'Stripe-Signature': `t=${at},v1=${v1}` } }
}

export function ofUltravox(value: unknown, at = new Date().toISOString(), secret = ULTRAVOX): Sent {
  const body = JSON.stringify(value)
  const signature = hmacOf('sha256', secret, body + at).digest('hex')
  return {
    body,
    headers: {
      ...JSON_TYPE,
      'X-Ultravox-Webhook-Signature': signature,
      'X-Ultravox-Webhook-Timestamp': at,
    },
  }
}

export function ofGithub(body: string, id = crypto.randomUUID() as string, secret = SECRET): Sent {
  return {
    body,
    headers: {
      ...JSON_TYPE,
      'X-GitHub-Event': 'push',
      'X-GitHub-Delivery': id,
      'X-Hub-Signature-256': `sha256=${hmacOf('sha256', secret, body).digest('hex')}`,
    },
  }
}

export function ofSlack(
  body: string,
  at = seconds(),
  type: Record<string, string> = JSON_TYPE,
  secret = SECRET,
): Sent {
  const signature = hmacOf('sha256', secret, `v0:${at}:${body}`).digest('hex')
  return {
    body,
    headers: { ...type, 'X-Slack-Signature': `v0=${signature}`, 'X-Slack-Request-Timestamp': String(at) },
  }
}

/** Sends what was signed, as its sender would. */
export const post = (path: string, { body, headers }: Sent) =>
  call('POST', `/api/v1/webhooks/${path}`, { raw: body, headers })

/** A source of the tenant's; its id. */
export async function makeSource(world: World, body: object): Promise<string> {
  const made = await callJson<{ id: string }>('POST', '/api/v1/webhooks/sources', {
    token: world.admin.token,
    body: { name: 'A source', secrets: [SECRET], ...body },
  })
  if (made.status !== 201) throw new Error(`source: ${made.status} ${JSON.stringify(made.error)}`)
  return made.data.id
}

/** Stores a provider's id for a tenant, as who asked the provider does. */
export const remember = (world: World, provider: Provider, reference: string) =>
  commit(world.ctx, { statements: [referenceStatement(world.ctx, provider, reference)], result: undefined })

type Receipt = { id: string; event_id: string | null; duplicate: boolean }

/** The status, and the receipt of one that was taken in or the error of one that was not. */
export async function outcome(answer: Promise<Response>) {
  const { status, headers, ...rest } = await answer.then(async (one) => ({
    status: one.status,
    headers: one.headers,
    text: await one.text(),
  }))
  const json = rest.text.startsWith('{') ? JSON.parse(rest.text) : {}
  return {
    status,
    headers,
    text: rest.text,
    data: json.data as Receipt,
    code: (json.error?.code as string | undefined) ?? null,
    error: json.error as { message: string; details: Record<string, unknown> } | undefined,
  }
}

type EventRow = { id: string; type: string; data: string | null; channels: string }

/** The tenant's events that came in from outside, oldest first. */
export async function incomingEvents(tenantId: string): Promise<(EventRow & { payload: unknown })[]> {
  const { results } = await env.DB.prepare(
    "select id, type, data, channels from events where tenant_id = ? and type glob 'incoming.*' order by seq",
  )
    .bind(tenantId)
    .all<EventRow>()
  return results.map((row) => ({ ...row, payload: row.data && JSON.parse(row.data).payload }))
}

/** How many webhooks are on record under a tenant (or `public`), of a source and key. */
export const recordsOf = async (tenantId: string, source: string, key: string) =>
  (
    await env.DB.prepare('select * from received_webhooks where tenant_id = ? and source = ? and key = ?')
      .bind(tenantId, source, key)
      .all()
  ).results
