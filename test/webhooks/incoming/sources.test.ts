import { env } from 'cloudflare:workers'
import { generateKeyPairSync, sign } from 'node:crypto'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { Webhook as SvixWebhook } from 'svix'
import { describe, expect, it } from 'vitest'
import { retainTenant } from '../../../src/domains/webhooks/retention/service'
import { expectError } from '../../http/expect-error'
import { call, callJson, makeWorld, type World } from '../../world'
import { eventually, makeReceiver } from '../receiver'
import {
  hmacOf,
  incomingEvents,
  makeSource,
  ofGithub,
  ofSlack,
  outcome,
  post,
  recordsOf,
  SECRET,
  type Sent,
  seconds,
} from './kit'

const WHSEC = `whsec_${btoa('x'.repeat(32))}`
const json = { 'Content-Type': 'application/json' }
const form = { 'Content-Type': 'application/x-www-form-urlencoded' }

const ofShopify = (body: string, more: Record<string, string>): Sent => ({
  body,
  headers: {
    ...json,
    'X-Shopify-Topic': 'orders/create',
    'X-Shopify-Hmac-Sha256': hmacOf('sha256', SECRET, body).digest('base64'),
    ...more,
  },
})

/** As Twilio signs: the URL, then the fields by name. */
function ofTwilio(url: string, fields: Record<string, string>, secret = SECRET): Sent {
  const text = Object.keys(fields)
    .sort()
    .reduce((sum, name) => sum + name + fields[name], url)
  return {
    body: new URLSearchParams(fields).toString(),
    headers: { ...form, 'X-Twilio-Signature': hmacOf('sha1', secret, text).digest('base64') },
  }
}

const errorsOf = async (world: World, id: string) =>
  (
    await callJson<{ code: string; message: string; source: string }[]>(
      'GET',
      `/api/v1/webhooks/sources/${id}/errors`,
      { token: world.admin.token },
    )
  ).data

describe('a source', { timeout: 30_000 }, () => {
  it('is made, read, changed and deleted, and never shows its secrets', async () => {
    const world = await makeWorld()
    const { token } = world.admin
    const made = await call('POST', '/api/v1/webhooks/sources', {
      token,
      body: { kind: 'github', name: 'Ours', secrets: [SECRET, 'another secret'] },
    })
    const text = await made.text()
    const { data: source } = JSON.parse(text)
    expect([made.status, made.headers.get('Location')]).toEqual([
      201,
      `/api/v1/webhooks/sources/${source.id}`,
    ])
    expect(source).toMatchObject({
      ...{ kind: 'github', name: 'Ours', hmac: null, per_minute: 100, tenant_id: world.tenant.id },
      secrets: ['********', '********'],
      url: `http://localhost:8787/api/v1/webhooks/in/${source.id}`,
    })
    const path = `/api/v1/webhooks/sources/${source.id}`
    expect((await callJson('GET', path, { token })).data).toEqual(source)
    const changed = await callJson('PATCH', path, { token, body: { name: 'Others', per_minute: 500 } })
    expect(changed.data).toMatchObject({ name: 'Others', per_minute: 500, secrets: source.secrets })
    expect((await callJson<object[]>('GET', '/api/v1/webhooks/sources', { token })).data).toEqual([
      changed.data,
    ])
    const stale = { token, body: { name: 'x' }, headers: { 'If-Match': '"v1"' } }
    await expectError(call('PATCH', path, stale), 'precondition_failed')
    const { results } = await env.DB.prepare('select * from webhook_sources where id = ?')
      .bind(source.id)
      .all()
    expect(JSON.stringify(results)).not.toContain(SECRET)
    const log = await env.DB.prepare('select * from audit_log where tenant_id = ?')
      .bind(world.tenant.id)
      .all()
    expect(JSON.stringify(log.results)).toContain('webhook_source.update')
    expect(JSON.stringify(log.results) + text).not.toContain(SECRET)
    expect((await call('DELETE', path, { token })).status).toBe(204)
    await expectError(call('GET', path, { token }), 'not_found')
    await expectError(call('GET', `${path}/errors`, { token }), 'not_found')
    const answer = await outcome(post(`in/${source.id}`, ofGithub('{}')))
    expect([answer.status, answer.code]).toEqual([404, 'not_found'])
  })

  it('is refused where its sender could not sign, each field by name', async () => {
    const { admin } = await makeWorld()
    const cases: [object, string[]][] = [
      [{ kind: 'stripe' }, ['kind']],
      [{ kind: 'github', secrets: [] }, ['secrets']],
      [{ kind: 'github', secrets: ['one secret', 'two secrets', 'three secrets'] }, ['secrets']],
      [{ kind: 'github', secrets: ['short'] }, ['secrets.0']],
      [{ kind: 'github', secrets: ['not ASCII: é'] }, ['secrets.0']],
      [{ kind: 'github', secrets: [SECRET, SECRET] }, ['secrets.1']],
      [{ kind: 'github', secrets: ['********'] }, ['secrets.0']],
      [{ kind: 'standard', secrets: ['whsec_no base64 at all'] }, ['secrets.0']],
      [{ kind: 'standard', secrets: [`whsec_${btoa('x'.repeat(23))}`] }, ['secrets.0']],
      [{ kind: 'standard', secrets: [WHSEC, `whpk_${btoa('x'.repeat(31))}`] }, ['secrets.1']],
      [{ kind: 'hmac' }, ['hmac']],
      [{ kind: 'github', hmac: {} }, ['hmac']],
      [{ kind: 'hmac', hmac: { header: 'no header' } }, ['hmac.header']],
      [{ kind: 'hmac', hmac: { algorithm: 'md5' } }, ['hmac.algorithm']],
      [{ kind: 'github', name: '' }, ['name']],
      [{ kind: 'github', per_minute: 0 }, ['per_minute']],
      [{ kind: 'github', per_minute: 6001 }, ['per_minute']],
    ]
    for (const [body, fields] of cases) {
      const error = await expectError(
        call('POST', '/api/v1/webhooks/sources', {
          token: admin.token,
          body: { name: 'Source', secrets: [SECRET], ...body },
        }),
        'validation_failed',
      )
      expect([body, Object.keys(error.details.fields ?? {})]).toEqual([body, fields])
    }
    expect((await callJson<[]>('GET', '/api/v1/webhooks/sources', admin)).data).toEqual([])
  })

  it('has two secrets while one takes the other’s place', async () => {
    const world = await makeWorld()
    const { token } = world.admin
    const id = await makeSource(world, { kind: 'github' })
    const path = `/api/v1/webhooks/sources/${id}`
    const change = (secrets: string[]) => call('PATCH', path, { token, body: { secrets } })
    const old = () => ofGithub('{}')
    const young = () => ofGithub('{}', crypto.randomUUID(), 'the secret that comes')
    const statuses = async () => [
      (await outcome(post(`in/${id}`, old()))).status,
      (await outcome(post(`in/${id}`, young()))).status,
    ]
    expect(await statuses()).toEqual([200, 401])
    expect((await change(['the secret that comes', '********'])).status).toBe(200)
    expect(await statuses()).toEqual([200, 200])
    const { data } = await callJson<{ signed_by: number }[]>(
      'GET',
      `/api/v1/webhooks/received?source=${id}`,
      {
        token,
      },
    )
    expect(data.map(({ signed_by }) => signed_by)).toEqual([1, 2, 1])
    expect((await change(['********'])).status).toBe(200)
    expect(await statuses()).toEqual([401, 200])
  })

  it('is one of at most fifty', async () => {
    const world = await makeWorld()
    for (let i = 0; i < 50; i++) await makeSource(world, { kind: 'github' })
    const body = { kind: 'github', name: 'One more', secrets: [SECRET] }
    await expectError(
      call('POST', '/api/v1/webhooks/sources', { token: world.admin.token, body }),
      'conflict',
    )
  })
})

describe('a webhook of Standard Webhooks', { timeout: 30_000 }, () => {
  it('is taken as the npm libraries standardwebhooks and svix sign it, once', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'standard', secrets: [WHSEC] })
    const body = JSON.stringify({ type: 'invoice.paid', data: { text: 'Zoë 🚀' } })
    const now = new Date()
    for (const [prefix, library] of [
      ['webhook', new StandardWebhook(WHSEC)],
      ['svix', new SvixWebhook(WHSEC)],
    ] as const) {
      const message = `msg_${crypto.randomUUID()}`
      const signed = (text: string, at: Date): Sent => ({
        body: text,
        headers: {
          ...json,
          [`${prefix}-id`]: message,
          [`${prefix}-timestamp`]: String(seconds(at.getTime())),
          [`${prefix}-signature`]: library.sign(message, at, text),
        },
      })
      for (const duplicate of [false, true]) {
        const { status, data } = await outcome(post(`in/${id}`, signed(body, now)))
        expect([prefix, status, data.duplicate]).toEqual([prefix, 200, duplicate])
      }
      const old = await outcome(post(`in/${id}`, signed(body, new Date(now.getTime() - 305_000))))
      expect([old.status, old.code]).toEqual([401, 'signature_expired'])
      const changed = await outcome(post(`in/${id}`, { ...signed(body, now), body: `${body} ` }))
      expect([changed.status, changed.code]).toEqual([401, 'invalid_signature'])
      const v2 = signed(body, now)
      const header = v2.headers[`${prefix}-signature`]?.replace('v1,', 'v2,') ?? ''
      const version = await outcome(
        post(`in/${id}`, { body, headers: { ...v2.headers, [`${prefix}-signature`]: header } }),
      )
      expect([version.status, version.code]).toEqual([401, 'invalid_signature'])
      expect(version.error?.message).toContain('version v1')
    }
    const events = await incomingEvents(world.tenant.id)
    expect(events.map(({ type }) => type)).toEqual(Array(2).fill('incoming.standard.invoice.paid'))
    expect(events[0]?.payload).toEqual(JSON.parse(body))
    expect(events[0]?.channels).toBe(JSON.stringify([id]))
  })

  it('is taken by a public key as well', async () => {
    const world = await makeWorld()
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
    const id = await makeSource(world, {
      kind: 'standard',
      secrets: [WHSEC, `whpk_${raw.toString('base64')}`],
    })
    const at = String(seconds())
    const signature = sign(null, Buffer.from(`msg_1.${at}.{}`), privateKey).toString('base64')
    const send = (value: string) =>
      outcome(
        post(`in/${id}`, {
          body: '{}',
          headers: { 'webhook-id': 'msg_1', 'webhook-timestamp': at, 'webhook-signature': value },
        }),
      )
    expect((await send(`v1a,${btoa('x'.repeat(64))}`)).code).toBe('invalid_signature')
    // A signature of the one kind is none of the other.
    expect((await send(`v1,${signature}`)).code).toBe('invalid_signature')
    expect((await send(`v1a,${signature}`)).status).toBe(200)
    expect(await recordsOf(world.tenant.id, id, 'msg_1')).toMatchObject([{ signed_by: 2 }])
  })
})

describe('a webhook of GitHub', { timeout: 30_000 }, () => {
  it('becomes one event for each delivery, which goes to the endpoints that take it', async () => {
    const world = await makeWorld()
    const receiver = await makeReceiver({ status: 200 })
    const id = await makeSource(world, { kind: 'github', name: 'Ours' })
    await callJson('POST', '/api/v1/webhooks', {
      token: world.admin.token,
      body: { url: receiver.url, event_types: ['incoming.github.*'], channels: [id] },
    })
    const sent = ofGithub('{"ref":"refs/heads/main"}')
    const answers = await Promise.all(Array.from({ length: 10 }, () => outcome(post(`in/${id}`, sent))))
    expect(answers.filter(({ data }) => !data.duplicate).length).toBe(1)
    const [got] = await eventually(async () => {
      const seen = await receiver.seen()
      return seen.length > 0 && seen
    })
    expect(JSON.parse(got?.body ?? '')).toMatchObject({
      id: answers[0]?.data.event_id,
      type: 'incoming.github.push',
      data: {
        ...{ source: 'Ours', source_id: id, key: sent.headers['X-GitHub-Delivery'], type: 'push' },
        payload: { ref: 'refs/heads/main' },
      },
    })
    expect((await outcome(post(`in/${id}`, ofGithub('{"ref":"refs/heads/main"}')))).data.duplicate).toBe(
      false,
    )
    expect((await incomingEvents(world.tenant.id)).length).toBe(2)
  })

  it('may be a form with JSON in it, and is refused without its id', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    const body = `payload=${encodeURIComponent('{"zen":"Design for failure."}')}`
    const sent = ofGithub(body)
    const { status } = await outcome(post(`in/${id}`, { ...sent, headers: { ...sent.headers, ...form } }))
    expect(status).toBe(200)
    expect((await incomingEvents(world.tenant.id))[0]?.payload).toEqual({ zen: 'Design for failure.' })
    const { 'X-GitHub-Delivery': _, ...without } = ofGithub('{}').headers
    const bare = await outcome(post(`in/${id}`, { body: '{}', headers: without }))
    expect([bare.status, bare.code, bare.error?.details]).toEqual([
      400,
      'malformed_header',
      { header: 'X-GitHub-Delivery' },
    ])
    const sha1 = { ...ofGithub('{}').headers, 'X-Hub-Signature-256': `sha1=${'0'.repeat(40)}` }
    expect((await outcome(post(`in/${id}`, { body: '{}', headers: sha1 }))).code).toBe('invalid_signature')
    for (const one of ['{', 'text', ''])
      expect((await outcome(post(`in/${id}`, ofGithub(one)))).code).toBe('malformed_json')
  })
})

describe('a webhook of Slack', { timeout: 30_000 }, () => {
  it('is challenged with what it asks, once that is signed, and nothing is kept of it', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'slack' })
    const body = JSON.stringify({ type: 'url_verification', challenge: '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd' })
    const answer = await outcome(post(`in/${id}`, ofSlack(body)))
    expect([answer.status, answer.text]).toEqual([200, '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd'])
    expect(answer.headers.get('Content-Type')).toBe('text/plain; charset=UTF-8')
    const forged = await outcome(post(`in/${id}`, ofSlack(body, seconds(), json, 'no secret of this')))
    expect([forged.status, forged.code]).toEqual([401, 'invalid_signature'])
    expect(await incomingEvents(world.tenant.id)).toEqual([])
  })

  it('becomes one event for each of its own: an event, a command, a click', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'slack' })
    const event = JSON.stringify({ type: 'event_callback', event_id: 'Ev01', event: { type: 'app_mention' } })
    const click = `payload=${encodeURIComponent('{"type":"block_actions","trigger_id":"13.1"}')}`
    const command = 'command=%2Fdeploy&text=now+please&trigger_id=13.2'
    for (const [i, sent] of [
      ofSlack(event),
      // A retry is signed anew.
      ofSlack(event, seconds() - 3),
      ofSlack(click, seconds(), form),
      ofSlack(command, seconds(), form),
      ofSlack(command, seconds() - 1, form),
    ].entries()) {
      const { status, text } = await outcome(post(`in/${id}`, sent))
      // Slack shows or refuses what answers a command or a view with anything.
      expect([i, status, text]).toEqual([i, 200, ''])
    }
    const events = await incomingEvents(world.tenant.id)
    expect(events.map(({ type }) => type)).toEqual([
      'incoming.slack.app_mention',
      'incoming.slack.block_actions',
      'incoming.slack.slash_command',
    ])
    expect(events[2]?.payload).toEqual({ command: '/deploy', text: 'now please', trigger_id: '13.2' })
    const old = await outcome(post(`in/${id}`, ofSlack(event, seconds() - 305)))
    expect([old.status, old.code]).toEqual([401, 'signature_expired'])
  })
})

describe('a webhook of Shopify', { timeout: 30_000 }, () => {
  it('becomes one event for each topic of an event, by either of its ids', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'shopify' })
    const body = '{"id":820982911946154508}'
    const ids = { 'X-Shopify-Event-Id': 'e1', 'X-Shopify-Webhook-Id': 'w1' }
    const outcomes: [Record<string, string>, boolean][] = [
      [ids, false],
      [{ ...ids, 'X-Shopify-Webhook-Id': 'w2' }, true],
      [{ ...ids, 'X-Shopify-Topic': 'orders/paid' }, false],
      [{ 'X-Shopify-Webhook-Id': 'w3' }, false],
      [{ 'X-Shopify-Webhook-Id': 'w3' }, true],
    ]
    for (const [headers, duplicate] of outcomes) {
      const { status, data } = await outcome(post(`in/${id}`, ofShopify(body, headers)))
      expect([headers, status, data.duplicate]).toEqual([headers, 200, duplicate])
    }
    const events = await incomingEvents(world.tenant.id)
    expect(events.map(({ type }) => type)).toEqual([
      'incoming.shopify.orders.create',
      'incoming.shopify.orders.paid',
      'incoming.shopify.orders.create',
    ])
    // Shopify's ids are more than a double holds.
    expect(events[0]?.data).toContain('"payload":{"id":820982911946154508}')
    for (const [headers, code] of [
      [{ 'X-Shopify-Hmac-Sha256': 'AAAA' }, 'invalid_signature'],
      [{ 'X-Shopify-Hmac-Sha256': '' }, 'signature_required'],
      [{}, 'malformed_header'],
    ] as const)
      expect((await outcome(post(`in/${id}`, ofShopify(body, headers)))).code).toBe(code)
  })
})

describe('a webhook of Twilio', { timeout: 30_000 }, () => {
  it('becomes one event for each status of a message, and is answered with instructions that say nothing', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'twilio' })
    const url = `http://localhost:8787/api/v1/webhooks/in/${id}`
    const send = (fields: Record<string, string>) => post(`in/${id}`, ofTwilio(url, fields))
    for (const MessageStatus of ['sent', 'sent', 'delivered'])
      expect(await outcome(send({ MessageSid: 'SM1', MessageStatus, To: '+1 555' }))).toMatchObject({
        status: 200,
        text: '<Response/>',
      })
    const answer = await send({ SmsSid: 'SM2', SmsStatus: 'received', Body: 'Zoë' })
    expect(answer.headers.get('Content-Type')).toBe('text/xml; charset=UTF-8')
    await answer.text()
    for (let i = 0; i < 2; i++) await outcome(send({ CallSid: 'CA1', CallStatus: 'ringing' }))
    await outcome(send({ CallSid: 'CA1', CallStatus: 'ringing', SequenceNumber: '2' }))
    expect((await incomingEvents(world.tenant.id)).map(({ type }) => type)).toEqual([
      'incoming.twilio.message.sent',
      'incoming.twilio.message.delivered',
      'incoming.twilio.message.received',
      'incoming.twilio.call.ringing',
      'incoming.twilio.call.ringing',
    ])
    expect(await recordsOf(world.tenant.id, id, 'SM1:delivered')).toHaveLength(1)
    const query = await outcome(post(`in/${id}?a=1`, ofTwilio(`${url}?a=1`, { CallStatus: 'busy' })))
    expect(query.status).toBe(200)
    for (const sent of [ofTwilio(`${url}/`, { a: '1' }), ofTwilio(url, { a: '1' }, 'another token')])
      expect((await outcome(post(`in/${id}`, sent))).code).toBe('invalid_signature')
    const asJson = ofTwilio(url, {})
    const smuggled = await outcome(
      post(`in/${id}`, { body: '{"a":1}', headers: { ...asJson.headers, ...json } }),
    )
    expect(smuggled.code).toBe('invalid_signature')
  })
})

describe('a webhook of plain HMAC', { timeout: 30_000 }, () => {
  const of = (body: string, more: Record<string, string> = {}): Sent => ({
    body,
    headers: { 'X-Signature': hmacOf('sha256', SECRET, body).digest('hex'), ...more },
  })

  it('is known by its bytes where it has no id, and is text where it is no JSON', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'hmac', hmac: {} })
    for (const [body, duplicate] of [
      ['{"type":"order:placed/now"}', false],
      ['{"type":"order:placed/now"}', true],
      ['<xml>Zoë</xml>', false],
      ['', false],
    ] as const) {
      const { status, data } = await outcome(post(`in/${id}`, of(body)))
      expect([body, status, data.duplicate]).toEqual([body, 200, duplicate])
    }
    const events = await incomingEvents(world.tenant.id)
    expect(events.map(({ type, payload }) => [type, payload])).toEqual([
      ['incoming.hmac.order.placed.now', { type: 'order:placed/now' }],
      ['incoming.hmac.received', '<xml>Zoë</xml>'],
      ['incoming.hmac.received', ''],
    ])
    const latin = new Uint8Array([0xe9])
    const bytes = { body: latin, headers: { 'X-Signature': hmacOf('sha256', SECRET, latin).digest('hex') } }
    expect((await outcome(post(`in/${id}`, bytes))).code).toBe('malformed_body')
  })

  it('has its time and its ids where the tenant says', async () => {
    const world = await makeWorld()
    const hmac = {
      ...{ header: 'X-Acme-Sign', algorithm: 'sha512', encoding: 'base64', prefix: 'v3:' },
      ...{ timestamp_header: 'X-Acme-Time', id_header: 'X-Acme-Id', type_header: 'X-Acme-Event' },
    }
    const id = await makeSource(world, { kind: 'hmac', hmac })
    const send = (at: string, more: Record<string, string> = {}) =>
      outcome(
        post(`in/${id}`, {
          body: 'hello',
          headers: {
            'X-Acme-Sign': `v3:${hmacOf('sha512', SECRET, `${at}.hello`).digest('base64')}`,
            ...{ 'X-Acme-Time': at, 'X-Acme-Id': '7', 'X-Acme-Event': 'greeting' },
            ...more,
          },
        }),
      )
    const now = String(seconds())
    expect((await send(now)).data.duplicate).toBe(false)
    expect((await send(now)).data.duplicate).toBe(true)
    expect((await send(now, { 'X-Acme-Id': '8' })).data.duplicate).toBe(false)
    expect((await send(now, { 'X-Acme-Id': '' })).code).toBe('malformed_header')
    expect((await send(now, { 'X-Acme-Time': '' })).code).toBe('signature_required')
    expect((await send('soon')).code).toBe('invalid_signature')
    expect((await send(String(seconds() - 305))).code).toBe('signature_expired')
    expect((await incomingEvents(world.tenant.id)).map(({ type }) => type)).toEqual(
      Array(2).fill('incoming.hmac.greeting'),
    )
  })
})

describe('what came in', { timeout: 60_000 }, () => {
  it('is kept whole where it is too large for an event, and so long as payloads are', async () => {
    const world = await makeWorld()
    const { token } = world.admin
    const id = await makeSource(world, { kind: 'github' })
    const body = JSON.stringify({ text: 'x'.repeat(300_000) })
    const { status, data } = await outcome(post(`in/${id}`, ofGithub(body)))
    expect(status).toBe(200)
    const event = await callJson<{ data: object }>('GET', `/api/v1/events/${data.event_id}`, { token })
    expect(event.data.data).toMatchObject({ payload: null, payload_omitted: true, webhook_id: data.id })
    const path = `/api/v1/webhooks/received/${data.id}`
    const whole = await callJson<{ payload: unknown; size_bytes: number }>('GET', path, { token })
    expect(whole.data.payload).toEqual(JSON.parse(body))
    expect(whole.data.size_bytes).toBe(body.length)
    // Twice makes no second copy.
    const sent = ofGithub(body)
    for (let i = 0; i < 2; i++) await outcome(post(`in/${id}`, sent))
    const { objects } = await env.FILES.list({ prefix: `${world.tenant.id}/incoming/` })
    expect(objects.length).toBe(2)
    const small = await outcome(post(`in/${id}`, ofGithub('{"a":1}')))
    const read = await callJson<{ payload: unknown }>('GET', `/api/v1/webhooks/received/${small.data.id}`, {
      token,
    })
    expect(read.data.payload).toEqual({ a: 1 })

    const settings = { payload_retention_days: 30, metadata_retention_days: 90 }
    const later = (days: number) => ({
      ...world.ctx,
      tenant: { ...world.ctx.tenant, settings: { ...world.ctx.tenant.settings, ...settings } },
      now: Date.now() + days * 24 * 3600_000,
    })
    await post(`in/${id}`, { body: '{}', headers: {} })
    await retainTenant(later(29))
    expect((await callJson<{ payload: unknown }>('GET', path, { token })).data.payload).toEqual(
      JSON.parse(body),
    )
    expect((await errorsOf(world, id)).length).toBe(1)
    await retainTenant(later(31))
    expect((await callJson<{ payload: unknown }>('GET', path, { token })).data.payload).toBeNull()
    expect((await env.FILES.list({ prefix: `${world.tenant.id}/incoming/` })).objects).toEqual([])
    expect(await errorsOf(world, id)).toEqual([])
    await retainTenant(later(91))
    await expectError(call('GET', path, { token }), 'not_found')
  })

  it('over 1 MiB, or compressed, is refused', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'hmac', hmac: {} })
    const most = 'x'.repeat(1024 * 1024)
    const send = (body: string, headers = {}) =>
      outcome(
        post(`in/${id}`, {
          body,
          headers: { 'X-Signature': hmacOf('sha256', SECRET, body).digest('hex'), ...headers },
        }),
      )
    expect((await send(most)).status).toBe(200)
    expect((await send(`${most}x`)).code).toBe('body_too_large')
    expect((await send('x', { 'Content-Encoding': 'gzip' })).code).toBe('unsupported_media_type')
    expect((await errorsOf(world, id)).map(({ code }) => code)).toEqual([
      'unsupported_media_type',
      'body_too_large',
    ])
  })

  it('of a tenant that is suspended is refused, and of one that is gone is 404', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    const set = (status: string) =>
      env.DB.prepare('update tenants set status = ? where id = ?').bind(status, world.tenant.id).run()
    await set('suspended')
    const refused = await outcome(post(`in/${id}`, ofGithub('{}')))
    expect([refused.status, refused.code]).toEqual([403, 'tenant_suspended'])
    // Who can't sign learns nothing of the tenant.
    expect((await outcome(post(`in/${id}`, ofGithub('{}', 'x', 'another secret')))).code).toBe(
      'invalid_signature',
    )
    await set('cancelled')
    expect((await outcome(post(`in/${id}`, ofGithub('{}')))).code).toBe('tenant_cancelled')
    await set('active')
    expect((await outcome(post(`in/${id}`, ofGithub('{}')))).status).toBe(200)
  })

  it('and was refused is in the source’s log without its body: the last two hundred', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    await env.DB.batch(
      Array.from({ length: 250 }, (_, i) =>
        env.DB.prepare(
          `insert into refused_webhooks (tenant_id, id, source, code, message, request_id, received_at)
           values (?, ?, ?, 'old', 'old', 'r', '2026-01-01T00:00:00.000Z')`,
        ).bind(world.tenant.id, `00000000-0000-7000-8000-${String(i).padStart(12, '0')}`, id),
      ),
    )
    const sent = ofGithub('{"secret":"of the body"}', crypto.randomUUID(), 'another secret')
    await outcome(
      post(`in/${id}`, { ...sent, headers: { ...sent.headers, 'User-Agent': 'GitHub-Hookshot/1' } }),
    )
    const [newest] = await errorsOf(world, id)
    expect(newest).toMatchObject({
      ...{ code: 'invalid_signature', source: id, user_agent: 'GitHub-Hookshot/1' },
      content_type: 'application/json',
    })
    const { results } = await env.DB.prepare('select * from refused_webhooks where tenant_id = ?')
      .bind(world.tenant.id)
      .all()
    expect(results.length).toBe(200)
    expect(JSON.stringify(results)).not.toContain('of the body')
    expect(await incomingEvents(world.tenant.id)).toEqual([])
  })

  it('stands with its event, or neither does', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    const sent = ofGithub('{}')
    await env.DB.exec(
      `create trigger refuse_incoming before insert on events when new.tenant_id = '${world.tenant.id}' begin select raise(abort, 'no'); end`,
    )
    try {
      expect((await outcome(post(`in/${id}`, sent))).status).toBe(500)
    } finally {
      await env.DB.exec('drop trigger refuse_incoming')
    }
    expect(await recordsOf(world.tenant.id, id, sent.headers['X-GitHub-Delivery'] ?? '')).toEqual([])
    const again = await outcome(post(`in/${id}`, sent))
    expect([again.status, again.data.duplicate]).toEqual([200, false])
  })
})
