import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { count, dropOldAttempts, refusalOf } from '../../src/domains/identity/attempts/service'
import type { Bindings } from '../../src/env'
import { expectError } from '../http/expect-error'
import { eventually } from '../webhooks/receiver'
import { call, newAddress, requestContext } from '../world'
import { PASSWORD as RIGHT, someone, tenantOf, OTHER_PASSWORD as WRONG } from './kit'

// Ten wrong passwords an hour slow the caller down; nobody is kept out of a session, nor by a stranger out of an account.
// Wrong ones are noted in D1, as logins would: each that is made here is a hash.

const patient = { timeout: 60_000 }

const ask = (email: string, password: string, more: object = {}, headers: Record<string, string> = {}) =>
  call('POST', '/api/v1/auth/login', { body: { email, password, ...more }, headers })

/** As many wrong passwords as strangers can try in an hour, without the hashes. */
async function spend(email: string, most = 10, now = Date.now()): Promise<void> {
  for (let i = 0; i < most; i++)
    await count(requestContext({ now }), { window: 'wrong_passwords', subject: `email:${email}`, most: 10 })
}

const deviceOf = (answer: Response) =>
  answer.headers
    .getSetCookie()
    .map((cookie) => cookie.split(';')[0] ?? '')
    .find((cookie) => cookie.startsWith('login_device=')) ?? ''

async function refused(answer: Promise<Response>, window = 'wrong_passwords') {
  const response = await answer
  const error = await expectError(response, 'rate_limited')
  expect(error.details).toMatchObject({ window, limit: 10, remaining: 0 })
  const wait = Number(response.headers.get('Retry-After'))
  expect(error.details.retry_after).toBe(wait)
  return wait
}

describe('wrong passwords', patient, () => {
  it('are ten an hour for an account, whoever tries; then every try is 429, before any hash', async () => {
    const email = someone()
    const { tenant } = await tenantOf(email)
    const named = { tenant: tenant.id }
    for (let i = 0; i < 10; i++) await expectError(ask(email, WRONG, named), 'invalid_credentials')
    const wait = await refused(ask(email, WRONG, named))
    expect(wait).toBeGreaterThan(3500)
    expect(wait).toBeLessThanOrEqual(3600)
    // The right one too, from who was never here; and as another tenant, or as none.
    await refused(ask(email, RIGHT, named))
    await refused(ask(email, RIGHT))
    await refused(ask(email.toUpperCase(), RIGHT))
    const audit = await eventually(async () => {
      const { results } = await env.DB.prepare(
        "select * from audit_log where tenant_id = ? and action = 'session.refuse'",
      )
        .bind(tenant.id)
        .all<{ resource_id: string; actor_kind: string }>()
      return results.length >= 10 && results
    })
    expect(audit).toHaveLength(10)
    expect(audit[0]?.actor_kind).toBe('anonymous')
  })

  it('of an address that nobody has are counted alike', async () => {
    const email = someone()
    await spend(email, 9)
    await expectError(ask(email, WRONG, { tenant: 'nobody' }), 'invalid_credentials')
    await refused(ask(email, WRONG, { tenant: 'nobody' }))
  })

  it('are counted by the hour, exactly', async () => {
    const email = someone()
    const { tenant } = await tenantOf(email)
    const now = Date.now()
    await spend(email, 1, now - 3600_000 + 1_500)
    await spend(email, 9, now - 1_000)
    const wait = await refused(ask(email, RIGHT, { tenant: tenant.id }))
    expect(wait).toBeLessThanOrEqual(2)
    await scheduler.wait(wait * 1_000)
    expect((await ask(email, RIGHT, { tenant: tenant.id })).status).toBe(200)
  })

  it('are none where the password is right, however often, or was not compared', async () => {
    const email = someone()
    const { tenant, admin } = await tenantOf(email)
    await spend(email, 9)
    for (let i = 0; i < 3; i++) expect((await ask(email, RIGHT, { tenant: tenant.id })).status).toBe(200)
    await env.DB.prepare("update users set status = 'suspended' where id = ?").bind(admin.user.id).run()
    for (let i = 0; i < 3; i++) await expectError(ask(email, RIGHT, { tenant: tenant.id }), 'user_suspended')
  })

  it('are not more in a race', async () => {
    const email = someone()
    const caller = requestContext()
    const allowance = { window: 'wrong_passwords', subject: `email:${email}`, most: 10 }
    const counted = await Promise.all(Array.from({ length: 40 }, () => count(caller, allowance, true)))
    expect(counted.filter((attempt) => attempt !== null)).toHaveLength(10)
    // Those under way may come to nothing, so who was refused need not wait for an hour.
    expect((await refusalOf(caller, allowance)).headers['Retry-After']).toBe('1')
    expect((await refusalOf({ ...caller, now: caller.now + 31_000 }, allowance)).headers['Retry-After']).toBe(
      '3569',
    )
  })

  it('are kept without the address, for an hour', async () => {
    const email = someone()
    await spend(email, 1)
    const rows = async () => JSON.stringify((await env.DB.prepare('select * from attempts').all()).results)
    expect(await rows()).not.toContain(email)
    const of = (at: number) =>
      env.DB.prepare('select count(*) as n from attempts where at < ?').bind(at).first<number>('n')
    await spend(someone(), 1, Date.now() - 3601_000)
    expect(await of(Date.now() - 3600_000)).toBeGreaterThan(0)
    await dropOldAttempts(env as unknown as Bindings, Date.now())
    expect(await of(Date.now() - 3600_000)).toBe(0)
    expect(await of(Date.now() + 1)).toBeGreaterThan(0)
  })
})

describe('the owner of an account that strangers try', patient, () => {
  it('stays logged in', async () => {
    const email = someone()
    const { admin, tenant } = await tenantOf(email)
    const { data } = (await (await ask(email, RIGHT, { tenant: tenant.id })).json()) as {
      data: { access_token: string; refresh_token: string }
    }
    await spend(email)
    for (const token of [admin.token, data.access_token])
      expect((await call('GET', '/api/v1/auth/me', { token })).status).toBe(200)
    const { refresh_token } = data
    expect((await call('POST', '/api/v1/auth/refresh', { body: { refresh_token } })).status).toBe(200)
  })

  it('logs in from a browser that has logged in before, with ten tries of its own', async () => {
    const email = someone()
    const { tenant } = await tenantOf(email)
    const named = { tenant: tenant.id }
    const Cookie = deviceOf(await ask(email, RIGHT, named))
    await spend(email)
    await refused(ask(email, RIGHT, named))
    for (let i = 0; i < 10; i++)
      await expectError(ask(email, WRONG, named, { Cookie }), 'invalid_credentials')
    await refused(ask(email, RIGHT, named, { Cookie }))
  })

  it('and so from an address of which a login is known', async () => {
    const email = someone()
    const { tenant } = await tenantOf(email)
    const from = { 'CF-Connecting-IP': '2001:db8:5:6::7' }
    const near = { 'CF-Connecting-IP': '2001:db8:5:6:ffff::1' }
    expect((await ask(email, RIGHT, { tenant: tenant.id }, from)).status).toBe(200)
    await spend(email)
    expect((await ask(email, RIGHT, {}, near)).status).toBe(200)
    await refused(ask(email, RIGHT, {}, { 'CF-Connecting-IP': '2001:db8:5:7::7' }))
    // Ten years later it is nobody's.
    await env.DB.prepare('update sessions set created_at = ? where tenant_id = ?')
      .bind('2016-01-01T00:00:00.000Z', tenant.id)
      .run()
    await refused(ask(email, RIGHT, {}, near))
  })

  it('is not tried more often by who has the same address in a tenant of their own', async () => {
    const email = someone()
    const victim = await tenantOf(email)
    const own = await tenantOf(email, { password: WRONG })
    const from = { 'CF-Connecting-IP': newAddress() }
    const Cookie = deviceOf(await ask(email, WRONG, { tenant: own.tenant.id }, from))
    await spend(email)
    // The browser is known, but not for the victim's user, even with the right password.
    await refused(ask(email, RIGHT, { tenant: victim.tenant.id }, { ...from, Cookie }))
    await expectError(ask(email, RIGHT, {}, { ...from, Cookie }), 'invalid_credentials')
    expect((await ask(email, WRONG, {}, { Cookie })).status).toBe(200)
  })

  it('is not helped by a cookie that was made up', async () => {
    const email = someone()
    const { tenant } = await tenantOf(email)
    const Cookie = deviceOf(await ask(email, RIGHT, { tenant: tenant.id }))
    await spend(email)
    const [id = '', tag = ''] = Cookie.replace('login_device=', '').split('.')
    const made = [
      '',
      'x',
      id,
      `${id}.${'A'.repeat(22)}`,
      `${'A'.repeat(22)}.${tag}`,
      `${id}.${tag}.`,
      `${id}.${tag.slice(0, -1)}`,
      `${id}${`.${tag}`.repeat(7)}`,
    ]
    for (const value of made) {
      const headers = { Cookie: `login_device=${value}` }
      expect([value, await refused(ask(email, RIGHT, {}, headers))]).toEqual([value, expect.any(Number)])
    }
    expect((await ask(email, RIGHT, {}, { Cookie })).status).toBe(200)
  })
})

describe('the cookie of a browser that logged in', patient, () => {
  it('knows five users, the latest first, by no name', async () => {
    let Cookie = ''
    const people: { email: string; tenant: string }[] = []
    for (let i = 0; i < 6; i++) {
      const email = someone()
      const { tenant } = await tenantOf(email)
      people.push({ email, tenant: tenant.id })
      Cookie = deviceOf(await ask(email, RIGHT, { tenant: tenant.id }, Cookie ? { Cookie } : {}))
      expect(Cookie).not.toContain(email)
    }
    expect(Cookie.split('.')).toHaveLength(6)
    const [first, , , , , last] = people
    for (const person of [first, last]) await spend(person?.email ?? '')
    await refused(ask(first?.email ?? '', RIGHT, { tenant: first?.tenant }, { Cookie }))
    expect((await ask(last?.email ?? '', RIGHT, { tenant: last?.tenant }, { Cookie })).status).toBe(200)
    // It opens nothing.
    await expectError(call('GET', '/api/v1/auth/me', { headers: { Cookie } }), 'credential_required')
  })
})

describe('what was counted', () => {
  // Which visits every tenant of every test.
  it('is dropped by the hourly round', { timeout: 240_000 }, async () => {
    const subject = crypto.randomUUID()
    const old = requestContext({ now: Date.now() - 2 * 3600_000 })
    await count(old, { window: 'wrong_passwords', subject, most: 10 })
    const { retain } = await import('../../src/domains/webhooks/retention/service')
    await retain(env as unknown as Bindings, { waitUntil: () => undefined }, Date.now())
    await eventually(
      async () =>
        (await env.DB.prepare('select count(*) as n from attempts where at < ?')
          .bind(Date.now() - 3601_000)
          .first<number>('n')) === 0,
    )
  })
})
