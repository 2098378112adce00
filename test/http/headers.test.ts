import { Hono } from 'hono'
import { secureHeaders } from 'hono/secure-headers'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { SECURITY } from '../../src/http/answer-headers'
import { call, makeWorld, type World } from '../world'
import { expectError } from './expect-error'
import { PRODUCTION, serviceWith } from './service'

let world: World
beforeAll(async () => {
  world = await makeWorld()
})

const me = (headers: Record<string, string> = {}, method = 'GET') =>
  call(method, '/api/v1/auth/me', { token: world.member.token, headers })

/** One answer of each kind: whoever makes it, it has the same headers. */
const ANSWERS: Record<string, (headers?: Record<string, string>) => Promise<Response>> = {
  'a resource': me,
  'a list': (headers = {}) => call('GET', '/api/v1/interactions', { key: world.apiKey, headers }),
  '304': (headers = {}) => me({ ...headers, 'If-None-Match': '*' }),
  'a document': (headers = {}) => call('GET', '/openapi.json', { headers }),
  'the public keys': (headers = {}) => call('GET', '/.well-known/jwks.json', { headers }),
  health: (headers = {}) => call('GET', '/health', { headers }),
  liveness: (headers = {}) => call('GET', '/health/live', { headers }),
  401: (headers = {}) => call('GET', '/api/v1/auth/me', { headers }),
  403: (headers = {}) => call('GET', '/api/platform/tenants', { token: world.admin.token, headers }),
  404: (headers = {}) => call('GET', '/nowhere', { headers }),
  405: (headers = {}) => call('DELETE', '/api/v1/interactions', { headers }),
  422: (headers = {}) => call('GET', '/api/v1/interactions/x', { token: world.admin.token, headers }),
  HEAD: (headers = {}) => me(headers, 'HEAD'),
  OPTIONS: (headers = {}) => call('OPTIONS', '/api/v1/auth/me', { headers }),
}

describe('every answer', () => {
  for (const [name, send] of Object.entries(ANSWERS))
    it(`names its request, trace and time, and is guarded: ${name}`, async () => {
      const { headers } = await send()
      expect(headers.get('X-Request-ID')).toMatch(/^req_[0-9a-f]{24}$/)
      expect(headers.get('X-Correlation-ID')).toBe(headers.get('X-Request-ID'))
      expect(headers.get('X-Trace-ID')).toMatch(/^[0-9a-f]{32}$/)
      expect(headers.get('X-Gateway-Request-ID')).toBe(headers.get('X-Request-ID'))
      expect(headers.get('X-Gateway-Time-Ms')).toMatch(/^\d+$/)
      expect(headers.get('X-Content-Type-Options')).toBe('nosniff')
      expect(headers.get('X-Frame-Options')).toBe('SAMEORIGIN')
      expect(headers.get('Referrer-Policy')).toBe('no-referrer')
      expect(headers.has('Strict-Transport-Security')).toBe(false)
      expect(headers.has('X-Powered-By')).toBe(false)
    })

  it('is guarded by the headers that Hono takes for good, but those that only old browsers knew', async () => {
    const old = ['strictTransportSecurity', 'xXssProtection', 'xDownloadOptions', 'xDnsPrefetchControl']
    const off = Object.fromEntries([...old, 'originAgentCluster'].map((name) => [name, false]))
    const app = new Hono()
      .use(secureHeaders({ crossOriginResourcePolicy: 'same-site', ...off }))
      .get('/', (c) => c.body(null))
    expect([...(await app.request('/')).headers]).toEqual(SECURITY)
  })

  for (const [name, send] of Object.entries(ANSWERS))
    it(`echoes the caller’s ids and trace: ${name}`, async () => {
      const { headers } = await send({
        'X-Request-ID': 'A.b_c:d-9',
        'X-Correlation-ID': 'order:4711',
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        'CF-Ray': '8f0c1d2e3f4a5b6c-FRA',
      })
      expect(headers.get('X-Request-ID')).toBe('A.b_c:d-9')
      expect(headers.get('X-Correlation-ID')).toBe('order:4711')
      expect(headers.get('X-Trace-ID')).toBe('4bf92f3577b34da6a3ce929d0e0e4736')
      expect(headers.get('X-Gateway-Request-ID')).toBe('8f0c1d2e3f4a5b6c-FRA')
    })

  it('takes ids of 128 characters and no longer, and none with other characters', async () => {
    const kept = 'x'.repeat(128)
    expect((await me({ 'X-Request-ID': kept })).headers.get('X-Request-ID')).toBe(kept)
    for (const bad of ['x'.repeat(129), 'a b', 'a/b', '<script>', 'a,b', '{}', "a'b"])
      for (const name of ['X-Request-ID', 'X-Correlation-ID'])
        expect((await me({ [name]: bad })).headers.get(name)).toMatch(/^req_[0-9a-f]{24}$/)
  })

  it('starts a trace of its own where the caller’s is malformed', async () => {
    const zeros = '0'.repeat(32)
    for (const bad of [
      'nonsense',
      '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7',
      '00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01',
      `00-${zeros}-00f067aa0ba902b7-01`,
      `00-4bf92f3577b34da6a3ce929d0e0e4736-${zeros.slice(16)}-01`,
      'ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    ]) {
      const trace = (await me({ traceparent: bad })).headers.get('X-Trace-ID')
      expect(trace).toMatch(/^[0-9a-f]{32}$/)
      expect([zeros, '4bf92f3577b34da6a3ce929d0e0e4736']).not.toContain(trace?.toLowerCase())
    }
  })

  it('gives no two requests one id', async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, async () => (await me()).headers.get('X-Request-ID')),
    )
    expect(new Set(ids).size).toBe(20)
  })
})

describe('caching', () => {
  it('keeps answers of the API out of every cache, and lets a tagged one be asked for again', async () => {
    expect(
      (await call('GET', '/api/v1/interactions', { token: world.admin.token })).headers.get('Cache-Control'),
    ).toBe('no-store')
    expect((await me()).headers.get('Cache-Control')).toBe('private, no-cache')
    expect((await call('GET', '/.well-known/jwks.json')).headers.get('Cache-Control')).toBe(
      'public, max-age=300',
    )
  })
})

describe('CORS', () => {
  const EVERY_HEADER = [
    ...['X-Request-ID', 'X-Correlation-ID', 'X-Trace-ID', 'X-Gateway-Request-ID', 'X-Gateway-Time-Ms'],
    ...['ETag', 'Location', 'Retry-After', 'WWW-Authenticate', 'Allow', 'Idempotency-Replayed'],
  ]

  for (const origin of [
    'http://localhost:3000',
    'http://localhost:3001',
    'http://127.0.0.1:5173',
    'http://localhost:8000',
    'http://localhost:8787',
    'http://127.0.0.1:8787',
  ])
    it(`allows ${origin} in development, with credentials`, async () => {
      const { headers } = await me({ Origin: origin })
      expect(headers.get('Access-Control-Allow-Origin')).toBe(origin)
      expect(headers.get('Access-Control-Allow-Credentials')).toBe('true')
      expect(headers.get('Vary')).toMatch(/\bOrigin\b/i)
      const exposed = headers.get('Access-Control-Expose-Headers')?.split(/,\s*/) ?? []
      expect(exposed).toEqual(expect.arrayContaining(EVERY_HEADER))
    })

  for (const origin of [
    'https://evil.example',
    'http://localhost',
    'http://localhost:9999',
    'https://localhost:3000',
    'http://localhost:3000.evil.example',
    'http://localhost:30001',
    'http://evil.example:3000',
    'http://127.0.0.2:3000',
    'null',
    '*',
    'file://',
  ])
    it(`does not allow ${origin}`, async () => {
      const { headers } = await me({ Origin: origin })
      expect(headers.get('Access-Control-Allow-Origin')).toBeNull()
    })

  for (const [name, send] of Object.entries(ANSWERS))
    if (name !== 'liveness')
      it(`tells an allowed page what it may read: ${name}`, async () => {
        const { headers } = await send({ Origin: 'http://localhost:5173' })
        expect(headers.get('Access-Control-Allow-Origin')).toBe('http://localhost:5173')
      })

  it('answers a preflight without a credential, by names', async () => {
    const answer = await call('OPTIONS', '/api/v1/interactions', {
      headers: {
        Origin: 'http://localhost:3000',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'authorization,content-type,x-idempotency-key',
      },
    })
    expect(answer.status).toBe(204)
    expect(answer.headers.get('Access-Control-Allow-Origin')).toBe('http://localhost:3000')
    expect(answer.headers.get('Access-Control-Max-Age')).toBe('3600')
    expect(answer.headers.get('Access-Control-Allow-Methods')?.split(/,\s*/)).toEqual(
      expect.arrayContaining(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']),
    )
    const allowed = answer.headers.get('Access-Control-Allow-Headers')?.toLowerCase().split(/,\s*/)
    expect(allowed).toEqual(
      expect.arrayContaining([
        ...[
          'authorization',
          'content-type',
          'x-api-key',
          'x-tenant-id',
          'x-idempotency-key',
          'idempotency-key',
        ],
        ...['x-correlation-id', 'x-request-id', 'traceparent', 'x-target-tenant-id', 'x-active-tenant-id'],
        ...['if-match', 'if-none-match'],
      ]),
    )
    expect(allowed).not.toContain('*')
  })

  it('settles a preflight before anything is looked up', async () => {
    let asked = 0
    const counted = serviceWith({
      DB: {
        prepare: () => {
          asked += 1
          throw new Error('asked')
        },
      },
    })
    const preflight = await counted('OPTIONS', 'http://localhost:8787/api/v1/auth/me', {
      headers: { Origin: 'http://localhost:3000', 'Access-Control-Request-Method': 'GET' },
      token: 'sk_live_nonsense',
    })
    expect([preflight.status, asked]).toEqual([204, 0])
  })

  it('allows nobody in production but whom the settings name', async () => {
    const closed = serviceWith(PRODUCTION)
    const open = serviceWith({
      ...PRODUCTION,
      ALLOWED_ORIGINS: 'https://app.example.com, https://b.example.com',
    })
    const allowed = async (service: typeof open, origin: string) =>
      (await service('GET', 'https://api.example.com/nowhere', { headers: { Origin: origin } })).headers.get(
        'Access-Control-Allow-Origin',
      )
    expect(await allowed(closed, 'http://localhost:3000')).toBeNull()
    expect(await allowed(closed, 'https://app.example.com')).toBeNull()
    expect(await allowed(closed, 'https://api.example.com')).toBe('https://api.example.com')
    expect(await allowed(open, 'https://app.example.com')).toBe('https://app.example.com')
    expect(await allowed(open, 'https://b.example.com')).toBe('https://b.example.com')
    expect(await allowed(open, 'https://app.example.com.evil.example')).toBeNull()
    expect(await allowed(open, 'http://app.example.com')).toBeNull()
  })
})

describe('in production', () => {
  const service = serviceWith(PRODUCTION)

  it('says for two years that there is only https', async () => {
    const answer = await service('GET', 'https://api.example.com/health')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('Strict-Transport-Security')).toMatch(/^max-age=63072000/)
    const error = await service('GET', 'https://api.example.com/nowhere')
    expect(error.headers.get('Strict-Transport-Security')).toMatch(/^max-age=/)
  })

  it('sends plain http on to https, path and query as they are', async () => {
    const answer = await service('POST', 'http://api.example.com/api/v1/auth/login?cookies=only&x=%2F', {
      body: '{}',
    })
    expect(answer.status).toBe(308)
    expect(answer.headers.get('Location')).toBe(
      'https://api.example.com/api/v1/auth/login?cookies=only&x=%2F',
    )
    expect(answer.headers.get('X-Request-ID')).toMatch(/^req_[0-9a-f]{24}$/)
  })

  for (const header of ['Authorization', 'X-API-Key', 'Cookie'])
    it(`refuses a credential over plain http: ${header}`, async () => {
      const answer = await service('GET', 'http://api.example.com/api/v1/auth/me', {
        headers: { [header]: 'x=y' },
      })
      await expectError(answer, 'https_required')
    })

  it('answers only to its own name', async () => {
    await expectError(service('GET', 'https://evil.example/api/v1/auth/me'), 'host_refused')
    await expectError(service('GET', 'https://api.example.com.evil.example/health'), 'host_refused')
    await expectError(service('GET', 'https://api.example.com/api/v1/auth/me'), 'credential_required')
  })

  it('answers to the names it is given', async () => {
    const named = serviceWith({ ...PRODUCTION, ALLOWED_HOSTS: 'one.example.com,two.example.com:8443' })
    await expectError(named('GET', 'https://one.example.com/nowhere'), 'route_not_found')
    await expectError(named('GET', 'https://two.example.com:8443/nowhere'), 'route_not_found')
    await expectError(named('GET', 'https://two.example.com/nowhere'), 'host_refused')
    await expectError(named('GET', 'https://api.example.com/nowhere'), 'host_refused')
  })

  it('does not send a foreign name on', async () => {
    const answer = await service('GET', 'http://evil.example/')
    expect(answer.headers.get('Location')).toBeNull()
    await expectError(answer, 'host_refused')
  })

  for (const [name, settings] of [
    ['a development secret', { MASTER_KEY: 'dev_master_key_for_the_tests_only_0123456789' }],
    ['private targets', { ALLOW_PRIVATE_TARGETS: 'true' }],
    ['a plain http address', { PUBLIC_URL: 'http://api.example.com' }],
  ] as const)
    it(`does not run with ${name}`, async () => {
      const wrong = serviceWith({ ...PRODUCTION, ...settings })
      const logged = vi.spyOn(console, 'error').mockImplementation(() => undefined)
      const answer = await wrong('GET', 'https://api.example.com/api/v1/auth/me')
      logged.mockRestore()
      expect(answer.status).toBe(500)
      expect((await wrong('GET', 'https://api.example.com/health/live')).status).toBe(200)
    })

  it('has no development mail box', async () => {
    await expectError(service('GET', 'https://api.example.com/api/v1/dev/mail'), 'route_not_found')
    const staging = serviceWith({ ...PRODUCTION, ENVIRONMENT: 'staging' })
    await expectError(staging('GET', 'https://api.example.com/api/v1/dev/mail'), 'route_not_found')
  })
})

describe('methods that come for free', () => {
  // A tenant of its own: `me` has a window of 60 a minute.
  beforeAll(async () => {
    world = await makeWorld()
  })

  it('HEAD is GET without its body', async () => {
    const get = await me()
    const head = await me({}, 'HEAD')
    expect(head.status).toBe(200)
    expect(await head.text()).toBe('')
    for (const name of ['ETag', 'Content-Type', 'Cache-Control'])
      expect([name, head.headers.get(name)]).toEqual([name, get.headers.get(name)])
    expect((await call('HEAD', '/api/v1/auth/me')).status).toBe(401)
    expect((await call('HEAD', '/nowhere')).status).toBe(404)
    expect((await call('HEAD', '/api/v1/auth/login')).status).toBe(405)
    expect((await me({ 'If-None-Match': get.headers.get('ETag') ?? '' }, 'HEAD')).status).toBe(304)
  })

  it('OPTIONS tells what a path takes, without a credential', async () => {
    const answer = await call('OPTIONS', '/api/v1/auth/me')
    expect([answer.status, answer.headers.get('Allow')]).toEqual([204, 'GET, PATCH, HEAD, OPTIONS'])
    await expectError(call('OPTIONS', '/nowhere'), 'route_not_found')
  })

  it('a trailing slash is ignored, wherever it stands', async () => {
    expect((await call('GET', '/api/v1/auth/me/', { token: world.member.token })).status).toBe(200)
    expect((await call('GET', '/api/v1/interactions/?limit=1', { token: world.member.token })).status).toBe(
      200,
    )
    expect((await call('GET', '/openapi.json/')).status).toBe(200)
    const made = await call('POST', '/api/v1/interactions/', {
      token: world.member.token,
      body: { text: 'a' },
    })
    expect(made.status).toBe(201)
    const { data } = (await made.json()) as { data: { id: string } }
    expect(made.headers.get('Location')).toBe(`/api/v1/interactions/${data.id}`)
    await expectError(call('PUT', '/api/v1/auth/me/', { body: {} }), 'method_not_allowed')
  })
})
