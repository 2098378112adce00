import { env } from 'cloudflare:workers'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import { expectError } from '../http/expect-error'
import { call, callJson, makePlatformAdmin, makeWorld } from '../world'

// What was ended stops in the isolate that ended it at once; revocation.test.ts is about the others.

const run = (sql: string, ...params: unknown[]) =>
  env.DB.prepare(sql)
    .bind(...params)
    .run()
const me = (token: string) => call('GET', '/api/v1/auth/me', { token })

describe('what this isolate did', () => {
  it('ends a session at once, whichever of the ways', async () => {
    const ways = [
      (token: string) => call('POST', '/api/v1/auth/logout', { token }),
      (token: string) => call('POST', '/api/v1/auth/logout-all', { token }),
    ]
    for (const end of ways) {
      const { member } = await makeWorld()
      expect((await me(member.token)).status).toBe(200)
      expect((await end(member.token)).status).toBe(204)
      await expectError(me(member.token), 'token_revoked')
    }
  })

  it('ends every session of the user with logout-all, and of nobody else', async () => {
    const { tenant, member, admin } = await makeWorld()
    await run(
      `insert into sessions select tenant_id, id || '-2', user_id, user_agent, address, version, created_at, last_seen_at, expires_at, ended_at
       from sessions where id = ?`,
      member.session_id,
    )
    await call('POST', '/api/v1/auth/logout-all', { token: member.token })
    const open = await env.DB.prepare('select user_id from sessions where tenant_id = ? and ended_at is null')
      .bind(tenant.id)
      .all<{ user_id: string }>()
    expect(open.results.map((row) => row.user_id)).not.toContain(member.user.id)
    expect(open.results).toHaveLength(3)
    expect((await me(admin.token)).status).toBe(200)
  })

  it('suspends a tenant at once, and resumes it', async () => {
    const { token } = await makePlatformAdmin()
    const { tenant, member } = await makeWorld()
    expect((await me(member.token)).status).toBe(200)
    const set = (status: string) =>
      call('PATCH', `/api/platform/tenants/${tenant.id}`, { token, body: { status } })
    expect((await set('suspended')).status).toBe(200)
    await expectError(me(member.token), 'tenant_suspended')
    expect((await set('active')).status).toBe(200)
    expect((await me(member.token)).status).toBe(200)
  })
})

describe('the public keys', () => {
  it('verify what the service signs, and hold nothing private', async () => {
    const { member } = await makeWorld()
    const answer = await call('GET', '/.well-known/jwks.json')
    const jwks = (await answer.json()) as { keys: Record<string, unknown>[] }
    expect(answer.headers.get('Content-Type')).toContain('application/json')
    for (const key of jwks.keys) {
      expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'])
      expect(key).toMatchObject({ kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' })
    }
    const { payload, protectedHeader } = await jwtVerify(member.token, createLocalJWKSet(jwks as never))
    expect(payload.sub).toBe(member.user.id)
    expect(jwks.keys.map((key) => key.kid)).toContain(protectedHeader.kid)
  })

  it('are kept with the private half sealed', async () => {
    const rows = await env.DB.prepare('select * from signing_keys').all<{ private_sealed: string }>()
    expect(rows.results.length).toBeGreaterThan(0)
    for (const row of rows.results) {
      expect(row.private_sealed).toMatch(/^v2\./)
      expect(JSON.stringify(row)).not.toMatch(/"d\\?"/)
    }
  })
})

describe('sessions', () => {
  it('are listed in pages, the user’s own alone, without those that ended', async () => {
    const { tenant, member } = await makeWorld()
    const insert = env.DB.prepare(
      `insert into sessions (tenant_id, id, user_id, version, created_at, last_seen_at, expires_at, ended_at)
       values (?, ?, ?, 1, ?, ?, ?, ?)`,
    )
    const now = new Date().toISOString()
    const make = (i: number, expires: string, ended: string | null) =>
      insert.bind(
        tenant.id,
        `0197b3c2-8f4e-7c1a-9d2b-00000000000${i}`,
        member.user.id,
        now,
        now,
        expires,
        ended,
      )
    const far = '2999-01-01T00:00:00.000Z'
    await env.DB.batch([
      make(1, far, null),
      make(2, far, now),
      make(3, '2020-01-01T00:00:00.000Z', null),
      make(4, far, null),
    ])
    const page = async (query: string) =>
      callJson<{ id: string; is_current: boolean }[]>('GET', `/api/v1/auth/sessions?${query}`, {
        token: member.token,
      })
    const first = await page('limit=2')
    const second = await page(`limit=2&cursor=${first.meta.next_cursor}`)
    expect([...first.data, ...second.data].map((row) => row.id)).toEqual([
      member.session_id,
      '0197b3c2-8f4e-7c1a-9d2b-000000000004',
      '0197b3c2-8f4e-7c1a-9d2b-000000000001',
    ])
    expect(first.data.map((row) => row.is_current)).toEqual([true, false])
    expect(JSON.stringify(first.data)).not.toContain('tenant_id')
  })

  it('are not for API keys', async () => {
    const { apiKey, admin } = await makeWorld()
    await expectError(call('GET', '/api/v1/auth/sessions', { key: apiKey }), 'user_required')
    await expectError(
      call('DELETE', `/api/v1/auth/sessions/${admin.session_id}`, { key: apiKey }),
      'user_required',
    )
  })
})
