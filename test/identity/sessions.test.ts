import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { tendSessions } from '../../src/domains/identity/sessions/retention'
import type { Bindings } from '../../src/env'
import { iso } from '../../src/lib/ids'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld, type World } from '../world'
import { PASSWORD as password, someone, tenantOf } from './kit'

async function signUp() {
  const slug = `s-${crypto.randomUUID().slice(0, 8)}`
  const email = `${slug}@example.com`
  const made = await callJson<{ tenant: { id: string }; user: { id: string } }>(
    'POST',
    '/api/v1/tenants/onboarding/public',
    {
      body: { name: 'Acme', slug, email, password },
    },
  )
  expect(made.status).toBe(201)
  return { slug, email, tenant_id: made.data.tenant.id, user_id: made.data.user.id }
}

type Tokens = {
  access_token: string
  refresh_token: string
  token_type: string
  expires_in: number
  message: string
}

const login = (email: string, more: object = {}, headers: Record<string, string> = {}) =>
  callJson<Tokens>('POST', '/api/v1/auth/login', { body: { email, password, ...more }, headers })

/** The same without the cost of making a hash. */
async function registered() {
  const email = someone()
  const { tenant } = await tenantOf(email)
  // Naming the tenant saves the hashes of candidates that are none.
  return { email, login: () => login(email, { tenant: tenant.id }), tenant_id: tenant.id }
}

describe('login', () => {
  it('gives tokens and both cookies', async () => {
    const { email, tenant_id, user_id } = await signUp()
    const answer = await login(email)
    expect(answer.status).toBe(200)
    expect(answer.data).toMatchObject({ token_type: 'Bearer', expires_in: 900, message: 'Login successful' })
    const cookies = answer.headers.getSetCookie()
    expect(cookies.sort()).toEqual([
      expect.stringMatching(/^access_token=.*; Max-Age=900; Path=\/; HttpOnly; Secure; SameSite=Strict$/),
      // Not a credential: it says that somebody has logged in here.
      expect.stringMatching(
        /^login_device=[\w.-]{45}; Max-Age=15552000; Path=\/api; HttpOnly; Secure; SameSite=Strict$/,
      ),
      expect.stringMatching(/^refresh_token=.*; Path=\/api; HttpOnly; Secure; SameSite=Strict$/),
    ])

    const me = await callJson('GET', '/api/v1/auth/me', { token: answer.data.access_token })
    expect(me.status).toBe(200)
    expect(me.data).toMatchObject({ id: user_id, tenant_id, email, role: 'admin', status: 'active' })
    expect(JSON.stringify(me.data)).not.toContain('scrypt')
  })

  it('begins a session of its own, whatever the browser brings', async () => {
    const { email, login: again, tenant_id: tenant } = await registered()
    const first = await again()
    const { access_token, refresh_token } = first.data
    const Cookie = `access_token=${access_token}; refresh_token=${refresh_token}`
    const second = await login(email, { tenant }, { Cookie })
    const sessionOf = (token: string) =>
      JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))).sid
    expect([first.status, second.status]).toEqual([200, 200])
    expect(sessionOf(second.data.access_token)).not.toBe(sessionOf(access_token))
    expect(second.data.refresh_token).not.toBe(refresh_token)
  })

  it('answers a wrong password and an unknown email alike', async () => {
    const { email, tenant_id: tenant } = await registered()
    const wrong = await callJson('POST', '/api/v1/auth/login', {
      body: { email, password: 'not the password', tenant },
    })
    const unknown = await callJson('POST', '/api/v1/auth/login', {
      body: { email: someone(), password, tenant },
    })
    expect(wrong.status).toBe(401)
    expect(unknown.status).toBe(401)
    expect({ ...wrong.error, request_id: 0, correlation_id: 0, ts: 0 }).toEqual({
      ...unknown.error,
      request_id: 0,
      correlation_id: 0,
      ts: 0,
    })
  })

  it('keeps the tokens out of the body with ?cookies=only', async () => {
    const { email, tenant_id: tenant } = await registered()
    const body = { email, password, tenant }
    const answer = await callJson('POST', '/api/v1/auth/login?cookies=only', { body })
    expect(answer.data).toEqual({ message: 'Login successful', expires_in: 900 })
    const names = answer.headers.getSetCookie().map((cookie) => cookie.split('=')[0])
    expect(names.sort()).toEqual(['access_token', 'login_device', 'refresh_token'])
  })
})

describe('refresh', () => {
  it('rotates, and a token used twice ends the session', async () => {
    const { login } = await registered()
    const first = (await login()).data
    const second = await callJson<Tokens>('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: first.refresh_token },
      headers: { 'User-Agent': 'a' },
    })
    expect(second.status).toBe(200)
    expect(second.data.refresh_token).not.toBe(first.refresh_token)
    // Another client with the old token: a thief, or the owner after a theft.
    const stolen = await callJson('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: first.refresh_token },
      headers: { 'User-Agent': 'b' },
    })
    expect(stolen.status).toBe(401)
    expect(stolen.error.code).toBe('token_revoked')
    expect((await call('GET', '/api/v1/auth/me', { token: second.data.access_token })).status).toBe(401)
    const after = await callJson('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: second.data.refresh_token },
    })
    expect(after.status).toBe(401)
  })

  it('gives a client that races with itself the same successor', async () => {
    const { login } = await registered()
    const { refresh_token } = (await login()).data
    const answers = await Promise.all(
      Array.from({ length: 5 }, () =>
        callJson<Tokens>('POST', '/api/v1/auth/refresh', { body: { refresh_token } }),
      ),
    )
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200, 200])
    expect(new Set(answers.map((answer) => answer.data.refresh_token)).size).toBe(1)
  })

  it('takes the cookie, and refuses it from a foreign origin', async () => {
    const { login } = await registered()
    const { refresh_token } = (await login()).data
    const Cookie = `refresh_token=${refresh_token}`
    const foreign = await callJson('POST', '/api/v1/auth/refresh', {
      headers: { Cookie, Origin: 'https://evil.example' },
    })
    expect(foreign.status).toBe(403)
    expect(foreign.error.code).toBe('origin_refused')
    expect((await call('POST', '/api/v1/auth/refresh', { headers: { Cookie } })).status).toBe(200)
  })

  it('names the field when there is no token', async () => {
    const answer = await callJson('POST', '/api/v1/auth/refresh')
    expect(answer.status).toBe(422)
    expect(answer.error.details.fields).toHaveProperty('refresh_token')
  })
})

describe('sessions', () => {
  it('lists and ends them; an ended one stops at once here', async () => {
    const { login } = await registered()
    const one = (await login()).data
    const two = (await login()).data
    const list = await callJson<{ id: string; is_current: boolean }[]>('GET', '/api/v1/auth/sessions', {
      token: one.access_token,
    })
    // And the one that the tenant was made with.
    expect(list.data).toHaveLength(3)
    const other = list.data.find((session) => !session.is_current)
    expect((await call('GET', '/api/v1/auth/me', { token: two.access_token })).status).toBe(200)
    expect(
      (await call('DELETE', `/api/v1/auth/sessions/${other?.id}`, { token: one.access_token })).status,
    ).toBe(204)
    const ended = await callJson('GET', '/api/v1/auth/me', { token: two.access_token })
    expect(ended.status).toBe(401)
    expect(ended.error.code).toBe('token_revoked')
  })

  it('shows where: user agent, address, since when and until when, newest first', async () => {
    const { email, tenant_id: tenant } = await registered()
    const from = (agent: string, address: string) =>
      login(email, { tenant }, { 'User-Agent': agent, 'CF-Connecting-IP': address })
    const phone = (await from('Phone/1', '198.51.100.21')).data
    const laptop = (await from(`Laptop/${'x'.repeat(600)}`, '2001:db8::5')).data
    type Shown = Record<string, string | boolean>
    const list = async (token: string, query = '') =>
      callJson<Shown[]>('GET', `/api/v1/auth/sessions${query}`, { token })
    const { data } = await list(phone.access_token)
    expect(data.map(({ user_agent, address, is_current }) => [user_agent, address, is_current])).toEqual([
      [`Laptop/${'x'.repeat(505)}`, '2001:db8::5', false],
      ['Phone/1', '198.51.100.21', true],
      [null, null, false],
    ])
    const [, shown] = data
    expect(Object.keys(shown ?? {}).sort()).toEqual([
      ...['address', 'created_at', 'expires_at', 'id', 'is_current', 'last_seen_at', 'user_agent'],
    ])
    const days = (Date.parse(String(shown?.expires_at)) - Date.parse(String(shown?.created_at))) / 86_400_000
    expect(days).toBe(7)

    // A refresh is a sign of life.
    await scheduler.wait(5)
    await callJson('POST', '/api/v1/auth/refresh', { body: { refresh_token: laptop.refresh_token } })
    const [seen] = (await list(phone.access_token)).data
    expect(String(seen?.last_seen_at) > String(seen?.created_at)).toBe(true)
    expect(String(seen?.expires_at) > String(data[0]?.expires_at)).toBe(true)

    const first = await list(phone.access_token, '?limit=2')
    const second = await list(phone.access_token, `?limit=2&cursor=${first.meta.next_cursor}`)
    expect([...first.data, ...second.data].map(({ id }) => id)).toEqual(data.map(({ id }) => id))
    expect(second.meta.next_cursor).toBeNull()
  })

  it('shows neither those that ended nor those of anybody else, and ends none twice', async () => {
    const { tenant, admin, member } = await makeWorld()
    const lists = async (token: string) =>
      (await callJson<{ id: string }[]>('GET', '/api/v1/auth/sessions', { token })).data.map(({ id }) => id)
    expect(await lists(member.token)).toEqual([member.session_id])
    const end = (id: string, token: string) => call('DELETE', `/api/v1/auth/sessions/${id}`, { token })
    const rows = () => env.DB.prepare('select id from sessions where tenant_id = ?').bind(tenant.id).all()
    const before = (await rows()).results.length
    await env.DB.prepare('update sessions set expires_at = ? where id = ?')
      .bind(new Date(Date.now() - 1).toISOString(), member.session_id)
      .run()
    expect(await lists(member.token)).toEqual([])
    expect((await end(admin.session_id, admin.token)).status).toBe(204)
    await expectError(end(admin.session_id, admin.token), 'token_revoked')
    expect((await rows()).results).toHaveLength(before)
  })

  it('ends all of them at once, and nobody else’s', async () => {
    const { login, tenant_id } = await registered()
    const [one, two] = [(await login()).data, (await login()).data]
    const other = await makeWorld()
    const answer = await call('POST', '/api/v1/auth/logout-all', { token: one.access_token })
    expect(answer.status).toBe(204)
    for (const { access_token, refresh_token } of [one, two]) {
      await expectError(call('GET', '/api/v1/auth/me', { token: access_token }), 'token_revoked')
      await expectError(call('POST', '/api/v1/auth/refresh', { body: { refresh_token } }), 'token_revoked')
    }
    expect((await call('GET', '/api/v1/auth/me', { token: other.admin.token })).status).toBe(200)
    const audit = await env.DB.prepare(
      "select * from audit_log where tenant_id = ? and action = 'session.end_all'",
    )
      .bind(tenant_id)
      .all()
    expect(audit.results).toHaveLength(1)
  })

  it('are for users: a key has none', async () => {
    const { apiKey, admin } = await makeWorld()
    await expectError(call('GET', '/api/v1/auth/sessions', { key: apiKey }), 'user_required')
    const id = admin.session_id
    await expectError(call('DELETE', `/api/v1/auth/sessions/${id}`, { key: apiKey }), 'user_required')
  })

  it('logs out, clearing the cookies', async () => {
    const world = await makeWorld()
    const answer = await call('POST', '/api/v1/auth/logout', { token: world.member.token })
    expect(answer.status).toBe(204)
    expect(answer.headers.getSetCookie().every((cookie) => cookie.includes('Max-Age=0'))).toBe(true)
    expect((await call('GET', '/api/v1/auth/me', { token: world.member.token })).status).toBe(401)
    expect((await call('GET', '/api/v1/auth/me', { token: world.admin.token })).status).toBe(200)
  })

  it('does not end the session of another user', async () => {
    const world = await makeWorld()
    const answer = await call('DELETE', `/api/v1/auth/sessions/${world.admin.session_id}`, {
      token: world.member.token,
    })
    expect(answer.status).toBe(404)
  })
})

describe('sessions that are over', () => {
  const HOUR = 3600_000
  const DAY = 24 * HOUR

  /** So many sessions of a user that were not refreshed until a time, or ended then, with a refresh token each. */
  async function opened(
    { tenant, member }: World,
    { prefix, count, until, ended }: { prefix: string; count: number; until: number; ended: boolean },
  ) {
    const series = `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${count})`
    await env.DB.batch([
      env.DB.prepare(
        `${series} insert into sessions (tenant_id, id, user_id, version, created_at, last_seen_at, expires_at, ended_at)
          select ?1, ?2 || i, ?3, 1, ?4, ?4, ?4, ?5 from n`,
      ).bind(tenant.id, prefix, member.user.id, iso(until), ended ? iso(until) : null),
      env.DB.prepare(
        `${series} insert into refresh_tokens (tenant_id, hash, session_id, created_at)
          select ?1, ?1 || ?2 || i, ?2 || i, ?3 from n`,
      ).bind(tenant.id, prefix, iso(until)),
    ])
  }

  it('are written down where nobody refreshed them, and deleted ninety days later with their tokens', async () => {
    const world = await makeWorld()
    const now = Date.now()
    await opened(world, { prefix: 'expired', count: 250, until: now - HOUR, ended: false })
    await opened(world, { prefix: 'gone', count: 250, until: now - 91 * DAY, ended: true })
    await opened(world, { prefix: 'late', count: 3, until: now - 91 * DAY, ended: false })
    await opened(world, { prefix: 'kept', count: 2, until: now - 89 * DAY, ended: true })
    await tendSessions(env as unknown as Bindings, now)
    const counted = async (sql: string) =>
      (await env.DB.prepare(sql).bind(world.tenant.id).all<{ n: number; kind: string }>()).results
    const kinds = "rtrim(id, '0123456789') as kind, count(*) as n"
    expect(
      await counted(
        `select ${kinds} from sessions where tenant_id = ? and ended_at = expires_at group by kind order by kind`,
      ),
    ).toEqual([
      { kind: 'expired', n: 250 },
      { kind: 'kept', n: 2 },
    ])
    expect(
      await counted(
        `select rtrim(session_id, '0123456789') as kind, count(*) as n from refresh_tokens
          where tenant_id = ? and hash like tenant_id || '%' group by kind order by kind`,
      ),
    ).toEqual([
      { kind: 'expired', n: 250 },
      { kind: 'kept', n: 2 },
    ])
    const lists = await callJson<{ id: string }[]>('GET', '/api/v1/auth/sessions', {
      token: world.member.token,
    })
    expect(lists.data.map(({ id }) => id)).toEqual([world.member.session_id])
  })

  it('tell their refresh token why', async () => {
    const { login, tenant_id } = await registered()
    const { refresh_token } = (await login()).data
    await env.DB.prepare('update sessions set expires_at = ? where tenant_id = ?')
      .bind(iso(Date.now() - 1), tenant_id)
      .run()
    const again = () => call('POST', '/api/v1/auth/refresh', { body: { refresh_token } })
    await expectError(again(), 'token_expired')
    await tendSessions(env as unknown as Bindings, Date.now())
    await expectError(again(), 'token_expired')
  })
})
