import { env } from 'cloudflare:workers'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import Stripe from 'stripe'
import { Webhook as SvixWebhook } from 'svix'
import { describe, expect, it, vi } from 'vitest'
import { tenantTables } from '../../src/data/columns'
import { resealAll } from '../../src/data/sealed'
import type { WebhookKey } from '../../src/domains/webhooks/signing-keys/schema'
import { dropEndedKeys } from '../../src/domains/webhooks/signing-keys/service'
import { type Bindings, settingsOf } from '../../src/env'
import { isSealed } from '../../src/lib/crypto'
import { Isolate } from '../identity/isolates'
import type { Seen } from '../receiver/hooks'
import { call, callJson, makeWorld, newAddress, requestContext, type World } from '../world'
import { connect, send, settled } from './deliver'
import { eventually } from './receiver'

type Jwk = { kty: string; crv: string; x: string; kid: string; alg: string; use: string }

const jwksPath = (tenantId: string) => `/.well-known/webhooks/${tenantId}/jwks.json`

async function jwksOf(world: World): Promise<Jwk[]> {
  return ((await (await call('GET', jwksPath(world.tenant.id))).json()) as { keys: Jwk[] }).keys
}

const listed = async (world: World) =>
  (await callJson<WebhookKey[]>('GET', '/api/v1/webhooks/signing-keys', { token: world.viewer.token })).data

const rotate = (world: World, body?: object, token = world.developer.token) =>
  callJson<WebhookKey>('POST', '/api/v1/webhooks/signing-keys/rotate', { token, body })

/** Which of the keys made the signature of what came, by another implementation of Ed25519. */
async function signedBy(keys: Jwk[], { headers, body }: Seen, prefix = 'webhook'): Promise<string[]> {
  const text = `${headers[`${prefix}-id`]}.${headers[`${prefix}-timestamp`]}.${body}`
  const found: string[] = []
  for (const one of headers[`${prefix}-signature`]?.split(' ') ?? []) {
    const [version, signature] = one.split(',')
    if (version !== 'v1a') continue
    for (const jwk of keys) {
      const asked = { method: 'POST', body: JSON.stringify({ jwk, text, signature }) }
      const { genuine } = (await (await fetch(`${env.RECEIVER_URL}/hook/verify`, asked)).json()) as {
        genuine: boolean
      }
      if (genuine) found.push(jwk.kid)
    }
  }
  return found
}

/** One event to an endpoint, as its receiver saw it. */
async function received(world: World, input: Record<string, unknown> = {}) {
  const { receiver, endpoint } = await connect(world, [{}], input)
  const id = await send(world, 'order.shipped', { text: 'grüße 👋' })
  const delivery = await settled(world, endpoint.id, ({ status }) => status === 'delivered')
  const [seen] = await receiver.seen()
  if (!seen) throw new Error('nothing came')
  return { seen, endpoint, id, delivery }
}

describe('the tenant’s own key', { timeout: 20_000 }, () => {
  it('is published before it was ever used, for caches to keep', async () => {
    const world = await makeWorld()
    const answer = await call('GET', jwksPath(world.tenant.id))
    expect(answer.status).toBe(200)
    expect(answer.headers.get('Cache-Control')).toBe('public, max-age=300')
    const keys = await jwksOf(world)
    expect(keys).toEqual([
      { kty: 'OKP', crv: 'Ed25519', x: expect.stringMatching(/^[\w-]{43}$/), ...named(keys) },
    ])
    const [key] = await listed(world)
    expect(key).toEqual({
      ...{ id: keys[0]?.kid, created_at: expect.any(String), signs_until: null },
      public_key: `whpk_${Buffer.from(keys[0]?.x ?? '', 'base64url').toString('base64')}`,
    })
  })

  const named = (keys: Jwk[]) => ({ kid: keys[0]?.kid, alg: 'EdDSA', use: 'sig' })

  it('is another for each tenant, and nobody’s where there is no tenant', async () => {
    const [one, other] = [await makeWorld(), await makeWorld()]
    expect((await jwksOf(one))[0]?.x).not.toBe((await jwksOf(other))[0]?.x)
    const before = await env.DB.prepare('select count(*) as n from webhook_keys').first<number>('n')
    expect((await call('GET', jwksPath(crypto.randomUUID()))).status).toBe(404)
    expect((await call('GET', jwksPath('nobody'))).status).toBe(422)
    expect(await env.DB.prepare('select count(*) as n from webhook_keys').first<number>('n')).toBe(before)
  })

  it('is made once, whoever asks first, and is on record', async () => {
    const world = await makeWorld()
    const isolates = Array.from({ length: 8 }, () => new Isolate())
    const sets = await Promise.all(
      isolates.map(async (isolate) => (await isolate.ask('GET', jwksPath(world.tenant.id), {})).text()),
    )
    expect(new Set(sets).size).toBe(1)
    const rows = await env.DB.prepare(
      `select action, resource_id from audit_log where tenant_id = ? and resource = 'webhook_key'`,
    )
      .bind(world.tenant.id)
      .all()
    expect(rows.results).toEqual([
      { action: 'webhook_key.create', resource_id: (await jwksOf(world))[0]?.kid },
    ])
  })

  it('is kept sealed, and its private half is in no answer', async () => {
    const world = await makeWorld()
    await listed(world)
    const sealed = await env.DB.prepare('select private_sealed from webhook_keys where tenant_id = ?')
      .bind(world.tenant.id)
      .first<string>('private_sealed')
    expect(isSealed(sealed ?? '')).toBe(true)
    for (const text of [JSON.stringify(await jwksOf(world)), JSON.stringify(await listed(world))])
      expect(text).not.toMatch(/"d"|private|sealed/)
  })

  it('is sealed anew under another master key, and signs as before', async () => {
    const world = await makeWorld()
    const [key] = await jwksOf(world)
    const bindings = env as unknown as Bindings
    const { MASTER_KEY } = settingsOf(bindings)
    const another = 'another master key, of thirty-two characters and more'
    const sealed = () =>
      env.DB.prepare('select private_sealed from webhook_keys where tenant_id = ?')
        .bind(world.tenant.id)
        .first<string>('private_sealed')
    const before = await sealed()
    await resealAll(bindings, { MASTER_KEY: another, MASTER_KEY_PREVIOUS: [MASTER_KEY] })
    expect(await sealed()).not.toBe(before)
    // Back again, for the tests beside this one.
    await resealAll(bindings, { MASTER_KEY, MASTER_KEY_PREVIOUS: [another] })
    const { seen } = await received(world)
    expect(await signedBy(key ? [key] : [], seen)).toEqual([key?.kid])
  })

  it('goes with its tenant’s rows', () => {
    expect(tenantTables.has('webhook_keys')).toBe(true)
  })

  it('costs no look where it was read within ten seconds', async () => {
    const world = await makeWorld()
    const isolate = new Isolate()
    const ask = () => isolate.ask('GET', jwksPath(world.tenant.id), {})
    await ask()
    isolate.calls.length = 0
    for (let n = 0; n < 5; n++) expect((await ask()).status).toBe(200)
    expect(isolate.calls.filter((name) => name.startsWith('DB.'))).toEqual([])
  })

  it('is not counted against any limit', async () => {
    const world = await makeWorld()
    const headers = { 'CF-Connecting-IP': '198.51.100.9' }
    const answers = await Promise.all(
      Array.from({ length: 150 }, () => call('GET', jwksPath(world.tenant.id), { headers })),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
  })
})

describe('who asks for the keys of tenants that there are not', { timeout: 30_000 }, () => {
  it('is looked for a hundred times a minute, and goes on getting those that are remembered', async () => {
    const world = await makeWorld()
    const isolate = new Isolate()
    const headers = { 'CF-Connecting-IP': newAddress() }
    const ask = async (tenantId: string = crypto.randomUUID(), from = headers) => {
      const answer = await isolate.ask('GET', jwksPath(tenantId), { headers: from })
      await answer.text()
      return answer
    }
    expect((await ask(world.tenant.id)).status).toBe(200)
    const seen: Record<number, number> = {}
    for (let n = 0; n < 110; n++) {
      const { status } = await ask()
      seen[status] = (seen[status] ?? 0) + 1
    }
    expect(seen).toEqual({ 404: 100, 429: 10 })
    isolate.calls.length = 0
    const refused = await ask()
    expect([refused.status, Number(refused.headers.get('Retry-After')) > 0]).toEqual([429, true])
    expect(isolate.calls.filter((name) => name.startsWith('DB.'))).toEqual([])
    expect((await ask(world.tenant.id)).status).toBe(200)
    // Its window is its own, and nobody else’s.
    expect((await isolate.ask('GET', '/openapi.json', { headers })).status).toBe(200)
    const other = { 'CF-Connecting-IP': newAddress() }
    expect((await ask((await makeWorld()).tenant.id, other)).status).toBe(200)
    expect((await ask(crypto.randomUUID(), other)).status).toBe(404)
  })
})

describe('a signature v1a', { timeout: 20_000 }, () => {
  it('verifies by the published key, in another implementation, beside v1', async () => {
    const world = await makeWorld()
    const { seen, endpoint } = await received(world)
    expect(seen.headers['webhook-signature']).toMatch(/^v1,[A-Za-z0-9+/]{43}= v1a,[A-Za-z0-9+/]{86}==$/)
    const keys = await jwksOf(world)
    expect(await signedBy(keys, seen)).toEqual([keys[0]?.kid])
    const forged = { ...seen, body: seen.body.replace('grüße', 'gruesse') }
    expect(await signedBy(keys, forged)).toEqual([])
    const later = {
      ...seen.headers,
      'webhook-timestamp': String(Number(seen.headers['webhook-timestamp']) + 1),
    }
    expect(await signedBy(keys, { ...seen, headers: later })).toEqual([])
    expect(await signedBy(await jwksOf(await makeWorld()), seen)).toEqual([])
    // The libraries step over what they do not know.
    expect(new StandardWebhook(endpoint.secret).verify(seen.body, seen.headers)).toEqual(
      JSON.parse(seen.body),
    )
  })

  it('is in the log as it was sent', async () => {
    const world = await makeWorld()
    const { seen, delivery } = await received(world)
    expect(delivery.attempts[0]?.request_headers['webhook-signature']).toBe(seen.headers['webhook-signature'])
  })
})

describe('the rotation of the key', { timeout: 20_000 }, () => {
  it('lets both sign for the overlap, and publishes both', async () => {
    const world = await makeWorld()
    const [before] = await jwksOf(world)
    const made = await rotate(world, { overlap_seconds: 600 })
    expect(made.status).toBe(201)
    expect(made.data).toMatchObject({ public_key: expect.stringMatching(/^whpk_/), signs_until: null })
    const keys = await jwksOf(world)
    expect(keys.map(({ kid }) => kid)).toEqual([made.data.id, before?.kid])
    const [, old] = await listed(world)
    const ends = Date.parse(old?.signs_until ?? '') - Date.now()
    expect(ends).toBeGreaterThan(590_000)
    expect(ends).toBeLessThanOrEqual(600_000)
    const { seen } = await received(world)
    expect(await signedBy(keys, seen)).toEqual([made.data.id, before?.kid])
    // Who keeps what was published before refuses nothing.
    expect(await signedBy(before ? [before] : [], seen)).toEqual([before?.kid])
  })

  it('takes a day without a body, and a week at most', async () => {
    const world = await makeWorld()
    await listed(world)
    expect((await rotate(world)).status).toBe(201)
    const [, old] = await listed(world)
    expect(Date.parse(old?.signs_until ?? '') - Date.now()).toBeGreaterThan(86_390_000)
    for (const overlap_seconds of [-1, 604_801, 1.5, '60']) {
      const refused = await rotate(world, { overlap_seconds })
      expect(refused.status).toBe(422)
      expect(Object.keys(refused.error.details.fields ?? {})).toEqual(['overlap_seconds'])
    }
    expect(await listed(world)).toHaveLength(2)
  })

  it('without an overlap ends every key before at once, one in its overlap too', async () => {
    const world = await makeWorld()
    await listed(world)
    await rotate(world)
    const made = await rotate(world, { overlap_seconds: 0 })
    expect((await listed(world)).map(({ id }) => id)).toEqual([made.data.id])
    const { seen } = await received(world)
    expect(seen.headers['webhook-signature']?.match(/v1a,/g)).toHaveLength(1)
    expect(await signedBy(await jwksOf(world), seen)).toEqual([made.data.id])
    const rows = await env.DB.prepare('select count(*) as n from webhook_keys where tenant_id = ?')
      .bind(world.tenant.id)
      .first<number>('n')
    expect(rows).toBe(1)
  })

  it('publishes no key whose time is over, remembered or not', async () => {
    const world = await makeWorld()
    await listed(world)
    const made = await rotate(world, { overlap_seconds: 3 })
    expect(await jwksOf(world)).toHaveLength(2)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_001, shouldAdvanceTime: true })
    try {
      expect((await jwksOf(world)).map(({ kid }) => kid)).toEqual([made.data.id])
    } finally {
      vi.useRealTimers()
    }
  })

  it('is known in the other isolates within ten seconds, an endpoint’s object too', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    await send(world)
    await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    // The endpoint's object remembers for itself, and opened its endpoint before.
    const made = await rotate(world)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 10_001, shouldAdvanceTime: true })
    try {
      await send(world)
      const second = await eventually(async () => (await receiver.seen())[1])
      expect(await signedBy(await jwksOf(world), second)).toContain(made.data.id)
    } finally {
      vi.useRealTimers()
    }
  })

  it('is refused while ten sign', async () => {
    const world = await makeWorld()
    await listed(world)
    for (let n = 1; n < 10; n++) expect((await rotate(world)).status).toBe(201)
    const refused = await rotate(world)
    expect([refused.status, refused.error.code]).toEqual([409, 'conflict'])
    expect(await listed(world)).toHaveLength(10)
    expect((await listed(world)).filter(({ signs_until }) => signs_until === null)).toHaveLength(1)
    expect((await rotate(world, { overlap_seconds: 0 })).status).toBe(201)
    expect(await listed(world)).toHaveLength(1)
  })

  it('leaves no key behind when its time is over', async () => {
    const world = await makeWorld()
    await listed(world)
    await rotate(world, { overlap_seconds: 60 })
    await dropEndedKeys({ ...world.ctx, ...requestContext({ now: Date.now() + 30_000 }) })
    const count = () =>
      env.DB.prepare('select count(*) as n from webhook_keys where tenant_id = ?')
        .bind(world.tenant.id)
        .first<number>('n')
    expect(await count()).toBe(2)
    await dropEndedKeys({ ...world.ctx, ...requestContext({ now: Date.now() + 61_000 }) })
    expect(await count()).toBe(1)
  })

  it('is for who may have the secrets', async () => {
    const world = await makeWorld()
    for (const person of [world.viewer, world.member])
      expect((await rotate(world, {}, person.token)).status).toBe(403)
    expect((await call('POST', '/api/v1/webhooks/signing-keys/rotate')).status).toBe(401)
    expect(await listed(world)).toHaveLength(1)
  })
})

describe('a signature’s profile', { timeout: 20_000 }, () => {
  it('svix: its own library verifies what came', async () => {
    const world = await makeWorld()
    const { seen, endpoint, id } = await received(world, { signature_profile: 'svix' })
    expect(seen.headers['svix-id']).toBe(id)
    expect(Object.keys(seen.headers).filter((name) => /^webhook-(?!attempt)/.test(name))).toEqual([])
    expect(seen.headers['webhook-attempt']).toBe('1')
    // It answers with nothing, or throws.
    expect(() => new SvixWebhook(endpoint.secret).verify(seen.body, seen.headers)).not.toThrow()
    expect(() => new SvixWebhook(endpoint.secret).verify(`${seen.body} `, seen.headers)).toThrow()
    const keys = await jwksOf(world)
    expect(await signedBy(keys, seen, 'svix')).toEqual([keys[0]?.kid])
  })

  it('stripe: its own library verifies what came', async () => {
    const world = await makeWorld()
    const { seen, endpoint, id } = await received(world, { signature_profile: 'stripe' })
    const header = seen.headers['stripe-signature'] ?? ''
    expect(header).toMatch(/^t=\d{10},v1=[0-9a-f]{64}$/)
    expect(seen.headers['webhook-id']).toBe(id)
    expect(seen.headers['webhook-signature']).toBeUndefined()
    const { webhooks } = new Stripe('sk_test_of_nobody')
    const event = await webhooks.constructEventAsync(seen.body, header, endpoint.secret)
    expect(event).toMatchObject({ id, type: 'order.shipped', data: { text: 'grüße 👋' } })
    await expect(webhooks.constructEventAsync(`${seen.body} `, header, endpoint.secret)).rejects.toThrow()
    await expect(webhooks.constructEventAsync(seen.body, header, 'whsec_another')).rejects.toThrow()
  })

  it('standard: the library of Standard Webhooks verifies what came', async () => {
    const world = await makeWorld()
    const { seen, endpoint, id } = await received(world)
    expect(new StandardWebhook(endpoint.secret).verify(seen.body, seen.headers)).toMatchObject({ id })
    expect(seen.headers['svix-signature'] ?? seen.headers['stripe-signature']).toBeUndefined()
  })

  it('can be changed, and what is under way follows', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    const path = `/api/v1/webhooks/${endpoint.id}`
    const changed = await callJson<{ signature_profile: string }>('PATCH', path, {
      ...{ token: world.developer.token, body: { signature_profile: 'svix' } },
    })
    expect(changed.data.signature_profile).toBe('svix')
    await send(world)
    await settled(world, endpoint.id)
    const [seen] = await receiver.seen()
    expect(() => new SvixWebhook(endpoint.secret).verify(seen?.body ?? '', seen?.headers ?? {})).not.toThrow()
    const refused = await callJson('PATCH', path, {
      ...{ token: world.developer.token, body: { signature_profile: 'github' } },
    })
    expect(refused.error.details.fields).toEqual({ signature_profile: 'must be standard, svix or stripe' })
  })

  it('is that of a test delivery too', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}], { signature_profile: 'stripe' })
    await callJson('POST', `/api/v1/webhooks/${endpoint.id}/test`, {
      ...{ token: world.developer.token, body: {} },
    })
    const [seen] = await receiver.seen()
    const { webhooks } = new Stripe('sk_test_of_nobody')
    const header = seen?.headers['stripe-signature'] ?? ''
    const event = await webhooks.constructEventAsync(seen?.body ?? '', header, endpoint.secret)
    expect(event).toMatchObject({ type: 'order.shipped' })
  })
})
