import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { verifyPassword } from '../../src/domains/identity/users/password'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { eventually } from '../webhooks/receiver'
import { call, callJson, makeWorld, type World } from '../world'
import { Isolate } from './isolates'
import { OTHER_PASSWORD, PASSWORD, someone, tenantOf } from './kit'

const NEW = 'a phrase that nobody had before'
// Each of these is a hash or several, on a machine that may be busy.
const patient = { timeout: 30_000 }

type Tokens = { access_token: string; refresh_token: string }
type Mail = { id: string; to: string; subject: string; text: string; html: string; tenant_id: string }

const forgot = (email: string, headers: Record<string, string> = {}) =>
  callJson<{ message: string }>('POST', '/api/v1/auth/password/forgot', { body: { email }, headers })
const reset = (token: string, password = NEW) =>
  callJson<{ message: string }>('POST', '/api/v1/auth/password/reset', { body: { token, password } })
const change = (token: string, current_password: string, new_password = NEW) =>
  callJson<{ message: string }>('POST', '/api/v1/auth/password/change', {
    token,
    body: { current_password, new_password },
  })
const login = (email: string, tenant: string, password: string) =>
  callJson<Tokens>('POST', '/api/v1/auth/login', { body: { email, password, tenant } })
const isIn = async (token: string) => (await call('GET', '/api/v1/auth/me', { token })).status === 200

async function mailsTo(email: string, subject = 'Choose a new password'): Promise<Mail[]> {
  const { results } = await env.DB.prepare('select * from mails where "to" = ? and subject = ? order by id')
    .bind(email, subject)
    .all<Mail>()
  return results
}

const arrived = (email: string, count = 1) =>
  eventually(async () => {
    const mails = await mailsTo(email)
    return mails.length >= count && mails
  })
const tokenIn = (mail: Mail | undefined) =>
  /\/reset-password#token=([\w-]{43})\b/.exec(mail?.text ?? '')?.[1] ?? ''

async function tokenFor(email: string): Promise<string> {
  const before = (await mailsTo(email)).length
  await forgot(email)
  return tokenIn((await arrived(email, before + 1)).at(-1))
}

const auditOf = async (world: World, action: string) =>
  (
    await env.DB.prepare('select * from audit_log where tenant_id = ? and action = ? order by id')
      .bind(world.tenant.id, action)
      .all<{ resource_id: string; actor_kind: string; actor_id: string | null; after: string | null }>()
  ).results
const hashOf = (id: string) =>
  env.DB.prepare('select password_hash from users where id = ?').bind(id).first<string>('password_hash')

async function owner(options: Parameters<typeof tenantOf>[1] = {}) {
  const email = someone()
  const world = await tenantOf(email, options)
  return { email, world, tenant: world.tenant.id, user: world.admin.user, token: world.admin.token }
}

describe('a forgotten password', patient, () => {
  it('is replaced by the token of a mail, and every session ends', async () => {
    const { email, world, tenant, user, token } = await owner({ verified: true })
    const { data: other } = await login(email, tenant, PASSWORD)
    expect([await isIn(token), await isIn(other.access_token)]).toEqual([true, true])

    const answer = await reset(await tokenFor(email))
    expect([answer.status, answer.data]).toEqual([200, { message: 'Password changed' }])
    expect([await isIn(token), await isIn(other.access_token)]).toEqual([false, false])
    const refresh = await callJson('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: other.refresh_token },
    })
    expect(refresh.error.code).toBe('token_revoked')
    expect((await login(email, tenant, PASSWORD)).error.code).toBe('invalid_credentials')
    expect((await login(email, tenant, NEW)).status).toBe(200)
    // Others of the tenant stay, and its keys.
    expect(await isIn(world.member.token)).toBe(true)
    expect((await call('GET', '/api/v1/webhooks', { key: world.apiKey })).status).toBe(200)

    expect(await auditOf(world, 'user.forgot_password')).toMatchObject([{ resource_id: user.id }])
    expect(await auditOf(world, 'user.reset_password')).toMatchObject([{ resource_id: user.id }])
    const [told] = await mailsTo(email, 'Your password was changed')
    expect(told?.text).toContain('http://localhost:8787/forgot-password')
  })

  it('of an address that was never confirmed leaves no way in that somebody else had laid out', async () => {
    const { email, world, user } = await owner()
    const { tenant } = world
    const now = new Date().toISOString()
    const insert = (table: string, fields: Record<string, unknown>) =>
      env.DB.prepare(
        `insert into ${table} (${Object.keys(fields).join()}) values (${Object.keys(fields).map(() => '?')})`,
      ).bind(...Object.values(fields))
    const own = { tenant_id: tenant.id, user_id: user.id }
    await env.DB.batch([
      insert('totp_enrolments', { ...own, secret_sealed: 'x', created_at: now, confirmed_at: now }),
      insert('recovery_codes', { ...own, hash: crypto.randomUUID() }),
    ])
    const elsewhere = new Isolate()
    expect((await elsewhere.knock({ key: world.apiKey })).status).toBe(200)
    const rest = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.developer.token,
      body: { name: 'of a colleague' },
    })

    expect((await reset(await tokenFor(email))).status).toBe(200)
    const me = await env.DB.prepare('select email_verified_at from users where id = ?').bind(user.id).first()
    expect(me?.email_verified_at).not.toBeNull()
    for (const table of ['totp_enrolments', 'recovery_codes']) {
      const { results } = await env.DB.prepare(`select * from ${table} where user_id = ?`).bind(user.id).all()
      expect([table, results]).toEqual([table, []])
    }
    expect((await call('GET', '/api/v1/webhooks', { key: world.apiKey })).status).toBe(401)
    await eventually(async () => (await elsewhere.knock({ key: world.apiKey })).status === 401, 12_000)
    expect((await call('GET', '/api/v1/webhooks', { key: rest.data.key })).status).toBe(200)
    expect((await login(email, tenant.id, NEW)).status).toBe(200)
  })

  it('ends sessions in other isolates too', async () => {
    const { email, token } = await owner()
    const elsewhere = new Isolate()
    expect((await elsewhere.knock({ token })).status).toBe(200)
    await reset(await tokenFor(email))
    await eventually(async () => (await elsewhere.knock({ token })).status === 401, 12_000)
  })

  it('is not told from an address that nobody has, by words or by work', async () => {
    const { email } = await owner()
    const away = () => {
      throw new Error('D1 is away')
    }
    // Whether there is such an address can't show in an answer that comes without asking.
    const blind = new Isolate({ DB: { prepare: away, batch: away } })
    const ask = async (isolate: Isolate, path: string, address: string) => {
      const answer = await isolate.ask('POST', `/api/v1/auth/${path}`, { body: { email: address } })
      const { data } = (await answer.json()) as { data: unknown }
      return [answer.status, data]
    }
    for (const path of ['password/forgot', 'verify-email/resend']) {
      const known = await ask(new Isolate(), path, email)
      expect(known[0]).toBe(200)
      expect(await ask(new Isolate(), path, someone())).toEqual(known)
      expect(await ask(blind, path, email)).toEqual(known)
    }
    await arrived(email)
  })

  it('is mailed to active users of living tenants alone, five times an hour at most', async () => {
    const email = someone()
    const worlds = [await tenantOf(email), await tenantOf(email), await tenantOf(email)]
    const [first, second, third] = worlds
    await env.DB.batch([
      env.DB.prepare("update users set status = 'suspended' where id = ?").bind(first?.admin.user.id),
      env.DB.prepare("update tenants set status = 'cancelled' where id = ?").bind(second?.tenant.id),
    ])
    for (let i = 0; i < 7; i++) await forgot(email)
    const mails = await arrived(email, 5)
    await scheduler.wait(100)
    expect(await mailsTo(email)).toHaveLength(5)
    expect(new Set(mails.map((mail) => mail.tenant_id))).toEqual(new Set([third?.tenant.id]))
  })

  it('keeps to the one tenant that a service is pinned to', async () => {
    const { email, tenant } = await owner()
    const elsewhere = serviceWith({ SINGLE_TENANT_ID: (await makeWorld()).tenant.id })
    const headers = { 'Content-Type': 'application/json' }
    const post = (path: string, body: object) =>
      elsewhere('POST', `http://localhost:8787/api/v1/auth/password/${path}`, {
        headers,
        body: JSON.stringify(body),
      })
    expect((await post('forgot', { email })).status).toBe(200)
    expect(await mailsTo(email)).toEqual([])
    const token = await tokenFor(email)
    await expectError(post('reset', { token, password: NEW }), 'tenant_mismatch')
    expect((await login(email, tenant, PASSWORD)).status).toBe(200)
  })
})

describe('a token of a mail', patient, () => {
  it('works once, for what it was sent for, within an hour', async () => {
    const { email, world, tenant, user } = await owner()
    const token = await tokenFor(email)
    const confirm = await callJson('POST', '/api/v1/auth/verify-email/confirm', { body: { token } })
    expect(confirm.error.details.fields).toHaveProperty('token')
    expect((await reset(token)).status).toBe(200)
    const hash = await hashOf(user.id)
    const again = await reset(token, OTHER_PASSWORD)
    expect([again.status, Object.keys(again.error.details.fields ?? {})]).toEqual([422, ['token']])

    const late = await tokenFor(email)
    expect((await forgot(someone())).status).toBe(200)
    const expires = await env.DB.prepare('select max(expires_at) as at from mail_tokens where user_id = ?')
      .bind(user.id)
      .first<string>('at')
    expect((Date.parse(expires ?? '') - Date.now()) / 60_000).toBeCloseTo(60, 0)
    await env.DB.prepare('update mail_tokens set expires_at = ? where user_id = ?')
      .bind(new Date(Date.now() - 1).toISOString(), user.id)
      .run()
    expect((await reset(late, OTHER_PASSWORD)).status).toBe(422)
    for (const wrong of ['x', 'A'.repeat(43), '']) expect((await reset(wrong)).status).toBe(422)

    // Refused, on record, and nothing changed.
    expect(await hashOf(user.id)).toBe(hash)
    expect((await login(email, tenant, NEW)).status).toBe(200)
    const refusals = await auditOf(world, 'user.refuse_token')
    expect(refusals).toHaveLength(2)
    expect(refusals[0]).toMatchObject({ resource_id: user.id, actor_kind: 'anonymous' })
  })

  it('works once in a race', async () => {
    const { email, user } = await owner()
    const token = await tokenFor(email)
    const answers = await Promise.all(
      [NEW, OTHER_PASSWORD, `${NEW}!`].map((password) => reset(token, password)),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 422, 422])
    const winner = [NEW, OTHER_PASSWORD, `${NEW}!`][answers.findIndex(({ status }) => status === 200)]
    expect(await verifyPassword(winner ?? '', await hashOf(user.id))).toBe(true)
  })

  it('is worthless once the password was changed, and is kept as a hash', async () => {
    const { email, token } = await owner()
    const first = await tokenFor(email)
    const second = await tokenFor(email)
    expect((await reset(second)).status).toBe(200)
    expect((await reset(first, OTHER_PASSWORD)).status).toBe(422)
    expect(await isIn(token)).toBe(false)
    const rows = await env.DB.prepare('select * from mail_tokens').all()
    expect(JSON.stringify(rows.results)).not.toContain(first)
  })

  it('is not used up by a password that is refused', async () => {
    const { email } = await owner()
    const token = await tokenFor(email)
    expect(Object.keys((await reset(token, 'password123')).error.details.fields ?? {})).toEqual(['password'])
    expect((await reset(token)).status).toBe(200)
  })

  it('of a tenant that was cancelled is none', async () => {
    const { email, tenant } = await owner()
    const token = await tokenFor(email)
    await env.DB.prepare("update tenants set status = 'cancelled' where id = ?").bind(tenant).run()
    expect((await reset(token)).status).toBe(422)
  })
})

describe('changing one’s password', patient, () => {
  it('takes the current one, and ends the other sessions', async () => {
    const { email, world, tenant, user, token } = await owner()
    const { data: other } = await login(email, tenant, PASSWORD)
    const mailed = await tokenFor(email)
    const answer = await change(other.access_token, PASSWORD)
    expect([answer.status, answer.data]).toEqual([200, { message: 'Password changed' }])
    expect([await isIn(token), await isIn(other.access_token)]).toEqual([false, true])
    const refresh = await call('POST', '/api/v1/auth/refresh', {
      body: { refresh_token: other.refresh_token },
    })
    expect(refresh.status).toBe(200)
    expect((await login(email, tenant, NEW)).status).toBe(200)
    expect((await login(email, tenant, PASSWORD)).status).toBe(401)
    expect((await reset(mailed, OTHER_PASSWORD)).status).toBe(422)
    expect(await auditOf(world, 'user.change_password')).toMatchObject([{ actor_id: user.id }])
    expect(await mailsTo(email, 'Your password was changed')).toHaveLength(1)
  })

  it('names what is wrong', async () => {
    const { token, user } = await owner()
    const hash = await hashOf(user.id)
    const fields = async (current: string, next?: string) =>
      Object.keys((await change(token, current, next)).error.details.fields ?? {})
    expect(await fields(OTHER_PASSWORD)).toEqual(['current_password'])
    expect(await fields(PASSWORD, 'short')).toEqual(['new_password'])
    expect(await fields(PASSWORD, PASSWORD)).toEqual(['new_password'])
    expect(await hashOf(user.id)).toBe(hash)
    expect(await isIn(token)).toBe(true)
  })

  it('is for users: a key has no password', async () => {
    const { world } = await owner()
    const body = { current_password: PASSWORD, new_password: NEW }
    await expectError(
      call('POST', '/api/v1/auth/password/change', { key: world.apiKey, body }),
      'user_required',
    )
  })

  it('is refused to who has none; a mail makes one', async () => {
    const { world } = await owner()
    const { user, token } = world.member
    expect((await change(token, PASSWORD)).status).toBe(422)
    expect((await reset(await tokenFor(user.email))).status).toBe(200)
    expect((await login(user.email, world.tenant.id, NEW)).status).toBe(200)
  })

  it('lets nobody guess with somebody’s open session: ten wrong ones an hour', async () => {
    const { email, tenant, token } = await owner()
    const answers = await Promise.all(Array.from({ length: 10 }, () => change(token, OTHER_PASSWORD)))
    // Some may have found the line too long, which counts for nothing.
    for (let i = answers.filter(({ status }) => status === 422).length; i < 10; i++)
      expect((await change(token, OTHER_PASSWORD)).status).toBe(422)
    const refused = await change(token, PASSWORD)
    expect([refused.status, refused.error.details.window]).toEqual([429, 'wrong_passwords'])
    // Logging in is another matter, and so is the session.
    expect(await isIn(token)).toBe(true)
    expect((await login(email, tenant, PASSWORD)).status).toBe(200)
  })
})

describe('a login that raced with a change of the password', patient, () => {
  it('opens no session by the old one', async () => {
    for (const hash of ['full', 'cheap'] as const) {
      const { email, tenant, user } = await owner({ hash })
      const changed = env.DB.prepare("update users set password_hash = 'changed' where id = ?").bind(user.id)
      // What the login writes comes right after the change.
      const raced = new Isolate({
        DB: {
          prepare: (sql: string) => env.DB.prepare(sql),
          batch: async (statements: D1PreparedStatement[]) => {
            await changed.run()
            return env.DB.batch(statements)
          },
        },
      })
      const body = { email, password: PASSWORD, tenant }
      await expectError(raced.ask('POST', '/api/v1/auth/login', { body }), 'invalid_credentials')
      expect(await hashOf(user.id)).toBe('changed')
      const sessions = await env.DB.prepare('select * from sessions where user_id = ?').bind(user.id).all()
      // The one that the tenant was made with.
      expect(sessions.results).toHaveLength(1)
    }
  })
})
