import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { call, makePlatformAdmin, makeWorld, type World } from '../world'
import { expectError } from './expect-error'
import { serviceWith } from './service'

let world: World
let other: World
beforeAll(async () => {
  world = await makeWorld()
  other = await makeWorld()
})

const interaction = () =>
  call('POST', '/api/v1/interactions', { token: world.admin.token, body: { text: 'a' } })

describe('each row of the table of errors', () => {
  it('400: a body that is not JSON', () =>
    expectError(
      call('POST', '/api/v1/interactions', {
        token: world.admin.token,
        headers: { 'Content-Type': 'application/json' },
        raw: '{',
      }),
      'malformed_json',
    ))

  for (const name of ['X-Tenant-ID', 'X-Client-ID', 'x-client-id'])
    for (const value of ['acme', '0197b3c2', "' or 1=1 --"])
      it(`400: a malformed header, ${name}: ${value}`, async () => {
        const headers = { [name]: value }
        const error = await expectError(
          call('GET', '/api/v1/auth/me', { token: world.admin.token, headers }),
          'malformed_header',
        )
        expect(String(error.details.header).toLowerCase()).toBe(name.toLowerCase())
      })

  it('401: no credential, with the challenge that says so', async () => {
    const answer = await call('GET', '/api/v1/auth/me')
    expect(answer.headers.get('WWW-Authenticate')).toBe(
      'Bearer error="invalid_token", error_description="This needs a credential"',
    )
    await expectError(answer, 'credential_required')
  })

  it('401: a bad one, with the challenge that says so', async () => {
    const answer = await call('GET', '/api/v1/auth/me', { token: 'nonsense' })
    expect(answer.headers.get('WWW-Authenticate')).toMatch(
      /^Bearer error="invalid_token", error_description="[^"]+"$/,
    )
    await expectError(answer, 'invalid_token')
  })

  it('403: without the scope, which is named', async () => {
    const answer = await call('POST', '/api/v1/interactions', {
      token: world.viewer.token,
      body: { text: 'a' },
    })
    expect(answer.headers.get('WWW-Authenticate')).toBe(
      'Bearer error="insufficient_scope", scope="interactions:write"',
    )
    const error = await expectError(answer, 'insufficient_scope')
    expect(error.details).toEqual({ required: ['interactions:write'], missing: 'interactions:write' })
  })

  it('403: a header that names another tenant than the credential', async () => {
    for (const name of ['X-Tenant-ID', 'x-client-id'])
      await expectError(
        call('GET', '/api/v1/auth/me', {
          token: world.admin.token,
          headers: { [name]: other.tenant.id },
        }),
        'tenant_mismatch',
      )
    const own = { 'X-Tenant-ID': world.tenant.id.toUpperCase(), 'X-Client-ID': world.tenant.id }
    expect((await call('GET', '/api/v1/auth/me', { key: world.apiKey, headers: own })).status).toBe(200)
  })

  it('404: another tenant’s id, and one that nobody has, are told in the same words', async () => {
    const { data } = (await (await interaction()).json()) as { data: { id: string } }
    const theirs = await expectError(
      call('GET', `/api/v1/interactions/${data.id}`, { token: other.admin.token }),
      'not_found',
    )
    const nobodys = await expectError(
      call('GET', '/api/v1/interactions/0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d', { token: other.admin.token }),
      'not_found',
    )
    expect(theirs.message.replace(data.id, 'X')).toBe(
      nobodys.message.replace('0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d', 'X'),
    )
    expect(theirs.details).toEqual({ resource: 'interaction', id: data.id })
  })

  for (const path of [
    '/nowhere',
    '/api',
    '/api/v1',
    '/api/v1/nothing',
    '/api/v3/interactions',
    '/.env',
    '/%00',
    '//',
  ])
    it(`404: ${path} is no route`, async () => {
      await expectError(call('GET', path), 'route_not_found')
      await expectError(call('POST', path, { token: world.admin.token, body: {} }), 'route_not_found')
    })

  it('405: the wrong method, with Allow', async () => {
    const answer = await call('PUT', '/api/v1/interactions', { body: {} })
    expect(answer.headers.get('Allow')).toBe('GET, POST, DELETE, HEAD, OPTIONS')
    await expectError(answer, 'method_not_allowed')
    const onOne = await call('PATCH', '/api/v1/interactions/0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d/', {
      body: {},
    })
    expect(onOne.headers.get('Allow')).toBe('GET, DELETE, HEAD, OPTIONS')
    await expectError(onOne, 'method_not_allowed')
  })

  it('409: it exists already', async () => {
    const { token } = await makePlatformAdmin()
    const body = { name: 'Twice', slug: `twice-${crypto.randomUUID().slice(0, 8)}` }
    expect((await call('POST', '/api/platform/tenants', { token, body })).status).toBe(201)
    await expectError(call('POST', '/api/platform/tenants', { token, body }), 'slug_taken')
  })

  it('409: a state that forbids it', async () => {
    const off = await makeWorld({ settings: { service_enabled: false } })
    await expectError(
      call('POST', '/api/v1/interactions', { token: off.admin.token, body: { text: 'a' } }),
      'service_disabled',
    )
  })

  it('412: a stale If-Match', () =>
    expectError(
      call('PATCH', '/api/v1/auth/me', {
        token: world.member.token,
        headers: { 'If-Match': '"v99"' },
        body: { full_name: 'Stale' },
      }),
      'precondition_failed',
    ))

  it('422: an id in a path that is no UUID', async () => {
    for (const id of [
      '1',
      'abc',
      '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8',
      '0197b3c28f4e7c1a9d2b3e4f5a6b7c8d',
      '%27',
      '..%2f',
    ])
      for (const method of ['GET', 'DELETE']) {
        const error = await expectError(
          call(method, `/api/v1/interactions/${id}`, { token: world.admin.token }),
          'validation_failed',
        )
        expect(error.details.fields).toEqual({ id: 'must be a UUID' })
      }
  })

  it('any UUID of RFC 9562 is well-formed, in either case', async () => {
    for (const id of [
      '00000000-0000-0000-0000-000000000000',
      'ffffffff-ffff-ffff-ffff-ffffffffffff',
      'C232AB00-9414-11EC-B3C8-9F6BDECED846',
      '5df41881-3aed-3515-88a7-2f4a814cf09e',
      '919108f7-52d1-4320-9bac-f847db4148a8',
      '2ed6657d-e927-568b-95e1-2665a8aea6a2',
      '1ec9414c-232a-6b00-b3c8-9f6bdeced846',
      '017f22e2-79b0-7cc3-98c4-dc0c0c07398f',
      '2489e9ad-2ee2-8e00-8ec9-32d5f69181c0',
    ])
      await expectError(call('GET', `/api/v1/interactions/${id}`, { token: world.admin.token }), 'not_found')
  })

  it('422: every wrong parameter of the query, unknown ones too', async () => {
    const error = await expectError(
      call('GET', '/api/v1/interactions?limit=0&cursor=x&colour=red&created_after=yesterday', {
        token: world.admin.token,
      }),
      'validation_failed',
    )
    expect(Object.keys(error.details.fields ?? {}).sort()).toEqual(['colour', 'created_after', 'limit'])
    for (const limit of ['101', '-1', '1.5', 'ten', '', '1&limit=2', 'NaN', 'Infinity'])
      await expectError(
        call('GET', `/api/v1/interactions?limit=${limit}`, { token: world.admin.token }),
        'validation_failed',
      )
  })
})

describe('a bug', () => {
  const SECRET = 'SELECT secret FROM vault; /srv/app/src/index.ts:42'
  const broken = (thrown: unknown) => ({
    ...env.DB,
    prepare: () => {
      throw thrown
    },
  })
  const send = (overrides: Record<string, unknown>, headers: Record<string, string> = {}) =>
    serviceWith(overrides)('POST', 'http://localhost:8787/api/v1/auth/verify-email/confirm', {
      headers: { 'Content-Type': 'application/json', ...headers },
      body: '{"token":"x"}',
    })

  for (const [name, thrown] of [
    ['an Error', new Error(SECRET)],
    ['an Error with a cause', new Error('outer', { cause: new Error(SECRET) })],
    ['a text', SECRET],
    ['an object', { message: SECRET, status: 418 }],
    ['null', null],
    ['nothing', undefined],
  ] as const)
    it(`that throws ${name} gives the one shape, and its cause to the log alone`, async () => {
      const logged = vi.spyOn(console, 'error').mockImplementation(() => undefined)
      try {
        const answer = await send(
          { DB: broken(thrown), LOG_LEVEL: 'error' },
          { Origin: 'http://localhost:5173', 'X-Request-ID': 'mine-1' },
        )
        expect(answer.headers.get('X-Request-ID')).toBe('mine-1')
        expect(answer.headers.get('X-Content-Type-Options')).toBe('nosniff')
        expect(answer.headers.get('Access-Control-Allow-Origin')).toBe('http://localhost:5173')
        const text = await answer.clone().text()
        for (const leak of ['SELECT', 'vault', 'index.ts', 'stack', 'outer', '418'])
          expect(text).not.toContain(leak)
        const error = await expectError(answer, 'internal_error')
        expect(error.details).toEqual({})
        const lines = logged.mock.calls.map(([line]) => JSON.parse(String(line)))
        expect(lines).toHaveLength(1)
        expect(lines[0]).toMatchObject({ level: 'error', request_id: 'mine-1', code: 'internal_error' })
      } finally {
        logged.mockRestore()
      }
    })

  it('in the settings is told to the log by name, never by value', async () => {
    const logged = vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const silenced = vi.spyOn(console, 'log').mockImplementation(() => undefined)
    try {
      const answer = await send({ MASTER_KEY: 'short-secret', PUBLIC_URL: 'ftp://x' })
      const text = await answer.clone().text()
      expect(text).not.toContain('MASTER_KEY')
      await expectError(answer, 'misconfigured')
      const line = String(logged.mock.calls[0]?.[0])
      expect(line).toContain('MASTER_KEY')
      expect(line).not.toContain('short-secret')
    } finally {
      silenced.mockRestore()
      logged.mockRestore()
    }
  })
})
