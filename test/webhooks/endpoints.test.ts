import { env } from 'cloudflare:workers'
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import type { Endpoint, TestResult } from '../../src/domains/webhooks/endpoints/schema'
import { call, callJson, makeWorld, type World } from '../world'
import { connect, deliveriesOf, makeEndpoint, send, settled } from './deliver'
import { eventually, makeReceiver } from './receiver'

type Created = Endpoint & { secret: string }
const URL = 'https://example.com/hook'

const as = (world: World, method: string, path: string, body?: unknown, headers = {}) =>
  callJson<Created>(method, `/api/v1/webhooks${path}`, { token: world.developer.token, body, headers })

const audits = async (world: World) => {
  const { results } = await env.DB.prepare('select action, before, after from audit_log where tenant_id = ?')
    .bind(world.tenant.id)
    .all<{ action: string; before: string | null; after: string | null }>()
  return results.filter(({ action }) => action.startsWith('endpoint.'))
}

describe('an endpoint', { timeout: 20_000 }, () => {
  it('is made from a url and event types alone, and shows its secret once', async () => {
    const world = await makeWorld()
    const made = await as(world, 'POST', '', { url: URL, event_types: ['interaction.created'] })
    expect(made.status).toBe(201)
    expect(made.headers.get('Location')).toBe(`/api/v1/webhooks/${made.data.id}`)
    const { secret, ...endpoint } = made.data
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
    expect(endpoint).toEqual({
      ...{ id: expect.any(String), tenant_id: world.tenant.id, uid: null, url: URL, description: '' },
      ...{ event_types: ['interaction.created'], channels: [], filter: null, payload: 'event', headers: {} },
      signature_profile: 'standard',
      ...{ application_id: null, rate_limit: null, ordered: false, retry_schedule: null },
      ...{ timeout_ms: 10_000, status: 'active' },
      ...{ created_at: expect.any(String), updated_at: expect.any(String) },
    })
    const read = await as(world, 'GET', `/${endpoint.id}`)
    expect(read.data).toEqual(endpoint)
    expect(read.headers.get('ETag')).toBe('"v1"')
    const stored = await env.DB.prepare('select secrets from endpoints where id = ?')
      .bind(endpoint.id)
      .first()
    expect(JSON.stringify(stored)).not.toContain(secret.slice(6))
  })

  it('is listed newest first, by status and uid, page by page', async () => {
    const world = await makeWorld()
    const ids: string[] = []
    for (const uid of ['a', 'b', 'c']) ids.unshift((await makeEndpoint(world, { url: URL, uid })).id)
    await as(world, 'POST', `/${ids[1]}/pause`)
    const list = async (query: string) =>
      (await callJson<Endpoint[]>('GET', `/api/v1/webhooks?${query}`, { key: world.apiKey })).data.map(
        ({ id }) => id,
      )
    expect(await list('')).toEqual(ids)
    expect(await list('status=paused')).toEqual([ids[1]])
    expect(await list('uid=a')).toEqual([ids[2]])
    const first = await callJson<Endpoint[]>('GET', '/api/v1/webhooks?limit=2', { key: world.apiKey })
    expect(first.data.map(({ id }) => id)).toEqual(ids.slice(0, 2))
    expect(await list(`limit=2&cursor=${first.meta.next_cursor}`)).toEqual(ids.slice(2))
    const foreign = await callJson('GET', `/api/v1/events?cursor=${first.meta.next_cursor}`, {
      key: world.apiKey,
    })
    expect(foreign.status).toBe(422)
  })

  it('changes field by field, under If-Match', async () => {
    const world = await makeWorld()
    const { id } = await makeEndpoint(world, { url: URL, description: 'before' })
    const changed = await as(world, 'PATCH', `/${id}`, { description: 'after' }, { 'If-Match': '"v1"' })
    expect(changed.data).toMatchObject({ description: 'after', url: URL })
    expect(changed.headers.get('ETag')).toBe('"v2"')
    const stale = await as(world, 'PATCH', `/${id}`, { description: 'late' }, { 'If-Match': '"v1"' })
    expect(stale.status).toBe(412)
  })

  it('shows its secret again to whoever may see it, and says so in the audit log', async () => {
    const world = await makeWorld()
    const { id, secret } = await makeEndpoint(world, { url: URL })
    expect((await as(world, 'GET', `/${id}/secret`)).data).toEqual({ secret })
    expect((await audits(world)).map(({ action }) => action)).toEqual([
      'endpoint.create',
      'endpoint.read_secret',
    ])
    const refused = await callJson('GET', `/api/v1/webhooks/${id}/secret`, { token: world.viewer.token })
    expect(refused.error).toMatchObject({
      code: 'insufficient_scope',
      details: { missing: 'webhooks:secret' },
    })
    expect(JSON.stringify(await audits(world))).not.toContain(secret)
  })

  it('seals header values that may be credentials, and keeps a masked one that is sent back', async () => {
    const world = await makeWorld()
    const headers = { Authorization: 'Bearer very-hidden', 'X-Environment': 'test' }
    const { receiver, endpoint } = await connect(world, [{}], { headers })
    const masked = { Authorization: '********', 'X-Environment': 'test' }
    expect(endpoint.headers).toEqual(masked)
    const row = await env.DB.prepare('select * from endpoints where id = ?').bind(endpoint.id).first()
    expect(JSON.stringify(row)).not.toContain('very-hidden')
    const changed = await as(world, 'PATCH', `/${endpoint.id}`, { headers: { ...masked, 'X-More': '1' } })
    expect(changed.data.headers).toEqual({ ...masked, 'X-More': '1' })
    await send(world)
    await settled(world, endpoint.id)
    const [seen] = await receiver.seen()
    expect(seen?.headers).toMatchObject({ authorization: 'Bearer very-hidden', 'x-more': '1' })
    expect(JSON.stringify(await audits(world))).not.toContain('very-hidden')
  })

  it('leads no credential to another host for who does not know it', async () => {
    const world = await makeWorld()
    const headers = { Authorization: 'Bearer very-hidden', 'X-Environment': 'test' }
    const { id } = await makeEndpoint(world, { url: URL, uid: 'led', headers })
    const elsewhere = 'https://example.org/hook'
    const masked = { ...headers, Authorization: '********' }
    for (const body of [{ url: elsewhere }, { url: elsewhere, headers: masked }]) {
      const refused = await as(world, 'PATCH', `/${id}`, body)
      expect([refused.status, refused.error.details.fields]).toEqual([
        422,
        { 'headers.Authorization': 'must be sent again, since the url leads to another host' },
      ])
    }
    const byUid = await as(world, 'PUT', '/by-uid/led', { url: elsewhere, event_types: ['*'] })
    expect(byUid.status).toBe(422)
    expect((await as(world, 'PATCH', `/${id}`, { url: 'https://example.com/other' })).status).toBe(200)
    expect((await as(world, 'PATCH', `/${id}`, { url: elsewhere, headers })).data.headers).toEqual(masked)
    const without = await as(world, 'PATCH', `/${id}`, { url: URL, headers: { 'X-Environment': 'test' } })
    expect(without.status).toBe(200)
  })

  it('answers a repeated idempotent request with the same endpoint and secret', async () => {
    const world = await makeWorld()
    const create = () =>
      as(world, 'POST', '', { url: URL, event_types: ['*'] }, { 'Idempotency-Key': 'once' })
    const first = await create()
    const again = await create()
    expect(again.data).toEqual(first.data)
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    const update = () =>
      as(world, 'PATCH', `/${first.data.id}`, { headers: { Cookie: 'x' } }, { 'Idempotency-Key': '2' })
    expect((await update()).status).toBe(200)
    expect((await update()).data.headers).toEqual({ Cookie: '********' })
    const stored = await env.DB.prepare('select body from idempotency_keys where tenant_id = ?')
      .bind(world.tenant.id)
      .all()
    expect(JSON.stringify(stored.results)).not.toContain(first.data.secret)
  })

  it('takes another id where the last digits of one are taken', async () => {
    const world = await makeWorld()
    const first = await makeEndpoint(world, { url: URL })
    // What the next id will end in is decided by its last random bytes.
    const random = crypto.getRandomValues.bind(crypto)
    let left = 1
    crypto.getRandomValues = ((array: Uint8Array) => {
      random(array)
      const tail = first.id.slice(-6)
      if (array.length === 16 && left-- > 0)
        for (let i = 0; i < 3; i++) array[13 + i] = Number.parseInt(tail.slice(2 * i, 2 * i + 2), 16)
      return array
    }) as never
    const second = await makeEndpoint(world, { url: URL }).finally(() => {
      crypto.getRandomValues = random
    })
    expect(left).toBeLessThan(1)
    expect(second.id.slice(-6)).not.toBe(first.id.slice(-6))
  })
})

describe('an endpoint that is tested', { timeout: 20_000 }, () => {
  it('is sent a signed sample, and the answer is shown; nothing is kept of it', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 418, body: 'teapot' }], {
      event_types: ['chat.*'],
    })
    const tested = await callJson<TestResult>('POST', `/api/v1/webhooks/${endpoint.id}/test`, {
      token: world.developer.token,
      body: {},
    })
    expect(tested.status).toBe(200)
    expect(tested.data).toMatchObject({
      ...{ event_type: 'chat.created', delivered: false },
      attempt: { response_status: 418, response_body: 'teapot', error: 'status: answered 418' },
    })
    const [seen] = await receiver.seen()
    const event = new Webhook(endpoint.secret).verify(seen?.body ?? '', seen?.headers ?? {})
    expect(event).toMatchObject({ id: tested.data.event_id, type: 'chat.created', data: { title: null } })
    expect(await deliveriesOf(world)).toEqual([])

    await receiver.plan({})
    const own = await callJson<TestResult>('POST', `/api/v1/webhooks/${endpoint.id}/test`, {
      token: world.developer.token,
      body: { type: 'interaction.created' },
    })
    expect(own.data).toMatchObject({ delivered: true, event_type: 'interaction.created' })
  })
})

describe('an endpoint that is paused', { timeout: 20_000 }, () => {
  it('holds its events, and sends them when it is enabled', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{}])
    expect((await as(world, 'POST', `/${endpoint.id}/pause`)).data.status).toBe('paused')
    await send(world, 'order.shipped', { n: 1 })
    await send(world, 'order.shipped', { n: 2 })
    const held = await eventually(async () => {
      const rows = await deliveriesOf(world, `endpoint_id=${endpoint.id}&status=held`)
      return rows.length === 2 && rows
    })
    expect(held[0]).toMatchObject({ next_attempt_at: null, attempt_count: 0 })
    expect(await receiver.seen()).toEqual([])
    expect((await as(world, 'POST', `/${endpoint.id}/enable`)).data.status).toBe('active')
    await eventually(async () => (await receiver.seen()).length === 2)
    await eventually(async () => (await deliveriesOf(world, 'status=delivered')).length === 2)
  })

  it('holds what was about to be tried again, too', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }, {}])
    await send(world)
    await settled(world, endpoint.id, (one) => one.attempt_count === 1 && one.next_attempt_at !== null)
    await as(world, 'PATCH', `/${endpoint.id}`, { status: 'paused' })
    expect((await deliveriesOf(world, 'status=held')).length).toBe(1)
    await as(world, 'PATCH', `/${endpoint.id}`, { status: 'active' })
    await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    expect(await receiver.seen()).toHaveLength(2)
  })
})

describe('an endpoint that is deleted', { timeout: 20_000 }, () => {
  it('gets nothing more; what was under way is cancelled and can still be read', async () => {
    const world = await makeWorld()
    const { receiver, endpoint } = await connect(world, [{ status: 500 }])
    await send(world)
    const { id } = await settled(
      world,
      endpoint.id,
      (one) => one.next_attempt_at !== null && one.attempt_count === 1,
    )
    expect(
      (await call('DELETE', `/api/v1/webhooks/${endpoint.id}`, { token: world.developer.token })).status,
    ).toBe(204)
    expect((await as(world, 'GET', `/${endpoint.id}`)).status).toBe(404)
    await send(world)
    const all = await deliveriesOf(world, '')
    expect(all).toMatchObject([{ id, status: 'cancelled', next_attempt_at: null }])
    const read = await callJson<{ attempts: unknown[] }>('GET', `/api/v1/deliveries/${id}`, {
      key: world.apiKey,
    })
    expect(read.data.attempts).toHaveLength(1)
    const retried = await callJson('POST', `/api/v1/deliveries/${id}/retry`, { key: world.apiKey })
    expect(retried.status).toBe(409)
    expect(retried.error).toMatchObject({
      code: 'delivery_not_retryable',
      details: { endpoint_status: 'deleted' },
    })
    expect(await receiver.seen()).toHaveLength(1)
  })
})

describe('an endpoint by its uid', { timeout: 20_000 }, () => {
  const put = (world: World, uid: string, body: unknown) => as(world, 'PUT', `/by-uid/${uid}`, body)

  it('is made, and changed later with the secret it had', async () => {
    const world = await makeWorld()
    const first = await makeReceiver({})
    const second = await makeReceiver({})
    const body = { event_types: ['order.shipped'], payload: 'data' }
    const made = await put(world, 'client-1', { ...body, url: first.url })
    expect(made.data).toMatchObject({
      uid: 'client-1',
      secret: expect.stringMatching(/^whsec_/),
      payload: 'data',
    })
    const changed = await put(world, 'client-1', { ...body, url: second.url })
    expect(changed.data).toMatchObject({ id: made.data.id, url: second.url })
    expect(changed.data.secret).toBeUndefined()
    await send(world)
    const seen = await eventually(async () => (await second.seen())[0])
    expect(new Webhook(made.data.secret).verify(seen.body, seen.headers)).toEqual({ n: 1 })
    expect(await first.seen()).toEqual([])
    expect((await as(world, 'GET', '/by-uid/client-1')).data.id).toBe(made.data.id)
  })

  it('is one, however many register it at once', async () => {
    const world = await makeWorld()
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => put(world, 'racing', { url: URL, event_types: ['*'] })),
    )
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    expect(new Set(answers.map(({ data }) => data.id)).size).toBe(1)
    expect(answers.filter(({ data }) => data.secret)).toHaveLength(1)
  })

  it('is taken only once by POST, and enabled again by PUT where its receiver had it disabled', async () => {
    const world = await makeWorld()
    const { endpoint } = await connect(world, [{ status: 410 }], { uid: 'x' })
    const again = await as(world, 'POST', '', { url: URL, event_types: ['*'], uid: 'x' })
    expect(again.error.code).toBe('already_exists')
    await send(world)
    await settled(world, endpoint.id, ({ status }) => status === 'failed')
    const body = { url: URL, event_types: ['order.shipped'] }
    expect((await put(world, 'x', body)).data).toMatchObject({ id: endpoint.id, status: 'active' })
    expect((await as(world, 'POST', `/${endpoint.id}/pause`)).status).toBe(200)
    expect((await put(world, 'x', body)).data.status).toBe('paused')
  })

  it('is deleted once', async () => {
    const world = await makeWorld()
    await put(world, 'gone', { url: URL, event_types: ['*'] })
    expect(await as(world, 'DELETE', '/by-uid/gone')).toMatchObject({ status: 200, data: { uid: 'gone' } })
    expect((await as(world, 'DELETE', '/by-uid/gone')).status).toBe(404)
    expect((await as(world, 'GET', '/by-uid/gone')).status).toBe(404)
  })
})

describe('what is refused', { timeout: 20_000 }, () => {
  it.each([
    ['a url at a metadata address', { url: 'http://169.254.169.254/latest' }, 'url'],
    ['a url with a password', { url: 'https://user:pass@example.com/' }, 'url'],
    ['a url that is none', { url: 'example.com' }, 'url'],
    ['a port of a known service', { url: 'https://example.com:5432/' }, 'url'],
    ['no event types', { event_types: [] }, 'event_types'],
    ['a pattern with a star in its middle', { event_types: ['a.*.b'] }, 'event_types.0'],
    ['an unknown status', { status: 'disabled' }, 'status'],
    ['an unknown payload', { payload: 'xml' }, 'payload'],
    ['a uid with a slash', { uid: 'a/b' }, 'uid'],
    ['a time-out of a minute', { timeout_ms: 60_000 }, 'timeout_ms'],
    ['a header of ours', { headers: { 'Webhook-Id': 'x' } }, 'headers.Webhook-Id'],
    ['a content type', { headers: { 'content-type': 'text/plain' } }, 'headers.content-type'],
    [
      'a header of the connection',
      { headers: { 'Transfer-Encoding': 'chunked' } },
      'headers.Transfer-Encoding',
    ],
    ['a host', { headers: { Host: 'internal' } }, 'headers.Host'],
    ['a header of two lines', { headers: { 'X-A': 'a\r\nX-B: b' } }, 'headers.X-A'],
    ['a header twice', { headers: { 'X-A': '1', 'x-a': '2' } }, 'headers.x-a'],
    ['a header name with a space', { headers: { 'X A': '1' } }, 'headers.X A'],
    ['an unknown field', { filters: {} }, 'filters'],
  ])('%s is 422 and names the field', async (_, change, field) => {
    const world = await makeWorld()
    const made = await as(world, 'POST', '', { url: URL, event_types: ['*'], ...change })
    expect(made.status).toBe(422)
    expect(Object.keys(made.error.details.fields ?? {})).toEqual([field])
    const list = await callJson<unknown[]>('GET', '/api/v1/webhooks', { key: world.apiKey })
    expect(list.data).toEqual([])
    const { id } = await makeEndpoint(world, { url: URL })
    const changed = await as(world, 'PATCH', `/${id}`, change)
    expect(Object.keys(changed.error.details.fields ?? {})).toEqual([field])
  })

  it('members may look, not touch', async () => {
    const world = await makeWorld()
    const { id } = await makeEndpoint(world, { url: URL })
    const token = world.member.token
    expect((await call('GET', `/api/v1/webhooks/${id}`, { token })).status).toBe(200)
    for (const [method, path] of [
      ['POST', ''],
      ['PATCH', `/${id}`],
      ['DELETE', `/${id}`],
      ['POST', `/${id}/pause`],
      ['POST', `/${id}/enable`],
      ['POST', `/${id}/test`],
      ['PUT', '/by-uid/x'],
    ] as const)
      expect((await call(method, `/api/v1/webhooks${path}`, { token, body: {} })).status).toBe(403)
  })
})

describe('another tenant', { timeout: 20_000 }, () => {
  it('sees none of it', async () => {
    const mine = await makeWorld()
    const theirs = await makeWorld()
    const { receiver, endpoint } = await connect(mine, [{}], { uid: 'mine' })
    for (const [method, path] of [
      ['GET', ''],
      ['PATCH', ''],
      ['DELETE', ''],
      ['GET', '/secret'],
      ['POST', '/test'],
      ['POST', '/pause'],
      ['POST', '/enable'],
      ['GET', '/deliveries'],
    ] as const)
      expect(
        (await as(theirs, method, `/${endpoint.id}${path}`, method === 'GET' ? undefined : {})).status,
      ).toBe(404)
    expect((await as(theirs, 'GET', '/by-uid/mine')).status).toBe(404)
    await makeEndpoint(theirs, { url: URL, uid: 'mine' })
    await send(theirs)
    const id = await send(mine)
    await settled(mine, endpoint.id)
    expect((await receiver.seen()).map(({ headers }) => headers['webhook-id'])).toEqual([id])
    expect(await deliveriesOf(theirs, `endpoint_id=${endpoint.id}`)).toEqual([])
  })
})
