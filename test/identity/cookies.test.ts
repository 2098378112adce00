import { beforeAll, describe, expect, it } from 'vitest'
import { expectError } from '../http/expect-error'
import { PRODUCTION, serviceWith } from '../http/service'
import { call, callJson, makeWorld, type World } from '../world'

// A browser sends the cookie along with whatever a page makes it send. identity.md: a write by cookie is refused where
// Origin is neither the own nor allowed, or, without Origin, where Sec-Fetch-Site is neither same-origin nor none.

let world: World
beforeAll(async () => {
  world = await makeWorld()
})

const Cookie = () => `access_token=${world.member.token}`
const write = (headers: Record<string, string>, method = 'PATCH') =>
  call(method, '/api/v1/auth/me', {
    headers: { Cookie: Cookie(), ...headers },
    body: { full_name: 'By cookie' },
  })

/** Headers, and whether a write by cookie passes with them. */
const MATRIX: [Record<string, string>, boolean][] = [
  [{}, true],
  [{ Origin: 'http://localhost:8787' }, true],
  [{ Origin: 'http://localhost:5173' }, true],
  [{ Origin: 'http://127.0.0.1:3000' }, true],
  [{ Origin: 'null' }, false],
  [{ Origin: 'https://evil.example' }, false],
  [{ Origin: 'http://localhost:8787.evil.example' }, false],
  [{ Origin: 'https://localhost:8787' }, false],
  [{ Origin: 'http://localhost:9999' }, false],
  [{ 'Sec-Fetch-Site': 'same-origin' }, true],
  [{ 'Sec-Fetch-Site': 'none' }, true],
  [{ 'Sec-Fetch-Site': 'same-site' }, false],
  [{ 'Sec-Fetch-Site': 'cross-site' }, false],
  [{ 'Sec-Fetch-Site': 'SAME-ORIGIN' }, false],
  // Origin decides where both are there.
  [{ Origin: 'http://localhost:5173', 'Sec-Fetch-Site': 'cross-site' }, true],
  [{ Origin: 'https://evil.example', 'Sec-Fetch-Site': 'same-origin' }, false],
  [{ Origin: 'null', 'Sec-Fetch-Site': 'same-origin' }, false],
  // What a page can set by itself does not help it.
  [{ Origin: 'https://evil.example', Referer: 'http://localhost:8787/' }, false],
  [{ Origin: 'https://evil.example', 'X-Requested-With': 'XMLHttpRequest' }, false],
]

describe('a write by cookie', () => {
  for (const [headers, passes] of MATRIX)
    it(`${passes ? 'passes' : 'is refused'} with ${JSON.stringify(headers)}`, async () => {
      if (passes) expect((await write(headers)).status).toBe(200)
      else await expectError(write(headers), 'origin_refused')
    })

  it('is refused for every method that writes, whatever the content type', async () => {
    const headers = { Cookie: Cookie(), Origin: 'https://evil.example' }
    await expectError(call('POST', '/api/v1/auth/logout', { headers }), 'origin_refused')
    await expectError(
      call('DELETE', `/api/v1/auth/sessions/${world.member.session_id}`, { headers }),
      'origin_refused',
    )
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data',
      'application/json',
    ])
      await expectError(
        call('POST', '/api/v1/interactions', {
          headers: { ...headers, 'Content-Type': type },
          raw: '{"text":"a"}',
        }),
        'origin_refused',
      )
    expect((await call('GET', '/api/v1/auth/me', { headers: { Cookie: Cookie() } })).status).toBe(200)
  })

  it('is refused for an upgrade to a socket, which no CORS guards', async () => {
    const headers = { Cookie: Cookie(), Origin: 'https://evil.example', Upgrade: 'websocket' }
    await expectError(call('GET', '/api/v1/auth/me', { headers }), 'origin_refused')
  })
})

describe('what is no write by cookie', () => {
  it('a read passes from anywhere; CORS keeps its answer from the page', async () => {
    const answer = await call('GET', '/api/v1/auth/me', {
      headers: { Cookie: Cookie(), Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' },
    })
    expect([answer.status, answer.headers.get('Access-Control-Allow-Origin')]).toEqual([200, null])
  })

  it('a header credential is no cookie, from any origin', async () => {
    const answer = await call('PATCH', '/api/v1/auth/me', {
      token: world.member.token,
      headers: { Cookie: Cookie(), Origin: 'https://evil.example' },
      body: { full_name: 'By token' },
    })
    expect(answer.status).toBe(200)
  })

  it('a bad cookie is 401 before it is anything else', async () => {
    const headers = { Cookie: 'access_token=nonsense', Origin: 'https://evil.example' }
    await expectError(call('PATCH', '/api/v1/auth/me', { headers, body: {} }), 'invalid_token')
    for (const value of ['access_token=', 'other=1', 'refresh_token=x', 'Access_Token=x'])
      expect((await call('GET', '/api/v1/auth/me', { headers: { Cookie: value } })).status).toBe(401)
  })

  it('an API key is no cookie', async () => {
    const answer = await call('GET', '/api/v1/auth/me', {
      headers: { Cookie: `access_token=${world.apiKey}` },
    })
    expect(answer.status).toBe(401)
  })

  it('public routes ignore credentials, good or bad', async () => {
    for (const headers of [
      { Authorization: 'Bearer nonsense' },
      { 'X-API-Key': 'sk_live_x' },
      { Cookie: 'access_token=x' },
      { Cookie: Cookie(), Origin: 'https://evil.example' },
    ])
      expect(
        (await call('GET', '/.well-known/jwks.json', { headers: headers as Record<string, string> })).status,
      ).toBe(200)
  })
})

describe('a malformed cookie', () => {
  const long = 'x'.repeat(9000)
  const VALUES = [
    '%',
    '%E0%A4%A',
    '%00',
    '"',
    '"x',
    'x y',
    '=',
    '==',
    ',',
    'a.b.c',
    '..',
    '...',
    `${long}.${long}.x`,
  ]
  const get = (headers: Record<string, string>) => call('GET', '/api/v1/auth/me', { headers })

  it('is no credential: 401, whatever is wrong with it', async () => {
    for (const value of VALUES) {
      const answer = await get({ Cookie: `access_token=${value}` })
      expect([value.slice(0, 20), answer.status]).toEqual([value.slice(0, 20), 401])
    }
    for (const Cookie of [
      'access_token',
      ';',
      ';;=;',
      '=x',
      'a=b;access_token',
      `${'a=b;'.repeat(2000)}access_token=`,
    ])
      expect([Cookie.slice(0, 20), (await get({ Cookie })).status]).toEqual([Cookie.slice(0, 20), 401])
  })

  it('beside a good one, or around it, makes nobody else of the caller', async () => {
    const { user } = world.member
    for (const other of [`access_token=${world.admin.token}`, 'access_token=x', 'x=%E0%A4%A', ';', '"']) {
      const headers = [`${Cookie()}; ${other}`, `${other}; ${Cookie()}`]
      for (const [i, text] of headers.entries()) {
        const answer = await callJson<{ id: string }>('GET', '/api/v1/auth/me', { headers: { Cookie: text } })
        const first = i === 0 || !other.startsWith('access_token=')
        // The first of one name counts, as RFC 6265 has the browser send the one of the longer path first.
        if (first)
          expect([text.slice(-20), answer.status, answer.data.id]).toEqual([text.slice(-20), 200, user.id])
        else expect(answer.data?.id).not.toBe(user.id)
      }
    }
  })

  it('of a refresh, a login or a browser that logged in is none, and no error of the service', async () => {
    const body = { email: 'nobody-at-all@example.com', password: 'a wrong and long password' }
    for (const value of VALUES) {
      const refresh = await call('POST', '/api/v1/auth/refresh', {
        headers: { Cookie: `refresh_token=${value}` },
      })
      expect([value.slice(0, 20), refresh.status < 500]).toEqual([value.slice(0, 20), true])
      expect([401, 422]).toContain(refresh.status)
    }
    const headers = { Cookie: `login_device=${VALUES.join('')}` }
    await expectError(call('POST', '/api/v1/auth/login', { headers, body }), 'invalid_credentials')
  })
})

describe('in production', () => {
  it('the own origin and those of the settings pass, no other', async () => {
    const service = serviceWith({ ...PRODUCTION, ALLOWED_ORIGINS: 'https://app.example.com' })
    const refresh = (Origin: string) =>
      service('POST', 'https://api.example.com/api/v1/auth/refresh', {
        headers: { Cookie: 'refresh_token=nonsense', Origin },
      })
    await expectError(refresh('https://api.example.com'), 'invalid_token')
    await expectError(refresh('https://app.example.com'), 'invalid_token')
    for (const origin of ['http://localhost:3000', 'https://evil.example', 'null', 'http://app.example.com'])
      await expectError(refresh(origin), 'origin_refused')
  })
})
