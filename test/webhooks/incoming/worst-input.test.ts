import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { retainTenant } from '../../../src/domains/webhooks/retention/service'
import { newId } from '../../../src/lib/ids'
import { Isolate } from '../../identity/isolates'
import { call, callJson, makeWorld } from '../../world'
import {
  hmacOf,
  incomingEvents,
  makeSource,
  ofGithub,
  ofStripe,
  outcome,
  post,
  recordsOf,
  remember,
  SECRET,
} from './kit'

const form = { 'Content-Type': 'application/x-www-form-urlencoded' }

/** Nearly 1 MiB of fields, each of another name. */
const MANY = Array.from({ length: 170_000 }, (_, i) => `${i.toString(36)}=`).join('&')

describe('a form of as many fields as there is room for', { timeout: 60_000 }, () => {
  it('is refused as fast as any other where nobody signed it', async () => {
    const id = await makeSource(await makeWorld(), { kind: 'twilio' })
    const started = Date.now()
    const { code } = await outcome(
      post(`in/${id}`, { body: MANY, headers: { ...form, 'X-Twilio-Signature': 'AAAA' } }),
    )
    expect(code).toBe('invalid_signature')
    expect(Date.now() - started).toBeLessThan(4_000)
  })

  it('and taken in as fast where its source did, the values of one name in their order', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'hmac', hmac: {} })
    const signed = (body: string) =>
      post(`in/${id}`, {
        body,
        headers: { ...form, 'X-Signature': hmacOf('sha256', SECRET, body).digest('hex') },
      })
    const started = Date.now()
    expect((await outcome(signed(MANY))).status).toBe(200)
    expect(Date.now() - started).toBeLessThan(4_000)
    for (const body of ['b=2&a=x&b=1&__proto__=y', 'payload={"n":1}', 'payload={}&payload=x', 'payload=1&a='])
      expect((await outcome(signed(body))).status).toBe(200)
    const [, ...events] = await incomingEvents(world.tenant.id)
    expect(events.map(({ data }) => data?.replace(/^.*?"payload":(.*),"payload_omitted".*/, '$1'))).toEqual([
      '{"b":["2","1"],"a":"x","__proto__":"y"}',
      '{"n":1}',
      '{"payload":["{}","x"]}',
      '{"payload":"1","a":""}',
    ])
  })
})

it('what a header calls a webhook is kept as far as what a body may', { timeout: 30_000 }, async () => {
  const world = await makeWorld()
  const [github, shopify, hmac] = [
    await makeSource(world, { kind: 'github' }),
    await makeSource(world, { kind: 'shopify' }),
    await makeSource(world, { kind: 'hmac', hmac: { type_header: 'X-Type', encoding: 'base64' } }),
  ]
  const long = 'x'.repeat(8_000)
  const mac = hmacOf('sha256', SECRET, '{}').digest('base64')
  const sent = ofGithub('{}')
  for (const [id, headers] of [
    [github, { ...sent.headers, 'X-GitHub-Event': long }],
    [shopify, { 'X-Shopify-Topic': long, 'X-Shopify-Event-Id': '1', 'X-Shopify-Hmac-Sha256': mac }],
    [hmac, { 'X-Type': long, 'X-Signature': mac }],
  ] as const)
    expect([id, (await outcome(post(`in/${id}`, { body: '{}', headers }))).status]).toEqual([id, 200])
  const { data } = await callJson<{ type: string; key: string }[]>('GET', '/api/v1/webhooks/received', {
    token: world.admin.token,
  })
  expect(data.map(({ type }) => type.length)).toEqual([255, 255, 255])
  expect(Math.max(...data.map(({ key }) => key.length))).toBeLessThan(520)
})

describe('the log of a source', { timeout: 30_000 }, () => {
  it('is its own: how much another was refused moves nothing of it', async () => {
    const world = await makeWorld()
    const [quiet, loud] = [
      await makeSource(world, { kind: 'github' }),
      await makeSource(world, { kind: 'github' }),
    ]
    await outcome(post(`in/${quiet}`, { body: '{}', headers: {} }))
    await env.DB.batch(
      Array.from({ length: 200 }, () =>
        env.DB.prepare(
          `insert into refused_webhooks (tenant_id, id, source, code, message, request_id, received_at)
           values (?, ?, ?, 'x', 'x', 'r', '2026-01-01T00:00:00.000Z')`,
        ).bind(world.tenant.id, newId(Date.now() + 1_000), loud),
      ),
    )
    await outcome(post(`in/${loud}`, { body: '{}', headers: {} }))
    await outcome(post(`in/${quiet}`, ofGithub('{}', 'x', 'another secret')))
    const path = `/api/v1/webhooks/sources/${quiet}/errors`
    const { data } = await callJson<{ code: string }[]>('GET', path, { token: world.admin.token })
    expect(data.map(({ code }) => code)).toEqual(['invalid_signature', 'signature_required'])
  })
})

describe('what came in', { timeout: 30_000 }, () => {
  it('is shown as it came, numbers that a double can’t hold too, from the event or beside it', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    for (const more of ['', 'x'.repeat(300_000)]) {
      const body = `{"id":820982911946154508,"price":1.10,"far":1e999,"__proto__":{"a":[1E2]},"more":"${more}"}`
      const { data } = await outcome(post(`in/${id}`, ofGithub(body)))
      const path = `/api/v1/webhooks/received/${data.id}`
      const text = await (await call('GET', path, { token: world.admin.token })).text()
      expect([more.length, text.includes(`"payload":${body}`)]).toEqual([more.length, true])
    }
  })

  it('is not said to be gone while it can only not be read just now', async () => {
    const world = await makeWorld()
    const { token } = world.admin
    const id = await makeSource(world, { kind: 'github' })
    const away = { get: () => Promise.reject(new Error('away')) }
    const isolate = new Isolate({ FILES: away })
    // Beside its event's row, and without an event.
    for (const size of [20_000, 300_000]) {
      const { data } = await outcome(post(`in/${id}`, ofGithub(JSON.stringify({ text: 'x'.repeat(size) }))))
      const path = `/api/v1/webhooks/received/${data.id}`
      expect([size, (await outcome(isolate.ask('GET', path, { token }))).status]).toEqual([size, 500])
      const again = await callJson<{ payload: { text: string } }>('GET', path, { token })
      expect(again.data.payload.text).toHaveLength(size)
    }
  })

  it('and was put away for a commit that failed goes when its time is over', async () => {
    const world = await makeWorld()
    const id = await makeSource(world, { kind: 'github' })
    const sent = ofGithub(JSON.stringify({ text: 'x'.repeat(300_000) }))
    await env.DB.exec(
      `create trigger refuse_large before insert on events when new.tenant_id = '${world.tenant.id}' begin select raise(abort, 'no'); end`,
    )
    try {
      expect((await outcome(post(`in/${id}`, sent))).status).toBe(500)
    } finally {
      await env.DB.exec('drop trigger refuse_large')
    }
    expect((await outcome(post(`in/${id}`, sent))).status).toBe(200)
    const kept = async () =>
      (await env.FILES.list({ prefix: `${world.tenant.id}/incoming/` })).objects.map(({ key }) => key)
    expect(await kept()).toHaveLength(2)
    const [record] = await recordsOf(world.tenant.id, id, sent.headers['X-GitHub-Delivery'] ?? '')
    // At three in the morning, some days later.
    const at = (days: number) => new Date(Date.now() + days * 24 * 3600_000).setUTCHours(3)
    const settings = { ...world.ctx.tenant.settings, payload_retention_days: 30, metadata_retention_days: 90 }
    const later = (days: number) => ({
      ...world.ctx,
      tenant: { ...world.ctx.tenant, settings },
      now: at(days),
    })
    await retainTenant(later(28))
    expect(await kept()).toContain(record?.body_key)
    expect(await kept()).toHaveLength(2)
    await retainTenant(later(32))
    expect(await kept()).toEqual([])
  })
})

it('a service that is for one tenant takes nothing in for another', { timeout: 30_000 }, async () => {
  const [world, other] = [await makeWorld(), await makeWorld()]
  const id = await makeSource(world, { kind: 'github' })
  const reference = `cs_${crypto.randomUUID()}`
  await remember(world, 'stripe', reference)
  const statuses = async (single: string) => {
    const isolate = new Isolate({ SINGLE_TENANT_ID: single } as object)
    const event = { id: `evt_${crypto.randomUUID()}`, type: 'x', data: { object: { id: reference } } }
    const { headers } = ofStripe(event)
    const sent = ofGithub('{}')
    return [
      (await outcome(isolate.ask('POST', `/api/v1/webhooks/in/${id}`, { body: {}, headers: sent.headers })))
        .status,
      (await outcome(isolate.ask('POST', '/api/v1/webhooks/stripe', { body: event, headers }))).status,
    ]
  }
  expect(await statuses(other.tenant.id)).toEqual([403, 202])
  expect(await incomingEvents(world.tenant.id)).toEqual([])
  expect(await statuses(world.tenant.id)).toEqual([200, 200])
})

it('Twilio may have the service under its public name, or under the one that was asked', async () => {
  const id = await makeSource(await makeWorld(), { kind: 'twilio' })
  const isolate = new Isolate({ PUBLIC_URL: 'https://hooks.example.com' } as object)
  const path = `/api/v1/webhooks/in/${id}`
  const send = async (url: string) => {
    const headers = { 'X-Twilio-Signature': hmacOf('sha1', SECRET, url).digest('base64') }
    return (await outcome(isolate.ask('POST', path + new URL(url).search, { headers }))).code ?? 'taken'
  }
  for (const name of ['https://hooks.example.com', 'https://hooks.example.com:443', 'http://localhost:8787'])
    expect([name, await send(name + path)]).toEqual([name, 'taken'])
  expect(await send(`http://localhost:8787${path}?a=%20&b='c'`)).toBe('taken')
  for (const name of ['http://hooks.example.com', 'https://hooks.example.com:8443', 'https://localhost:8787'])
    expect([name, await send(name + path)]).toEqual([name, 'invalid_signature'])
})
