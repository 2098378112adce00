import { describe, expect, it } from 'vitest'
import type { KeyLimits } from '../../src/domains/identity/api-keys/limits'
import { insertKey } from '../../src/domains/identity/api-keys/service'
import type { LimitUse } from '../../src/domains/metering/limits/schema'
import { scopesOf } from '../../src/domains/tenancy/scopes'
import { call, callJson, makeWorld, newAddress, type World } from '../world'

const from = (address: string) => ({ 'CF-Connecting-IP': address })

/** The statuses of so many calls, one after the other. */
async function statuses(count: number, ask: (i: number) => Promise<Response>): Promise<number[]> {
  const seen: number[] = []
  for (let i = 0; i < count; i++) {
    const answer = await ask(i)
    await answer.arrayBuffer()
    seen.push(answer.status)
  }
  return seen
}

const times = (count: number, status: number) => Array.from({ length: count }, () => status)

const login = (address: string) =>
  callJson('POST', '/api/v1/auth/login', {
    headers: from(address),
    // Another account each time: too many wrong passwords for one are refused by a limit of their own.
    body: {
      email: `${crypto.randomUUID()}@example.com`,
      password: 'a long and unusual phrase',
      tenant: 'none',
    },
  })

const list = (world: World) => call('GET', '/api/v1/interactions', { token: world.admin.token })

async function windowsOf(init: { token: string } | { key: string }) {
  const { status, data } = await callJson<{ plan: string; windows: LimitUse[] }>(
    'GET',
    '/api/v1/usage/limits',
    init,
  )
  expect(status).toBe(200)
  return Object.fromEntries(data.windows.map((use) => [use.window, use]))
}

async function keyWith(world: World, limits: KeyLimits): Promise<string> {
  const made = await insertKey(
    world.ctx,
    { name: 'limited', limits },
    [...scopesOf('admin')],
    world.admin.user.id,
  )
  return made.key
}

describe('limits by address', { timeout: 30_000 }, () => {
  it('admit five logins a minute, and name the window that refuses', async () => {
    const address = newAddress()
    for (let i = 0; i < 5; i++) {
      const { status, headers } = await login(address)
      expect([status, headers.get('X-RateLimit-Limit'), headers.get('X-RateLimit-Remaining')]).toEqual([
        401,
        '5',
        String(4 - i),
      ])
    }
    const { status, headers, error } = await login(address)
    expect(status).toBe(429)
    const wait = Number(headers.get('Retry-After'))
    expect(wait).toBeGreaterThan(50)
    expect(wait).toBeLessThanOrEqual(61)
    expect(error).toMatchObject({
      code: 'rate_limited',
      details: { window: 'login', limit: 5, remaining: 0, retry_after: wait },
    })
    expect(headers.get('RateLimit-Policy')).toBe('"login";q=5;w=60')
    expect(headers.get('RateLimit')).toBe(`"login";r=0;t=${wait}`)
    expect(headers.get('X-RateLimit-Reset')).toBe(String(wait))
    // Neither another address, nor what else this one may do, is touched.
    expect((await login(newAddress())).status).toBe(401)
    expect((await call('GET', '/openapi.json', { headers: from(address) })).status).toBe(200)
  })

  it('count an IPv6 network as one', async () => {
    const network = `2001:db8:${Math.floor(Math.random() * 0xffff).toString(16)}:1`
    for (let i = 1; i <= 5; i++) expect((await login(`${network}::${i}`)).status).toBe(401)
    expect((await login(`${network}:ffff::1`)).status).toBe(429)
    expect((await login(`${network}2::1`)).status).toBe(401)
  })

  it('admit ten requests a minute to /auth without a credential, on every path together', async () => {
    const address = newAddress()
    const headers = from(address)
    const asks = [
      () => call('POST', '/api/v1/auth/verify-email/confirm', { headers, body: { token: 'x' } }),
      () => call('POST', '/api/auth/verify-email/confirm', { headers, body: { token: 'x' } }),
      () => call('POST', '/api/v2/auth/register', { headers, body: {} }),
      () => call('GET', '/api/v1/auth/me', { headers }),
      () => call('GET', '/api/auth/me/', { headers }),
      () => call('GET', '/api/v1/auth/nothing', { headers }),
      () => call('GET', '/api/auth/nothing', { headers }),
      () => call('GET', '/api/v1/auth/login', { headers }),
    ]
    const seen = await statuses(10, (i) => asks[i % asks.length]?.() ?? Promise.reject(new Error('none')))
    expect(seen).not.toContain(429)
    for (const ask of asks) expect((await ask()).status).toBe(429)
    // Logins have their own window, and a credential is counted by its tenant.
    expect((await login(address)).status).toBe(401)
    const { member } = await makeWorld()
    expect((await call('GET', '/api/v1/auth/me', { headers, token: member.token })).status).toBe(200)
  })

  it('admit a hundred public requests a minute', async () => {
    const headers = from(newAddress())
    const onboard = () => call('POST', '/api/v1/tenants/onboarding/public', { headers, body: {} })
    expect(await statuses(100, onboard)).toEqual(times(100, 422))
    expect((await onboard()).status).toBe(429)
  })

  it('count refused credentials, and no good one beside them', async () => {
    const address = newAddress()
    const bad = (i: number) =>
      call('GET', '/api/v1/agents', { headers: from(address), token: `not.a.token${i}` })
    expect(await statuses(100, bad)).toEqual(times(100, 401))
    const refused = await callJson('GET', '/api/v1/agents', { headers: from(address), key: 'sk_live_x' })
    expect([refused.status, refused.error.details.window]).toEqual([429, 'public'])
    expect(refused.headers.get('WWW-Authenticate')).toBeNull()
    const world = await makeWorld()
    const good = await call('GET', '/api/v1/agents', { headers: from(address), token: world.admin.token })
    expect(good.status).toBe(200)
    expect((await call('GET', '/openapi.json', { headers: from(address) })).status).toBe(429)
  })

  it('do not count health, keys and preflights', async () => {
    const headers = from(newAddress())
    const paths = ['/health', '/health/live', '/api/v1/health', '/metrics', '/.well-known/jwks.json']
    const seen = await statuses(150, (i) => call('GET', paths[i % paths.length] ?? '', { headers }))
    expect(new Set(seen)).not.toContain(429)
    const preflight = { ...headers, Origin: 'http://localhost:3000', 'Access-Control-Request-Method': 'GET' }
    expect(await statuses(150, () => call('OPTIONS', '/api/v1/auth/login', { headers: preflight }))).toEqual(
      times(150, 204),
    )
    const answer = await call('GET', '/openapi.json', { headers })
    expect(answer.headers.get('X-RateLimit-Remaining')).toBe('99')
    const page = await call('GET', '/docs', { headers })
    expect(page.headers.get('X-RateLimit-Remaining')).toBe('98')
  })
})

describe('a refresh token', { timeout: 30_000 }, () => {
  it('is a credential: it counts against its tenant, by body and by cookie, on every path', async () => {
    const headers = from(newAddress())
    const slug = `r-${crypto.randomUUID().slice(0, 8)}`
    const login = { email: `ada@${slug}.example`, password: 'a long and unusual phrase' }
    await callJson('POST', '/api/v1/tenants/onboarding/public', {
      body: { name: 'Refreshing', slug, ...login },
    })
    type Tokens = { access_token: string; refresh_token: string }
    let tokens = (await callJson<Tokens>('POST', '/api/v1/auth/login', { body: login })).data
    for (let i = 0; i < 12; i++) {
      const { status, data } = await callJson<Tokens>('POST', '/api/v1/auth/refresh', {
        headers,
        body: { refresh_token: tokens.refresh_token },
      })
      expect(status).toBe(200)
      tokens = data
    }
    for (const path of ['/api/auth/refresh', '/api/v2/auth/refresh']) {
      const answer = await call('POST', path, {
        headers: { ...headers, Cookie: `refresh_token=${tokens.refresh_token}` },
      })
      expect(answer.status).toBe(200)
      const next = /refresh_token=([^;]+)/.exec(answer.headers.get('Set-Cookie') ?? '')?.[1]
      tokens = { ...tokens, refresh_token: next ?? '' }
    }
    const { self_help } = await windowsOf({ token: tokens.access_token })
    // Fourteen refreshes and this very request.
    expect(self_help).toMatchObject({ limit: 60, used: 15, remaining: 45 })
  })

  it('that is none counts against its address', async () => {
    const headers = from(newAddress())
    const seen = await statuses(101, (i) =>
      call('POST', '/api/v1/auth/refresh', { headers, body: { refresh_token: `made-up-${i}` } }),
    )
    expect(seen).toEqual([...times(100, 401), 429])
    // From then on nothing is looked up for that address.
    const { status, error } = await callJson('POST', '/api/v1/auth/refresh', {
      headers,
      body: { refresh_token: 'made-up' },
    })
    expect([status, error.details.window]).toEqual([429, 'public'])
  })
})

describe('limits of a tenant', { timeout: 30_000 }, () => {
  it('count its requests over all its credentials, and leave it what it needs to help itself', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 6 } })
    const by = [{ token: world.admin.token }, { token: world.viewer.token }, { key: world.apiKey }]
    for (let i = 0; i < 6; i++) {
      const { status, headers } = await callJson('GET', '/api/v1/interactions', by[i % 3])
      expect([status, headers.get('X-RateLimit-Remaining')]).toEqual([200, String(5 - i)])
      expect(headers.get('RateLimit-Policy')).toBe('"minute";q=6;w=60')
      expect(headers.get('RateLimit')).toMatch(new RegExp(`^"minute";r=${5 - i};t=\\d+$`))
    }
    for (const who of by) {
      const { status, error, headers } = await callJson('GET', '/api/v1/interactions', who)
      expect([status, error.details.window, error.details.limit]).toEqual([429, 'minute', 6])
      expect(Number(headers.get('Retry-After'))).toBeGreaterThan(50)
    }
    // Everything but that is refused, whichever route.
    expect((await call('GET', '/api/v1/nothing', { token: world.admin.token })).status).toBe(404)
    expect((await call('POST', '/api/v1/agents', { token: world.admin.token, body: {} })).status).toBe(429)

    const { minute, hour, self_help } = await windowsOf({ token: world.admin.token })
    expect(minute).toMatchObject({ per: 'minute', limit: 6, used: 6, remaining: 0 })
    expect(minute?.resets).toBeGreaterThan(40)
    expect(hour).toMatchObject({ limit: 50_000, used: 6, remaining: 49_994 })
    expect(self_help).toMatchObject({ limit: 60, used: 1, remaining: 59 })
    const keys = await callJson<{ id: string }[]>('GET', '/api/v1/auth/api-keys', {
      token: world.admin.token,
    })
    const revoked = await call('DELETE', `/api/v1/auth/api-keys/${keys.data[0]?.id}`, {
      token: world.admin.token,
    })
    expect(revoked.status).toBe(204)
    expect((await call('GET', '/api/v1/tenants/current', { token: world.admin.token })).status).toBe(200)
    // Another tenant is not touched.
    expect((await list(await makeWorld())).status).toBe(200)
  })

  it('have a window of 60 a minute for that', async () => {
    const world = await makeWorld()
    const paths = ['/api/v1/auth/me', '/api/v1/usage/limits', '/api/v1/tenants/current']
    const ask = (i: number) => call('GET', paths[i % 3] ?? '', { token: world.member.token })
    expect(await statuses(60, ask)).toEqual(times(60, 200))
    for (let i = 0; i < 3; i++) {
      const { status, error } = await callJson('GET', paths[i] ?? '', { token: world.member.token })
      expect([status, error.details.window]).toEqual([429, 'self_help'])
    }
    expect((await list(world)).status).toBe(200)
  })

  it('refuse by the hour and the day as well, until the bucket of the first request has left', async () => {
    for (const [name, field, width, bucket] of [
      ['hour', 'requests_per_hour', 3_600, 60],
      ['day', 'requests_per_day', 86_400, 3_600],
    ] as const) {
      const world = await makeWorld({ rate_limits: { [field]: 3 } })
      const begun = Date.now() / 1_000
      expect(await statuses(3, () => list(world))).toEqual(times(3, 200))
      const { status, error, headers } = await callJson('GET', '/api/v1/interactions', { key: world.apiKey })
      expect([status, error.details.window]).toEqual([429, name])
      expect(headers.get('RateLimit-Policy')).toBe(`"${name}";q=3;w=${width}`)
      const free = (Math.floor(begun / bucket) + 1) * bucket + width
      const wait = Number(headers.get('Retry-After'))
      expect(wait).toBeGreaterThanOrEqual(Math.floor(free - Date.now() / 1_000))
      expect(wait).toBeLessThanOrEqual(width + bucket)
      expect(headers.get('RateLimit')).toBe(`"${name}";r=0;t=${wait}`)
    }
  })

  it('never admit more than the limit, however many ask at once', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 100 } })
    const answers = await Promise.all(Array.from({ length: 150 }, () => list(world)))
    const count = (status: number) => answers.filter((answer) => answer.status === status).length
    expect([count(200), count(429)]).toEqual([100, 50])
  })

  it('count what a refused request was, but not what was no request of the tenant', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 3 } })
    const ended = await callJson('GET', '/api/v1/interactions', { token: `${world.admin.token}x` })
    expect(ended.status).toBe(401)
    expect(
      await statuses(3, () => call('GET', '/api/platform/tenants', { token: world.admin.token })),
    ).toEqual(times(3, 403))
    expect((await list(world)).status).toBe(429)
  })

  it('count a legacy request once, however many it takes to answer it', async () => {
    const world = await makeWorld({ rate_limits: { requests_per_minute: 20 } })
    for (let i = 0; i < 3; i++)
      await callJson('POST', '/api/v1/agents', { token: world.admin.token, body: { name: `${i}` } })
    const answer = await callJson('GET', '/api/agents?offset=2&limit=1', { token: world.admin.token })
    expect(answer.status).toBe(200)
    // Walks two pages.
    const deep = await call('GET', '/api/agents?offset=100&limit=50', { token: world.admin.token })
    expect(deep.status).toBe(200)
    expect(deep.headers.get('X-RateLimit-Remaining')).toBe('15')
    expect((await windowsOf({ token: world.admin.token })).minute?.used).toBe(5)
  })
})

describe('limits of an API key', { timeout: 30_000 }, () => {
  it('are shown with each of the tenant’s', async () => {
    const world = await makeWorld()
    const ofTenant = [
      ...['day', 'deliveries', 'hour', 'messages', 'minute', 'open_streams', 'self_help', 'storage_bytes'],
      'uploads',
    ]
    const shown = await windowsOf({ token: world.admin.token })
    expect(Object.keys(shown).sort()).toEqual(ofTenant)
    expect(shown.deliveries).toMatchObject({ per: 'second', limit: 20, used: null })
    const key = await keyWith(world, { per_minute: 3, per_day: 9, total: 20 })
    const own = ['api_key_day', 'api_key_minute', 'api_key_total']
    expect(Object.keys(await windowsOf({ key })).sort()).toEqual([...own, ...ofTenant])
  })

  it('hold on top of the tenant’s, for that key alone', async () => {
    const world = await makeWorld()
    const key = await keyWith(world, { per_minute: 3 })
    expect(await statuses(3, () => call('GET', '/api/v1/interactions', { key }))).toEqual(times(3, 200))
    const { status, error, headers } = await callJson('GET', '/api/v1/interactions', { key })
    expect([status, error.details.window, error.details.limit]).toEqual([429, 'api_key_minute', 3])
    expect(headers.get('RateLimit-Policy')).toBe('"api_key_minute";q=3;w=60')
    expect((await call('GET', '/api/v1/interactions', { key: world.apiKey })).status).toBe(200)
    const windows = await windowsOf({ key })
    expect(windows.api_key_minute).toMatchObject({ per: 'minute', limit: 3, used: 3, remaining: 0 })
    expect(windows.minute?.used).toBe(4)
    expect(Object.keys(await windowsOf({ key: world.apiKey }))).not.toContain('api_key_minute')
  })

  it('hold for its messages and uploads as for its other requests', async () => {
    for (const path of ['messages', 'avatar']) {
      const world = await makeWorld()
      const key = await keyWith(world, { per_minute: 2 })
      const ask = () =>
        path === 'avatar'
          ? call('POST', `/api/v1/agents/${crypto.randomUUID()}/avatar`, { key, raw: 'x' })
          : call('POST', `/api/v1/chats/${crypto.randomUUID()}/messages`, { key, body: { content: 'Hi' } })
      expect(await statuses(2, ask)).not.toContain(429)
      const refused = await ask()
      expect([refused.status, refused.headers.get('RateLimit-Policy')]).toEqual([
        ...[429, '"api_key_minute";q=2;w=60'],
      ])
      const windows = await windowsOf({ key })
      expect(windows[path === 'avatar' ? 'uploads' : 'messages']?.used).toBe(2)
    }
  })

  it('may count down in all', async () => {
    const world = await makeWorld()
    const key = await keyWith(world, { total: 4, per_day: 1_000 })
    expect(await statuses(4, () => call('GET', '/api/v1/interactions', { key }))).toEqual(times(4, 200))
    const { status, error, headers } = await callJson('GET', '/api/v1/interactions', { key })
    expect([status, error.details.window, headers.get('Retry-After')]).toEqual([
      429,
      'api_key_total',
      '86400',
    ])
    expect(headers.get('RateLimit-Policy')).toBe('"api_key_total";q=4')
    const windows = await windowsOf({ key })
    expect(windows.api_key_total).toMatchObject({ per: null, limit: 4, used: 4, remaining: 0, resets: null })
    expect(windows.api_key_day).toMatchObject({ limit: 1_000, used: 4 })
  })

  it('are given when it is made, and shown ever after', async () => {
    const world = await makeWorld()
    const make = (limits: unknown) =>
      callJson<{ id: string; limits: KeyLimits | null }>('POST', '/api/v1/auth/api-keys', {
        token: world.admin.token,
        body: { name: 'k', limits },
      })
    const made = await make({ per_minute: 10, total: 500 })
    expect([made.status, made.data.limits]).toEqual([201, { per_minute: 10, total: 500 }])
    const read = await callJson('GET', `/api/v1/auth/api-keys/${made.data.id}`, { token: world.admin.token })
    expect(read.data.limits).toEqual({ per_minute: 10, total: 500 })
    expect((await make(undefined)).data.limits).toBeNull()
    expect((await make({})).data.limits).toBeNull()
    for (const [limits, field] of [
      [{ per_minute: 0 }, 'limits.per_minute'],
      [{ per_day: -5 }, 'limits.per_day'],
      [{ total: 1.5 }, 'limits.total'],
      [{ per_minute: 1_000_001 }, 'limits.per_minute'],
      [{ per_second: 1 }, 'limits.per_second'],
    ] as const) {
      const { status, error } = await make(limits)
      expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, [field]])
    }
  })
})

describe('what else is limited', { timeout: 30_000 }, () => {
  async function chatOf(world: World): Promise<string> {
    const token = world.admin.token
    const agent = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token,
      body: { name: 'Echo', kind: 'echo' },
    })
    const made = await callJson<{ id: string }>('POST', '/api/v1/chats', {
      token,
      body: { agent_id: agent.data.id },
    })
    return `/api/v1/chats/${made.data.id}`
  }
  const say = (world: World, chat: string) =>
    callJson('POST', `${chat}/messages`, {
      token: world.admin.token,
      headers: { Accept: 'application/json' },
      body: { content: 'Hi' },
    })

  it('chat messages a minute, by route and by socket', async () => {
    const world = await makeWorld({ rate_limits: { messages_per_minute: 3 } })
    const chat = await chatOf(world)
    expect((await say(world, chat)).status).toBe(200)
    const opened = await call('GET', `${chat}/ws`, {
      token: world.admin.token,
      headers: { Upgrade: 'websocket' },
    })
    const socket = opened.webSocket
    if (!socket) throw new Error(`no socket: ${opened.status}`)
    const frames: { type: string; data: Record<string, unknown> }[] = []
    let heard = () => {}
    socket.addEventListener('message', ({ data }) => {
      frames.push(JSON.parse(String(data)))
      heard()
    })
    socket.accept()
    const next = async (type: string) => {
      for (;;) {
        const at = frames.findIndex((frame) => frame.type === type)
        if (at >= 0) return frames.splice(0, at + 1).at(-1)
        await new Promise<void>((resolve) => {
          heard = resolve
        })
      }
    }
    const send = (content: string) => socket.send(JSON.stringify({ type: 'message', data: { content } }))
    await next('snapshot')
    for (const content of ['two', 'three']) {
      send(content)
      await next('done')
    }
    send('four')
    expect((await next('error'))?.data).toMatchObject({
      code: 'rate_limited',
      retryable: true,
      details: { window: 'messages', limit: 3 },
    })
    const { status, error } = await say(world, chat)
    expect([status, error.details.window]).toEqual([429, 'messages'])
    socket.close()
    // A message that is refused leaves the tenant's requests alone.
    expect((await call('GET', chat, { token: world.admin.token })).status).toBe(200)
  })

  it('uploads a minute', async () => {
    const world = await makeWorld({ rate_limits: { uploads_per_minute: 2 } })
    const made = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: world.admin.token,
      body: { name: 'A' },
    })
    const upload = () =>
      call('POST', `/api/v1/agents/${made.data.id}/avatar`, {
        token: world.admin.token,
        headers: { 'Content-Type': 'multipart/form-data; boundary=x', 'Content-Length': '5' },
        raw: '--x--',
      })
    expect(await statuses(2, upload)).not.toContain(429)
    const refused = await upload()
    expect(refused.status).toBe(429)
    expect(refused.headers.get('RateLimit-Policy')).toBe('"uploads";q=2;w=60')
  })

  it('uploads where a form brings a file to a route that takes JSON too', async () => {
    const { member } = await makeWorld({ rate_limits: { uploads_per_minute: 1 } })
    const recording = async () => {
      const form = new FormData()
      form.set('audio', new Blob(['RIFF'], { type: 'audio/wav' }), 'a.wav')
      const request = new Request('http://localhost/', { method: 'POST', body: form })
      const headers = { 'Content-Type': request.headers.get('Content-Type') ?? '' }
      return call('POST', '/api/v1/interactions', {
        token: member.token,
        headers,
        raw: await request.arrayBuffer(),
      })
    }
    expect((await recording()).headers.get('RateLimit-Policy')).toBe('"uploads";q=1;w=60')
    const refused = await recording()
    expect([refused.status, refused.headers.get('RateLimit-Policy')]).toEqual([429, '"uploads";q=1;w=60'])
    const said = await call('POST', '/api/v1/interactions', { token: member.token, body: { text: 'Hi' } })
    expect([said.status, said.headers.get('RateLimit-Policy')]).toEqual([201, '"minute";q=1000;w=60'])
  })

  it('count each file of those that are announced together, all or none', async () => {
    const world = await makeWorld({ rate_limits: { uploads_per_minute: 5 } })
    const file = { filename: 'a.txt', content_type: 'text/plain', size: 1 }
    const announce = (files: number) =>
      callJson('POST', '/api/v1/files/presign', {
        token: world.admin.token,
        body: { files: Array.from({ length: files }, () => file) },
      })
    const first = await announce(3)
    expect([first.status, first.headers.get('X-RateLimit-Remaining')]).toEqual([201, '2'])
    expect(first.headers.get('RateLimit')).toMatch(/^"uploads";r=2;t=(?:5\d|6[01])$/)
    const refused = await announce(3)
    expect([refused.status, refused.error.details]).toMatchObject([
      429,
      { window: 'uploads', limit: 5, retry_after: expect.any(Number) },
    ])
    const wait = Number(refused.headers.get('Retry-After'))
    expect(wait).toBeGreaterThan(50)
    expect(wait).toBeLessThanOrEqual(61)
    // The request that was refused is one upload itself, the others of it are not.
    expect((await announce(1)).status).toBe(201)
    expect((await announce(1)).error.details.window).toBe('uploads')
    const tooMany = await announce(6)
    expect(tooMany.status).toBe(429)
    const other = await makeWorld({ rate_limits: { uploads_per_minute: 5 } })
    const { status, error } = await callJson('POST', '/api/v1/files/presign', {
      token: other.admin.token,
      body: { files: Array.from({ length: 6 }, () => file) },
    })
    expect([status, error.details]).toMatchObject([
      422,
      { fields: { files: 'must be 5 at most: that is the limit of uploads a minute' } },
    ])
  })
})
