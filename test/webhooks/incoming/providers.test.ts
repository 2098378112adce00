import { env } from 'cloudflare:workers'
import Stripe from 'stripe'
import { describe, expect, it } from 'vitest'
import { commit } from '../../../src/data/commit'
import { forgottenReference } from '../../../src/domains/webhooks/incoming/references'
import { retain } from '../../../src/domains/webhooks/retention/service'
import type { Bindings } from '../../../src/env'
import { firstIdAt } from '../../../src/lib/ids'
import { callJson, makePlatformAdmin, makeWorld } from '../../world'
import {
  hmacOf,
  incomingEvents,
  ofTelnyx,
  ofUltravox,
  outcome,
  post,
  recordsOf,
  remember,
  type Sent,
  STRIPE,
  STRIPE_BEFORE,
  seconds,
} from './kit'

const id = (prefix: string) => `${prefix}_${crypto.randomUUID().replaceAll('-', '')}`

const stripe = new Stripe('sk_test_none')

/** Signed by Stripe's own library. */
async function ofStripe(
  event: unknown,
  options: { secret?: string; timestamp?: number } = {},
): Promise<Sent> {
  const payload = typeof event === 'string' ? event : JSON.stringify(event)
  const header = await stripe.webhooks.generateTestHeaderStringAsync({
    payload,
    secret: options.secret ?? STRIPE,
    timestamp: options.timestamp ?? seconds(),
  } as never)
  return { body: payload, headers: { 'Content-Type': 'application/json', 'Stripe-Signature': header } }
}

const completed = (checkout: string, more: object = {}) => ({
  id: id('evt'),
  object: 'event',
  type: 'checkout.session.completed',
  data: { object: { id: checkout, object: 'checkout.session', ...more } },
})

describe('a webhook of Stripe', { timeout: 30_000 }, () => {
  it('becomes an event of the tenant that asked for the checkout, with the payload as it came', async () => {
    const world = await makeWorld()
    const checkout = id('cs_test')
    await remember(world, 'stripe', checkout)
    // A number beyond a double's whole ones, and spaces, as no printer of ours would print them.
    const event = `{ "id": "${id('evt')}",  "type": "checkout.session.completed", "big": 12345678901234567890,
      "data": { "object": { "id": "${checkout}" } } }`
    const { status, data } = await outcome(post('stripe', await ofStripe(event)))
    expect([status, data.duplicate]).toEqual([200, false])
    const [made, ...others] = await incomingEvents(world.tenant.id)
    expect(others).toEqual([])
    expect([made?.id, made?.type]).toEqual([data.event_id, 'incoming.stripe.checkout.session.completed'])
    expect(made?.data).toContain(`"payload":${event.trim()}`)
    expect(JSON.parse(made?.data ?? '')).toMatchObject({
      source: 'stripe',
      source_id: null,
      webhook_id: data.id,
      type: 'checkout.session.completed',
      payload_omitted: false,
    })
    const read = await callJson<{ data: { key: string } }>('GET', `/api/v1/events/${data.event_id}`, {
      token: world.admin.token,
    })
    expect(read.data.data.key).toBe(JSON.parse(event).id)
  })

  it('is taken in once, however often and at once it comes', async () => {
    const world = await makeWorld()
    const customer = id('cus')
    await remember(world, 'stripe', customer)
    const sent = await ofStripe(completed(id('cs'), { customer }))
    const answers = await Promise.all(Array.from({ length: 20 }, () => outcome(post('stripe', sent))))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(answers.filter(({ data }) => !data.duplicate).length).toBe(1)
    expect(new Set(answers.map(({ data }) => data.event_id)).size).toBe(1)
    expect(new Set(answers.map(({ data }) => data.id)).size).toBe(1)
    expect((await incomingEvents(world.tenant.id)).length).toBe(1)
    const other = await outcome(post('stripe', await ofStripe(completed(id('cs'), { customer }))))
    expect(other.data.duplicate).toBe(false)
    expect((await incomingEvents(world.tenant.id)).length).toBe(2)
  })

  it('is known by a customer or a subscription, expanded or not, and by a connected account', async () => {
    const world = await makeWorld()
    const [customer, subscription, account] = [id('cus'), id('sub'), id('acct')]
    for (const one of [customer, subscription, account]) await remember(world, 'stripe', one)
    for (const event of [
      completed(id('in'), { customer: { id: customer, email: 'a@example.com' } }),
      completed(id('in'), { subscription }),
      { ...completed(id('in')), account },
      { id: id('evt'), type: 'v2.core.account.updated', related_object: { id: account } },
    ])
      expect((await outcome(post('stripe', await ofStripe(event)))).status).toBe(200)
    expect((await incomingEvents(world.tenant.id)).length).toBe(4)
  })

  it('is not believed where it says whose it is: what was never asked for is on record, 202, and no event', async () => {
    const world = await makeWorld()
    const claims = {
      client_reference_id: world.tenant.id,
      metadata: { tenant_id: world.tenant.id, customer: world.tenant.id },
    }
    const event = completed(id('cs'), claims)
    const first = await outcome(post('stripe', await ofStripe(event)))
    expect([first.status, first.data]).toEqual([202, { id: first.data.id, event_id: null, duplicate: false }])
    expect(await recordsOf('public', 'stripe', event.id)).toMatchObject([{ event_id: null, body_key: null }])
    expect(await incomingEvents(world.tenant.id)).toEqual([])
    const again = await outcome(post('stripe', await ofStripe(event)))
    expect([again.status, again.data]).toEqual([202, { ...first.data, duplicate: true }])
    const platform = await makePlatformAdmin()
    for (const prefix of ['platform', 'admin']) {
      const { data } = await callJson<{ key: string }[]>('GET', `/api/${prefix}/webhooks/stripe/unclaimed`, {
        token: platform.token,
      })
      expect(data.map(({ key }) => key)).toContain(event.id)
    }
  })

  it('becomes an event after all where it is sent again once its id is stored', async () => {
    const world = await makeWorld()
    const event = completed(id('cs'))
    expect((await outcome(post('stripe', await ofStripe(event)))).status).toBe(202)
    await remember(world, 'stripe', event.data.object.id)
    expect((await outcome(post('stripe', await ofStripe(event)))).status).toBe(200)
    expect((await incomingEvents(world.tenant.id)).length).toBe(1)
  })

  it('may come while its id is being stored', async () => {
    const world = await makeWorld()
    const event = completed(id('cs'))
    const answer = outcome(post('stripe', await ofStripe(event)))
    await scheduler.wait(300)
    await remember(world, 'stripe', event.data.object.id)
    expect((await answer).status).toBe(200)
  })

  it('that speaks of two tenants is neither’s', async () => {
    const [a, b] = [await makeWorld(), await makeWorld()]
    const [checkout, customer] = [id('cs'), id('cus')]
    await remember(a, 'stripe', checkout)
    await remember(b, 'stripe', customer)
    const { status } = await outcome(post('stripe', await ofStripe(completed(checkout, { customer }))))
    expect(status).toBe(202)
    expect([await incomingEvents(a.tenant.id), await incomingEvents(b.tenant.id)]).toEqual([[], []])
  })

  it('is known by the secret before, and by no other', async () => {
    const event = completed(id('cs'))
    expect((await outcome(post('stripe', await ofStripe(event, { secret: STRIPE_BEFORE })))).status).toBe(202)
    expect(await recordsOf('public', 'stripe', event.id)).toMatchObject([{ signed_by: 2 }])
    const other = await outcome(
      post('stripe', await ofStripe(completed(id('cs')), { secret: 'whsec_another' })),
    )
    expect([other.status, other.code]).toEqual([401, 'invalid_signature'])
    expect(other.headers.get('WWW-Authenticate')).toMatch(/^Bearer error=/)
  })

  it('is refused by name: no signature, another version, a time too far, bytes that were changed', async () => {
    const event = completed(id('cs'))
    const good = await ofStripe(event)
    const header = good.headers['Stripe-Signature'] ?? ''
    const [t = '', v1 = ''] = header.split(',')
    const at = (offset: number) => ofStripe(event, { timestamp: seconds() + offset })
    const withHeader = (value: string): Sent => ({ ...good, headers: { 'Stripe-Signature': value } })
    const cases: [string, Sent, string][] = [
      ['none', { body: good.body, headers: {} }, 'signature_required'],
      ['v0 alone', withHeader(header.replace('v1=', 'v0=')), 'invalid_signature'],
      ['no time', withHeader(v1), 'invalid_signature'],
      ['two times', withHeader(`${t},${t},${v1}`), 'invalid_signature'],
      ['a time that is none', withHeader(`t=1e9,${v1}`), 'invalid_signature'],
      ['no hex', withHeader(`${t},v1=zz`), 'invalid_signature'],
      ['half of it', withHeader(header.slice(0, -2)), 'invalid_signature'],
      ['old', await at(-305), 'signature_expired'],
      ['ahead', await at(305), 'signature_expired'],
      ['changed', { ...good, body: `${good.body} ` }, 'invalid_signature'],
    ]
    for (const [name, sent, code] of cases) {
      const answer = await outcome(post('stripe', sent))
      expect([name, answer.status, answer.code]).toEqual([name, 401, code])
    }
    expect(await recordsOf('public', 'stripe', event.id)).toEqual([])
    // Among several one is enough, and four minutes are no five.
    const several = withHeader(`${t},v1=${'0'.repeat(64)},${v1},v0=abc`)
    expect((await outcome(post('stripe', several))).status).toBe(202)
    expect((await outcome(post('stripe', await at(-240)))).status).toBe(202)
    const platform = await makePlatformAdmin()
    const { data } = await callJson<{ code: string; message: string }[]>(
      'GET',
      '/api/platform/webhooks/stripe/errors',
      { token: platform.token },
    )
    expect(data.slice(0, cases.length).map(({ code }) => code)).toEqual(
      cases.map(([, , code]) => code).reverse(),
    )
    expect(JSON.stringify(data)).not.toContain(event.id)
  })

  it('that was signed and says nothing is 422, and no JSON 400; nothing is kept of it but the refusal', async () => {
    for (const [body, status, code] of [
      ['{"type":"x"}', 422, 'validation_failed'],
      ['[]', 422, 'validation_failed'],
      [`{"id":"${'e'.repeat(256)}","type":"x"}`, 422, 'validation_failed'],
      ['{"id":', 400, 'malformed_json'],
      [`${'['.repeat(101)}${']'.repeat(101)}`, 422, 'validation_failed'],
    ] as const) {
      const answer = await outcome(post('stripe', await ofStripe(body)))
      expect([body.slice(0, 20), answer.status, answer.code]).toEqual([body.slice(0, 20), status, code])
    }
  })

  it('is JSON, whatever else is said of it', async () => {
    const { body, headers } = await ofStripe(completed(id('cs')))
    const said = { ...headers, 'Content-Type': 'application/x-www-form-urlencoded' }
    expect((await outcome(post('stripe', { body, headers: said }))).status).toBe(202)
  })

  it('over 1 MiB is 413', async () => {
    const sent = await ofStripe(JSON.stringify({ id: id('evt'), type: 'x', text: 'x'.repeat(1024 * 1024) }))
    const answer = await outcome(post('stripe', sent))
    expect([answer.status, answer.code]).toEqual([413, 'body_too_large'])
  })
})

describe('a webhook of Telnyx', { timeout: 30_000 }, () => {
  const event = (payload: object) => ({
    data: {
      id: crypto.randomUUID(),
      event_type: 'call.initiated',
      record_type: 'event',
      payload: { client_state: 'dGVuYW50', ...payload },
    },
  })

  it('becomes an event of the tenant of the call or connection, once', async () => {
    const world = await makeWorld()
    const [connection, call] = [id('connection'), `v3:${id('call')}`]
    await remember(world, 'telnyx', connection)
    await remember(world, 'telnyx', call)
    const first = event({ connection_id: connection })
    for (const duplicate of [false, true]) {
      const { status, data } = await outcome(post('telnyx', ofTelnyx(first)))
      expect([status, data.duplicate]).toEqual([200, duplicate])
    }
    expect((await outcome(post('telnyx', ofTelnyx(event({ call_control_id: call }))))).status).toBe(200)
    expect((await outcome(post('telnyx', ofTelnyx(event({ connection_id: id('other') }))))).status).toBe(202)
    const events = await incomingEvents(world.tenant.id)
    expect(events.map(({ type }) => type)).toEqual(Array(2).fill('incoming.telnyx.call.initiated'))
    expect(events[0]?.payload).toEqual(first)
  })

  it('is refused by name', async () => {
    const good = ofTelnyx(event({}))
    const change = (headers: Record<string, string>): Sent => ({
      ...good,
      headers: { ...good.headers, ...headers },
    })
    const cases: [string, Sent, string][] = [
      ['no signature', change({ 'telnyx-signature-ed25519': '' }), 'signature_required'],
      ['no time', change({ 'telnyx-timestamp': '' }), 'signature_required'],
      ['no digits', ofTelnyx(event({}), `${seconds()}.5`), 'invalid_signature'],
      ['old', ofTelnyx(event({}), String(seconds() - 305)), 'signature_expired'],
      ['ahead', ofTelnyx(event({}), String(seconds() + 305)), 'signature_expired'],
      ['another’s', change({ 'telnyx-signature-ed25519': btoa('x'.repeat(64)) }), 'invalid_signature'],
      ['short', change({ 'telnyx-signature-ed25519': 'AAAA' }), 'invalid_signature'],
      ['changed', { ...good, body: `${good.body} ` }, 'invalid_signature'],
      ['another time', change({ 'telnyx-timestamp': String(seconds() - 1) }), 'invalid_signature'],
    ]
    for (const [name, sent, code] of cases) {
      const answer = await outcome(post('telnyx', sent))
      expect([name, answer.status, answer.code]).toEqual([name, 401, code])
    }
  })
})

describe('a webhook of Ultravox', { timeout: 30_000 }, () => {
  it('becomes an event of the tenant of the call: each of its events once', async () => {
    const world = await makeWorld()
    const callId = crypto.randomUUID()
    await remember(world, 'ultravox', callId)
    const metadata = { tenant_id: 'another' }
    for (const [event, duplicate] of [
      ['call.started', false],
      ['call.started', true],
      ['call.ended', false],
    ] as const) {
      const { status, data } = await outcome(
        post('ultravox', ofUltravox({ event, call: { callId, metadata } })),
      )
      expect([event, status, data.duplicate]).toEqual([event, 200, duplicate])
    }
    expect((await incomingEvents(world.tenant.id)).map(({ type }) => type)).toEqual([
      'incoming.ultravox.call.started',
      'incoming.ultravox.call.ended',
    ])
    const stranger = { event: 'call.started', call: { callId: crypto.randomUUID(), metadata } }
    expect((await outcome(post('ultravox', ofUltravox(stranger)))).status).toBe(202)
    const { status, error } = await outcome(post('ultravox', ofUltravox({ event: 'call.started' })))
    expect([status, error?.details]).toEqual([
      422,
      { fields: { 'call.callId': 'must be a text of 1 to 255 characters' } },
    ])
  })

  it('takes one of several signatures, and the times that Python prints', async () => {
    const value = { event: 'call.started', call: { callId: crypto.randomUUID() } }
    const good = ofUltravox(value)
    const signature = good.headers['X-Ultravox-Webhook-Signature']
    const several = { ...good.headers, 'X-Ultravox-Webhook-Signature': `${'0'.repeat(64)}, ${signature}` }
    expect((await outcome(post('ultravox', { ...good, headers: several }))).status).toBe(202)
    const now = new Date().toISOString()
    for (const at of [now.replace('Z', '123+00:00'), now.replace('Z', '123'), now.replace(/\.\d+Z/, 'Z')])
      expect([at, (await outcome(post('ultravox', ofUltravox(value, at)))).status]).toEqual([at, 202])
  })

  it('is refused by name, after a minute too', async () => {
    const value = { event: 'call.started', call: { callId: crypto.randomUUID() } }
    const ago = (ms: number) => new Date(Date.now() - ms).toISOString()
    const good = ofUltravox(value)
    const cases: [string, Sent, string][] = [
      ['none', { ...good, headers: {} }, 'signature_required'],
      ['old', ofUltravox(value, ago(62_000)), 'signature_expired'],
      ['ahead', ofUltravox(value, ago(-62_000)), 'signature_expired'],
      ['no time', ofUltravox(value, 'yesterday'), 'invalid_signature'],
      ['seconds', ofUltravox(value, String(seconds())), 'invalid_signature'],
      ['another secret', ofUltravox(value, undefined, 'another secret'), 'invalid_signature'],
      ['changed', { ...good, body: `${good.body} ` }, 'invalid_signature'],
    ]
    for (const [name, sent, code] of cases) {
      const answer = await outcome(post('ultravox', sent))
      expect([name, answer.status, answer.code]).toEqual([name, 401, code])
    }
    expect((await outcome(post('ultravox', ofUltravox(value, ago(50_000))))).status).toBe(202)
  })
})

describe('what is nobody’s', () => {
  it('is kept for ninety days, and what was refused for thirty', { timeout: 60_000 }, async () => {
    const now = Date.now()
    const made = (days: number) => firstIdAt(now - days * 24 * 3600_000 - Math.random() * 1000)
    const [old, young, refusedOld, refusedYoung] = [made(91), made(89), made(31), made(29)]
    const at = new Date(now).toISOString()
    await env.DB.batch([
      ...[old, young].map((one) =>
        env.DB.prepare(
          `insert into received_webhooks (tenant_id, id, source, key, type, size_bytes, signed_by, received_at)
           values ('public', ?1, 'stripe', ?1, 'x', 2, 1, ?2)`,
        ).bind(one, at),
      ),
      ...[refusedOld, refusedYoung].map((one) =>
        env.DB.prepare(
          `insert into refused_webhooks (tenant_id, id, source, code, message, request_id, received_at)
           values ('public', ?1, 'telnyx', 'x', 'x', 'x', ?2)`,
        ).bind(one, at),
      ),
    ])
    await retain(env as unknown as Bindings, { waitUntil: () => undefined }, now)
    const { results } = await env.DB.prepare(
      `select id from received_webhooks where id in (?1, ?2) union all
       select id from refused_webhooks where id in (?3, ?4)`,
    )
      .bind(old, young, refusedOld, refusedYoung)
      .all()
    expect(results).toEqual([{ id: young }, { id: refusedYoung }])
  })
})

describe('a provider’s id', () => {
  it('is one tenant’s alone, stored once, until it is forgotten', async () => {
    const [a, b] = [await makeWorld(), await makeWorld()]
    const reference = id('cus')
    await remember(a, 'stripe', reference)
    await remember(a, 'stripe', reference)
    await expect(remember(b, 'stripe', reference)).rejects.toThrow()
    await remember(b, 'telnyx', reference)
    await commit(a.ctx, { statements: [forgottenReference(a.ctx, 'stripe', reference)], result: undefined })
    await remember(b, 'stripe', reference)
    const { results } = await env.DB.prepare(
      'select tenant_id, provider from provider_references where reference = ? order by provider',
    )
      .bind(reference)
      .all()
    expect(results).toEqual([
      { tenant_id: b.tenant.id, provider: 'stripe' },
      { tenant_id: b.tenant.id, provider: 'telnyx' },
    ])
  })
})

it('HMACs of these tests are node’s own', () => {
  // RFC 4231, test case 2.
  expect(hmacOf('sha256', 'Jefe', 'what do ya want for nothing?').digest('hex')).toBe(
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  )
})
