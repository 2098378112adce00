import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld } from '../world'
import { OTHER_PASSWORD, PASSWORD, someone, tenantOf } from './kit'

const password = PASSWORD
const other = OTHER_PASSWORD

const login = (email: string, more: object = {}, headers: Record<string, string> = {}) =>
  callJson<{ access_token: string; refresh_token: string }>('POST', '/api/v1/auth/login', {
    body: { email, password, ...more },
    headers,
  })
const tenantIn = (token: string) =>
  JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))).tenant_id

// Each of these is a hash or three, on a machine that may be busy.
const patient = { timeout: 30_000 }

describe('an address in one tenant', patient, () => {
  it('logs in however it is written', async () => {
    const email = someone()
    await tenantOf(email)
    expect((await login(`  ${email.toUpperCase()} `)).status).toBe(200)
  })

  it('may name the tenant by id, slug or header', async () => {
    const email = someone()
    const { tenant } = await tenantOf(email)
    for (const named of [tenant.id.toUpperCase(), tenant.slug])
      expect([named, (await login(email, { tenant: named })).status]).toEqual([named, 200])
    expect((await login(email, {}, { 'x-client-id': tenant.id })).status).toBe(200)
    expect((await login(email, {}, { 'X-Tenant-ID': 'no-such-tenant' })).error.code).toBe(
      'invalid_credentials',
    )
    expect((await login(email, { tenant: "' or 1=1 --" })).error.code).toBe('invalid_credentials')
  })

  it('writes a session and an audit row, and when it was', async () => {
    const email = someone()
    const { tenant, admin } = await tenantOf(email)
    const before = await call('GET', '/api/v1/auth/me', { token: admin.token })
    const { data } = await login(
      email,
      { tenant: tenant.id },
      { 'User-Agent': 'curl/8', 'CF-Connecting-IP': '198.51.100.4' },
    )
    const session = await env.DB.prepare(
      "select * from sessions where tenant_id = ? and user_agent = 'curl/8'",
    )
      .bind(tenant.id)
      .first()
    expect(session).toMatchObject({ user_id: admin.user.id, address: '198.51.100.4', ended_at: null })
    const audit = await env.DB.prepare(
      "select * from audit_log where tenant_id = ? and action = 'session.create'",
    )
      .bind(tenant.id)
      .first()
    expect(audit).toMatchObject({
      actor_id: admin.user.id,
      resource_id: session?.id,
      address: '198.51.100.4',
    })
    // What is shown has changed, so its tag has.
    const headers = { 'If-None-Match': before.headers.get('ETag') ?? '' }
    const after = await callJson<{ last_login_at: string }>('GET', '/api/v1/auth/me', {
      token: admin.token,
      headers,
    })
    expect([after.status, after.data?.last_login_at]).toEqual([200, expect.any(String)])
    // And nothing is kept that could be used.
    for (const table of ['sessions', 'refresh_tokens', 'audit_log', 'events']) {
      const rows = await env.DB.prepare(`select * from ${table} where tenant_id = ?`).bind(tenant.id).all()
      expect(rows.results.length + (table === 'events' ? 1 : 0)).toBeGreaterThan(0)
      expect(JSON.stringify(rows.results)).not.toContain(data.refresh_token)
    }
  })

  it('tells of a closed door only to who knows the password', async () => {
    const doors: [string, string, string][] = [
      ['tenants', "status = 'suspended'", 'tenant_suspended'],
      ['users', "status = 'suspended'", 'user_suspended'],
    ]
    for (const [table, change, code] of doors) {
      const email = someone()
      const { tenant, admin } = await tenantOf(email)
      await env.DB.prepare(`update ${table} set ${change} where id = ?`)
        .bind(table === 'tenants' ? tenant.id : admin.user.id)
        .run()
      const named = { tenant: tenant.id }
      expect((await login(email, named)).error.code).toBe(code)
      expect((await login(email, { ...named, password: other })).error.code).toBe('invalid_credentials')
    }
  })

  it('waits for the address to be verified where the tenant says so', async () => {
    const email = someone()
    const { admin, tenant } = await tenantOf(email, { settings: { require_verified_email: true } })
    expect((await login(email, { tenant: tenant.id })).error.code).toBe('email_not_verified')
    await env.DB.prepare('update users set email_verified_at = ? where id = ?')
      .bind('2026-01-01', admin.user.id)
      .run()
    expect((await login(email)).status).toBe(200)
  })

  it('of a cancelled tenant is no address at all', async () => {
    const email = someone()
    const { tenant } = await tenantOf(email)
    await env.DB.prepare("update tenants set status = 'cancelled' where id = ?").bind(tenant.id).run()
    expect((await login(email)).error.code).toBe('invalid_credentials')
    expect((await login(email, { tenant: tenant.id })).error.code).toBe('invalid_credentials')
  })

  it('names what is wrong with a body', async () => {
    const answer = await login('not an address', { password: 7, device: 'x' })
    expect(Object.keys(answer.error.details.fields ?? {}).sort()).toEqual(['device', 'email', 'password'])
    await expectError(
      call('POST', '/api/v1/auth/login', { body: { email: 'a@b.example', password: 'x'.repeat(1001) } }),
      'validation_failed',
    )
  })
})

describe('an address in several tenants', patient, () => {
  it('finds the one that the password fits', async () => {
    const email = someone()
    await tenantOf(email, { password: other })
    const mine = await tenantOf(email)
    const answer = await login(email)
    expect(tenantIn(answer.data.access_token)).toBe(mine.tenant.id)
  })

  it('is asked which where it fits several, by id and name', async () => {
    const email = someone()
    const one = await tenantOf(email)
    const two = await tenantOf(email)
    await tenantOf(email, { password: other })
    const answer = await login(email)
    expect([answer.status, answer.error.code]).toEqual([409, 'tenant_required'])
    expect(answer.error.details.tenants).toEqual([
      { id: one.tenant.id, name: one.tenant.name },
      { id: two.tenant.id, name: two.tenant.name },
    ])
    const named = await login(email, { tenant: two.tenant.id })
    expect(tenantIn(named.data.access_token)).toBe(two.tenant.id)
  })

  it('is not locked out by strangers who sign up with it', async () => {
    const email = someone()
    for (let i = 0; i < 2; i++) await tenantOf(email, { password: other })
    const mine = await tenantOf(email, { verified: true })
    for (let i = 0; i < 2; i++) await tenantOf(email, { password: other })
    const answer = await login(email)
    expect(answer.status).toBe(200)
    expect(tenantIn(answer.data.access_token)).toBe(mine.tenant.id)
  })

  it('beyond three must name it: the answer of a wrong password, with that hint', async () => {
    const email = someone()
    for (let i = 0; i < 3; i++) await tenantOf(email, { password: other })
    const fourth = await tenantOf(email)
    const answer = await login(email)
    expect([answer.status, answer.error.code]).toEqual([401, 'invalid_credentials'])
    expect(answer.error.message).toContain('"tenant"')
    expect((await login(email, { tenant: fourth.tenant.slug })).status).toBe(200)
  })

  it('a slug can’t be another tenant’s id', async () => {
    const { tenant } = await tenantOf(someone())
    const answer = await call('POST', '/api/v1/tenants/onboarding/public', {
      body: { name: 'Trap', slug: tenant.id, email: someone(), password },
    })
    const error = await expectError(answer, 'validation_failed')
    expect(Object.keys(error.details.fields ?? {})).toEqual(['slug'])
  })
})

describe('a user without a password', patient, () => {
  it('can’t log in with any', async () => {
    const world = await makeWorld()
    for (const tried of ['', password])
      expect(
        (await login(world.admin.user.email, { password: tried, tenant: world.tenant.id })).error.code,
      ).toBe('invalid_credentials')
  })
})
