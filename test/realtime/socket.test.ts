import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { objectName } from '../../src/domains/realtime/channels'
import { Connection } from '../../src/domains/realtime/connection'
import { Isolate } from '../identity/isolates'
import { connect, send } from '../webhooks/deliver'
import { eventually } from '../webhooks/receiver'
import { call, callJson, makePlatformAdmin, makeWorld, type World } from '../world'
import { Client, type Frame } from './socket'

const ids = (frames: Frame[]) => frames.map(({ data }) => data?.event_id)

async function tail(world: World, steps: Parameters<typeof connect>[1] = [{ status: 200 }]) {
  const { endpoint, receiver } = await connect(world, steps)
  return { endpoint, receiver, channel: `deliveries:${endpoint.id}` }
}

describe('a socket', () => {
  it('says who it is for, and answers pings', async () => {
    const world = await makeWorld()
    const client = await Client.open()
    client.send({ type: 'auth', token: `Bearer ${world.developer.token}` })
    expect(await client.next('ready')).toMatchObject({
      principal: { kind: 'user', id: world.developer.user.id },
      tenant_id: world.tenant.id,
    })
    client.send({ type: 'ping' })
    await client.next('pong')
  })

  it.each([
    ['text that is no JSON', 'nonsense', 4400],
    ['a frame of no known type', { type: 'dance' }, 4400],
    ['a field that is not known', { type: 'auth', password: 'x' }, 4400],
    ['a first frame that is not auth', { type: 'ping' }, 4401],
    ['a token that is none', { type: 'auth', token: 'Bearer nonsense' }, 4401],
    ['a token without its scheme', { type: 'auth', token: 'nonsense' }, 4401],
    ['a ticket that is none', { type: 'auth', ticket: 'rt_x' }, 4401],
    ['no credential at all', { type: 'auth' }, 4401],
    ['a frame over 64 KiB', { type: 'auth', token: 'x'.repeat(65_536) }, 4413],
    ['a frame over 64 KiB of other letters', { type: 'auth', token: 'ü'.repeat(32_760) }, 4413],
  ])('is closed after %s', async (_, frame, code) => {
    const client = await Client.open()
    client.send(frame)
    expect(await client.end()).toBe(code)
    expect(client.seen).toEqual([expect.objectContaining({ type: 'error', message: expect.any(String) })])
  })

  it('is for nobody who names another tenant than the credential’s, by header or in the frame', async () => {
    const [world, other] = [await makeWorld(), await makeWorld()]
    const { token } = world.developer
    const ticket = async () =>
      (await callJson<{ ticket: string }>('POST', '/api/v1/realtime/ticket', { token })).data.ticket
    const own = world.tenant.id.toUpperCase()
    for (const [headers, frame] of [
      [{ 'X-Tenant-ID': own }, { token: `Bearer ${token}`, tenant_id: own }],
      [{ 'X-Client-ID': own }, { ticket: await ticket() }],
    ] as [Record<string, string>, object][]) {
      const client = await Client.open(headers)
      client.send({ type: 'auth', ...frame })
      expect((await client.next('ready')).tenant_id).toBe(world.tenant.id)
    }
    for (const [headers, frame] of [
      [{ 'X-Tenant-ID': other.tenant.id }, { token: `Bearer ${token}` }],
      [{ 'X-Client-ID': other.tenant.id }, { token: `Bearer ${token}`, tenant_id: own }],
      [{ 'X-Tenant-ID': other.tenant.id, Authorization: `Bearer ${token}` }, {}],
      [{}, { token: `Bearer ${token}`, tenant_id: other.tenant.id }],
      [{}, { token: `Bearer ${world.apiKey}`, tenant_id: 'acme' }],
      [{}, { ticket: await ticket(), tenant_id: other.tenant.id }],
    ] as [Record<string, string>, object][]) {
      const client = await Client.open(headers)
      client.send({ type: 'auth', ...frame })
      expect((await client.next('error')).code).toBe('tenant_mismatch')
      expect(await client.end()).toBe(4401)
    }
    const headers = { Upgrade: 'websocket', 'X-Tenant-ID': 'acme' }
    expect((await call('GET', '/realtime/ws', { headers })).status).toBe(400)
  })

  it('is told what is wrong with a frame', async () => {
    const client = await Client.of((await makeWorld()).developer.token)
    const id = crypto.randomUUID()
    for (const [frame, message] of [
      [{ type: 'subscribe', channel: 'chats' }, 'channel must be a channel such as deliveries:{endpoint_id}'],
      [{ type: 'subscribe', channel: `chats:${id}`, from: 'e1-4' }, 'from is not a known field'],
      [{ type: 'ack', channel: `chats:${id}` }, 'id must be the id of a frame'],
      [{ type: 'dance' }, 'A frame is {"type": "auth" | "subscribe" | "ack" | "unsubscribe" | "ping", …}'],
    ] as const) {
      client.send(frame)
      expect(await client.next('error')).toMatchObject({ message })
    }
    const refused = await Client.open()
    refused.send({ type: 'auth', [`${'ü'.repeat(200)}`]: 1 })
    expect(await refused.end()).toBe(4400)
    expect(refused.seen).toMatchObject([{ type: 'error', code: 'validation_failed' }])
  })

  it('is closed where more frames wait than are kept', async () => {
    const { 0: client, 1: server } = new WebSocketPair()
    const never = () => new Promise<never>(() => {})
    server.accept()
    const [entered, measure] = [() => {}, () => () => {}]
    new Connection(server, {
      authenticate: never,
      recheck: never,
      entered,
      measure,
      count: never,
      join: never,
    })
    const closed = new Promise<number>((resolve) => {
      client.addEventListener('close', ({ code }) => resolve(code))
    })
    client.accept()
    for (let second = 0; second < 3; second++) {
      for (let i = 0; i < 40; i++) client.send(JSON.stringify({ type: 'auth' }))
      await new Promise((resolve) => setTimeout(resolve, 1_050))
    }
    expect(await closed).toBe(4429)
  })

  it('is refused no more often than it might ask', async () => {
    const { developer } = await makeWorld({ rate_limits: { requests_per_minute: 5 } })
    const client = await Client.of(developer.token)
    const codes: unknown[] = []
    for (let i = 0; i < 6; i++) {
      client.send({ type: 'subscribe', channel: `chats:${crypto.randomUUID()}` })
      codes.push((await client.next('error')).code)
    }
    expect(codes).toContain('not_found')
    expect(codes.at(-1)).toBe('rate_limited')
    expect(client.closed).toBeNull()
  })

  it('is closed after bytes, and after more than fifty frames a second', async () => {
    const bytes = await Client.open()
    bytes.socket.send(new Uint8Array([1]))
    expect(await bytes.end()).toBe(4400)
    const many = await Client.of((await makeWorld()).viewer.token)
    for (let i = 0; i < 60; i++) many.send({ type: 'ping' })
    expect(await many.end()).toBe(4429)
  })

  it('that says nothing for ten seconds is closed', { timeout: 20_000 }, async () => {
    const client = await Client.open()
    expect(await client.end(12_000)).toBe(4408)
  })

  it('stays open after a frame that is refused', async () => {
    const client = await Client.of((await makeWorld()).developer.token)
    for (const frame of ['nonsense', { type: 'auth' }, { type: 'subscribe', channel: 'nothing' }]) {
      client.send(frame)
      await client.next('error')
    }
    client.send({ type: 'subscribe', channel: `weather:${crypto.randomUUID()}` })
    expect(await client.next('error')).toMatchObject({ code: 'not_found' })
    client.send({ type: 'unsubscribe', channel: `deliveries:${crypto.randomUUID()}` })
    expect(await client.next('error')).toMatchObject({ code: 'not_found' })
    expect(client.closed).toBeNull()
  })

  it('needs an upgrade', async () => {
    const { status, error } = await callJson('GET', '/realtime/ws')
    expect([status, error.code]).toEqual([400, 'malformed_header'])
  })
})

describe('who a socket is for', () => {
  it('may be said by a key, by the request’s own header or by its cookie', async () => {
    const world = await makeWorld()
    const { data } = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'tail', scopes: ['deliveries:read'] },
    })
    const byKey = await Client.of(data.key)
    expect(byKey.closed).toBeNull()
    for (const headers of [
      { Authorization: `Bearer ${world.viewer.token}` },
      { Cookie: `access_token=${world.viewer.token}`, Origin: 'http://localhost:8787' },
    ]) {
      const client = await Client.open(headers)
      client.send({ type: 'auth' })
      expect(await client.next('ready')).toMatchObject({ principal: { id: world.viewer.user.id } })
    }
    const foreign = await call('GET', '/realtime/ws', {
      headers: {
        Upgrade: 'websocket',
        Cookie: `access_token=${world.viewer.token}`,
        Origin: 'https://evil.example',
      },
    })
    expect(foreign.status).toBe(403)
  })

  it('is said by a ticket once, and in time', async () => {
    const world = await makeWorld()
    const get = () =>
      callJson<{ ticket: string; expires_at: string }>('POST', '/api/v1/realtime/ticket', {
        token: world.developer.token,
      })
    const { status, data } = await get()
    expect(status).toBe(200)
    const clients = await Promise.all(Array.from({ length: 5 }, () => Client.open()))
    for (const client of clients) client.send({ type: 'auth', ticket: data.ticket })
    await eventually(async () => clients.every(({ seen, closed }) => closed !== null || seen.length > 0))
    expect(clients.filter(({ seen }) => seen[0]?.type === 'ready')).toHaveLength(1)
    // Another tenant's name on it makes it nobody's.
    const other = (await get()).data.ticket.replace(world.tenant.id, (await makeWorld()).tenant.id)
    const thief = await Client.open()
    thief.send({ type: 'auth', ticket: other })
    expect(await thief.end()).toBe(4401)
  })
})

describe('a credential that an isolate took before', () => {
  const ENDS: Record<string, [(world: World) => Promise<unknown>, code: string]> = {
    'the tenant is suspended': [
      async ({ tenant }) => {
        const { token } = await makePlatformAdmin()
        const body = { status: 'suspended' }
        return callJson('PATCH', `/api/platform/tenants/${tenant.id}`, { token, body })
      },
      'tenant_suspended',
    ],
    'the user is suspended': [
      ({ admin, developer }) =>
        callJson('PATCH', `/api/v1/users/${developer.user.id}`, {
          token: admin.token,
          body: { status: 'suspended' },
        }),
      'token_revoked',
    ],
  }
  for (const [name, [end, code]] of Object.entries(ENDS))
    it(`opens no socket there ten seconds after ${name}, though nothing was asked since`, async () => {
      const [world, isolate] = [await makeWorld(), new Isolate()]
      const ask: typeof call = (method, path, init) =>
        isolate.ask(method, path, { headers: init?.headers ?? {} })
      const opened = async () => {
        const client = await Client.open({}, ask)
        client.send({ type: 'auth', token: `Bearer ${world.developer.token}` })
        return eventually(async () => client.seen[0])
      }
      expect((await opened()).type).toBe('ready')
      await end(world)
      vi.useFakeTimers({ toFake: ['Date'] })
      vi.setSystemTime(Date.now() + 11_000)
      expect((await opened()).code).toBe(code)
    })
  afterEach(() => {
    vi.useRealTimers()
  })
})

describe('the live tail of an endpoint', () => {
  it('says how each attempt ended, in order, to all who listen', async () => {
    const world = await makeWorld()
    const { endpoint, channel } = await tail(world, [{ status: 200 }, { status: 410 }])
    const clients = [await Client.of(world.developer.token), await Client.of(world.viewer.token)]
    for (const client of clients) expect((await client.subscribe(channel)).channel).toBe(channel)
    const [one, two] = [await send(world), await send(world)]
    for (const client of clients) {
      const first = await client.next('delivery')
      const second = await client.next('delivery')
      expect(new Set(ids([first, second]))).toEqual(new Set([one, two]))
      expect(first).toMatchObject({
        channel,
        data: {
          endpoint_id: endpoint.id,
          status: 'delivered',
          attempt: { number: 1, response_status: 200, error: null },
        },
      })
      expect(second.data).toMatchObject({
        status: 'failed',
        attempt: { response_status: 410, error: 'gone: answered 410' },
      })
    }
  })

  it('is exact for who comes back within a minute, and says so where it can’t be', async () => {
    const world = await makeWorld()
    const { channel, endpoint } = await tail(world)
    const first = await Client.of(world.developer.token)
    const { id: start } = await first.subscribe(channel)
    const sent = [await send(world)]
    const { id } = await first.next('delivery')
    first.socket.close(1000)
    sent.push(await send(world), await send(world))
    await eventually(async () => {
      const { data } = await callJson<unknown[]>(
        'GET',
        `/api/v1/deliveries?status=delivered&endpoint_id=${endpoint.id}`,
        {
          token: world.developer.token,
        },
      )
      return data.length === 3
    })
    // The object's sleep loses nothing.
    await evictDurableObject(env.REALTIME.getByName(objectName(world.tenant.id, channel)))
    const second = await Client.of(world.developer.token)
    expect(await second.subscribe(channel, id)).toMatchObject({ resumed: true })
    const missed = [await second.next('delivery'), await second.next('delivery')]
    expect(new Set(ids(missed))).toEqual(new Set(sent.slice(1)))
    const third = await Client.of(world.developer.token)
    expect(await third.subscribe(channel, `${start}`)).toMatchObject({ resumed: true })
    const all = [await third.next('delivery'), await third.next('delivery'), await third.next('delivery')]
    expect(ids(all)).toEqual([sent[0], ...ids(missed)])
    for (const unknown of ['nonsense', `${id}0`, '000000000000-1']) {
      const client = await Client.of(world.developer.token)
      expect(await client.subscribe(channel, unknown)).toMatchObject({ resumed: false })
    }
  })

  it('writes nothing while nobody listens', async () => {
    const world = await makeWorld()
    const { channel, endpoint } = await tail(world)
    const asked = async () => {
      await send(world)
      await eventually(async () => {
        const { data } = await callJson<unknown[]>(
          'GET',
          `/api/v1/deliveries?status=pending&endpoint_id=${endpoint.id}`,
          {
            token: world.developer.token,
          },
        )
        return data.length === 0
      })
    }
    await asked()
    const object = env.REALTIME.getByName(objectName(world.tenant.id, channel))
    expect(await object.publish([{ type: 'delivery', data: {} }])).toBe(false)
    expect(await object.openStreams()).toMatchObject({ open: 0 })
  })

  it('forgets listeners whom a crash took along', async () => {
    const world = await makeWorld()
    const { channel } = await tail(world)
    const object = env.REALTIME.getByName(objectName(world.tenant.id, channel))
    // As the storage is left behind: it keeps what is said, and there is no socket.
    await runInDurableObject(object, (_, state) => state.storage.put('keeps_until', Number.MAX_SAFE_INTEGER))
    await evictDurableObject(object)
    expect(await object.publish([{ type: 'delivery', data: {} }])).toBe(true)
    expect(await runDurableObjectAlarm(object)).toBe(true)
    expect(await object.publish([{ type: 'delivery', data: {} }])).toBe(false)
  })

  it('ends a subscription, and the socket lives on', async () => {
    const world = await makeWorld()
    const { channel } = await tail(world)
    const client = await Client.of(world.developer.token)
    await client.subscribe(channel)
    client.send({ type: 'subscribe', channel })
    expect(await client.next('error')).toMatchObject({ code: 'conflict', channel })
    client.send({ type: 'unsubscribe', channel })
    await client.next('unsubscribed')
    await send(world)
    client.send({ type: 'ping' })
    await client.next('pong')
    await client.subscribe(channel)
  })
})

describe('rights to a channel', () => {
  it('are the tenant’s own: another’s endpoint is none', async () => {
    const { channel } = await tail(await makeWorld())
    const client = await Client.of((await makeWorld()).admin.token)
    client.send({ type: 'subscribe', channel })
    expect(await client.next('error')).toMatchObject({ code: 'not_found', channel })
  })

  it('need the scope of the channel', async () => {
    const world = await makeWorld()
    const { channel } = await tail(world)
    const { data } = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'blind', scopes: ['events:read'] },
    })
    const client = await Client.of(data.key)
    client.send({ type: 'subscribe', channel })
    expect(await client.next('error')).toMatchObject({ code: 'insufficient_scope', channel })
  })

  it('that were lost are noticed before anything is said', { timeout: 20_000 }, async () => {
    const world = await makeWorld()
    const { channel } = await tail(world)
    const client = await Client.of(world.developer.token)
    const other = await Client.of(world.viewer.token)
    await client.subscribe(channel)
    await other.subscribe(channel)
    await callJson('PATCH', `/api/v1/users/${world.developer.user.id}`, {
      token: world.admin.token,
      body: { status: 'suspended' },
    })
    // What was found at the door counts for five seconds.
    await new Promise((resolve) => setTimeout(resolve, 5_100))
    await send({ ...world, developer: world.admin })
    await other.next('delivery')
    expect(await client.end()).toBe(4401)
    expect(client.seen.some(({ type }) => type === 'delivery')).toBe(false)
  })

  it('that were lost open no more channels, whatever the socket was allowed when it came', {
    timeout: 20_000,
  }, async () => {
    const world = await makeWorld()
    const { channel } = await tail(world)
    const [gone, less] = [await Client.of(world.developer.token), await Client.of(world.viewer.token)]
    const suspended = await callJson('PATCH', `/api/v1/users/${world.developer.user.id}`, {
      token: world.admin.token,
      body: { status: 'suspended' },
    })
    expect(suspended.status).toBe(200)
    await scheduler.wait(5_100)
    gone.send({ type: 'subscribe', channel })
    expect(await gone.end()).toBe(4401)
    expect(gone.seen.map(({ type }) => type)).not.toContain('subscribed')
    expect((await less.subscribe(channel)).channel).toBe(channel)
  })

  it('count against the tenant’s open streams', async () => {
    const world = await makeWorld({ rate_limits: { open_streams: 1 } })
    const [one, two] = [await tail(world), await tail(world)]
    const client = await Client.of(world.developer.token)
    await client.subscribe(one.channel)
    client.send({ type: 'subscribe', channel: two.channel })
    expect(await client.next('error')).toMatchObject({ code: 'rate_limited', channel: two.channel })
    client.send({ type: 'unsubscribe', channel: one.channel })
    await client.next('unsubscribed')
    await eventually(async () => {
      client.send({ type: 'subscribe', channel: two.channel })
      return client.next('subscribed', 300).catch(() => null)
    })
  })
})
