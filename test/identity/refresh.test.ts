import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { hashOf, newRefreshToken } from '../../src/domains/identity/sessions/refresh-token'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld, type Person } from '../world'

type Tokens = {
  access_token: string
  refresh_token: string
  expires_in: number
  token_type: string
  message: string
}

/** A session with a refresh token, as a login leaves it. */
async function loggedIn(userAgent = 'phone') {
  const world = await makeWorld()
  const token = newRefreshToken()
  await giveToken(world.member, token)
  await set(world.member, 'user_agent = ?', userAgent)
  return { world, person: world.member, token }
}

const giveToken = async (person: Person, token: string) =>
  env.DB.prepare('insert into refresh_tokens (tenant_id, hash, session_id, created_at) values (?, ?, ?, ?)')
    .bind(person.user.tenant_id, await hashOf(token), person.session_id, new Date().toISOString())
    .run()
const set = (person: Person, change: string, ...params: unknown[]) =>
  env.DB.prepare(`update sessions set ${change} where id = ?`)
    .bind(...params, person.session_id)
    .run()
const refresh = (refresh_token: string, headers: Record<string, string> = { 'User-Agent': 'phone' }) =>
  callJson<Tokens>('POST', '/api/v1/auth/refresh', { body: { refresh_token }, headers })
const isLive = async (person: Person) =>
  (await env.DB.prepare('select ended_at from sessions where id = ?')
    .bind(person.session_id)
    .first('ended_at')) === null

/** Lets `seconds` pass for the token, by what stands in its row. */
const age = async (token: string, seconds: number) =>
  env.DB.prepare('update refresh_tokens set used_at = ? where hash = ?')
    .bind(new Date(Date.now() - seconds * 1000).toISOString(), await hashOf(token))
    .run()

describe('a refresh token', () => {
  it('is exchanged for the next, and keeps the session seven days more', async () => {
    const { person, token } = await loggedIn()
    await set(person, 'expires_at = ?', new Date(Date.now() + 5000).toISOString())
    const { status, data, headers } = await refresh(token)
    expect(status).toBe(200)
    expect(data).toMatchObject({ token_type: 'Bearer', expires_in: 900, message: 'Token refreshed' })
    expect(data.refresh_token).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(headers.getSetCookie()).toHaveLength(2)
    const session = await env.DB.prepare('select expires_at from sessions where id = ?')
      .bind(person.session_id)
      .first<{ expires_at: string }>()
    expect(Date.parse(session?.expires_at ?? '') - Date.now()).toBeGreaterThan(6.9 * 24 * 3600_000)
    const kept = await env.DB.prepare('select * from refresh_tokens where session_id = ?')
      .bind(person.session_id)
      .all()
    expect(JSON.stringify(kept.results)).not.toContain(data.refresh_token)
    expect((await refresh(data.refresh_token)).status).toBe(200)
  })

  it('keeps the tokens out of the body with ?cookies=only', async () => {
    const { token } = await loggedIn()
    const answer = await callJson('POST', '/api/v1/auth/refresh?cookies=only', {
      headers: { Cookie: `refresh_token=${token}` },
    })
    expect(answer.data).toEqual({ message: 'Token refreshed', expires_in: 900 })
  })

  it('needs no body where there is a cookie, whatever the content type says', async () => {
    const { token } = await loggedIn()
    const headers = { Cookie: `refresh_token=${token}`, 'Content-Type': 'application/json' }
    expect((await call('POST', '/api/v1/auth/refresh', { headers })).status).toBe(200)
  })

  it('of the body goes before that of the cookie', async () => {
    const { token } = await loggedIn()
    const answer = await call('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: token },
      headers: { Cookie: 'refresh_token=nonsense', Origin: 'https://evil.example' },
    })
    expect(answer.status).toBe(200)
  })

  it('used twice by the same client within ten seconds gives the same successor', async () => {
    const { person, token } = await loggedIn()
    const first = await refresh(token)
    await age(token, 9)
    const second = await refresh(token)
    expect(second.data.refresh_token).toBe(first.data.refresh_token)
    expect(await isLive(person)).toBe(true)
  })

  for (const [name, prepare, headers] of [
    ['later', (token: string) => age(token, 11), undefined],
    ['by another client', async () => undefined, { 'User-Agent': 'thief' }],
    ['by a client that says nothing of itself', async () => undefined, {}],
  ] as const)
    it(`used twice ${name} ends its session, and it is on record`, async () => {
      const { world, person, token } = await loggedIn()
      const { data } = await refresh(token)
      await prepare(token)
      const again = await refresh(token, headers as Record<string, string> | undefined)
      expect([again.status, again.error.code]).toEqual([401, 'token_revoked'])
      expect(await isLive(person)).toBe(false)
      expect((await refresh(data.refresh_token)).error.code).toBe('token_revoked')
      await expectError(call('GET', '/api/v1/auth/me', { token: data.access_token }), 'token_revoked')
      await expectError(call('GET', '/api/v1/auth/me', { token: person.token }), 'token_revoked')
      const audit = await env.DB.prepare(
        "select resource_id from audit_log where tenant_id = ? and action = 'session.reuse_detected'",
      )
        .bind(world.tenant.id)
        .all()
      expect(audit.results).toEqual([{ resource_id: person.session_id }])
      // Others go on.
      expect((await call('GET', '/api/v1/auth/me', { token: world.admin.token })).status).toBe(200)
    })

  it('used again although its successor was used ends its session, however soon', async () => {
    const { person, token } = await loggedIn()
    const second = await refresh(token)
    await refresh(second.data.refresh_token)
    expect((await refresh(token)).error.code).toBe('token_revoked')
    expect(await isLive(person)).toBe(false)
  })

  it('that is none is refused', async () => {
    const { person, token } = await loggedIn()
    for (const wrong of ['x', `${token}x`, token.slice(1), newRefreshToken(), person.token.slice(0, 200)])
      expect((await refresh(wrong)).error.code).toBe('invalid_token')
    expect((await refresh('x'.repeat(201))).error.code).toBe('validation_failed')
    expect(await isLive(person)).toBe(true)
  })

  it('of a session that ended or ran out is refused', async () => {
    const ended = await loggedIn()
    await call('POST', '/api/v1/auth/logout', { token: ended.person.token })
    expect((await refresh(ended.token)).error.code).toBe('token_revoked')
    const old = await loggedIn()
    await set(old.person, 'expires_at = ?', new Date(Date.now() - 1).toISOString())
    expect((await refresh(old.token)).error.code).toBe('token_expired')
  })

  it('of a tenant or user that is suspended is 403, of a cancelled tenant 401; none is used up', async () => {
    for (const [sql, code] of [
      ["update tenants set status = 'suspended' where id = ?1", 'tenant_suspended'],
      ["update tenants set status = 'cancelled' where id = ?1", 'token_revoked'],
      ["update users set status = 'suspended' where tenant_id = ?1", 'user_suspended'],
    ] as const) {
      const { world, person, token } = await loggedIn()
      await env.DB.prepare(sql).bind(world.tenant.id).run()
      expect((await refresh(token)).error.code).toBe(code)
      expect(await isLive(person)).toBe(true)
      await env.DB.prepare("update tenants set status = 'active' where id = ?").bind(world.tenant.id).run()
      await env.DB.prepare("update users set status = 'active' where tenant_id = ?")
        .bind(world.tenant.id)
        .run()
      expect((await refresh(token)).status).toBe(200)
    }
  })

  it('brings the role that the user has now', async () => {
    const { person, token } = await loggedIn()
    await env.DB.prepare("update users set role = 'viewer' where id = ?").bind(person.user.id).run()
    const { data } = await refresh(token)
    const claims = JSON.parse(
      atob((data.access_token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')),
    )
    expect(claims.role).toBe('viewer')
    expect(claims.scopes).not.toContain('interactions:write')
  })

  it('ignores a key of idempotency: no token is kept in the clear for a replay', async () => {
    const { token } = await loggedIn()
    const headers = { 'User-Agent': 'phone', 'X-Idempotency-Key': crypto.randomUUID() }
    const first = await refresh(token, headers)
    expect(first.status).toBe(200)
    const kept = await env.DB.prepare('select * from idempotency_keys where key = ?')
      .bind(headers['X-Idempotency-Key'])
      .all()
    expect(kept.results).toEqual([])
  })
})
