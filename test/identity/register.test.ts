import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { tokensFor } from '../../src/domains/identity/sessions/open'
import { newId } from '../../src/lib/ids'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { eventually } from '../webhooks/receiver'
import { call, callJson, makePlatformAdmin, makeWorld, requestContext } from '../world'
import { PASSWORD, someone } from './kit'

// Each of these is a hash or two, on a machine that may be busy.
const patient = { timeout: 30_000 }

type User = Record<string, unknown> & { id: string; tenant_id: string }

const register = (body: object, headers: Record<string, string> = {}) =>
  callJson<User>('POST', '/api/v1/auth/register', { body: { password: PASSWORD, ...body }, headers })

const rows = async <T = Record<string, unknown>>(sql: string, ...params: unknown[]) =>
  (
    await env.DB.prepare(sql)
      .bind(...params)
      .all<T>()
  ).results
const mailsTo = (email: string) =>
  rows<{ subject: string; text: string; tenant_id: string }>(
    'select * from mails where "to" = ? order by id',
    email,
  )
/** The same for what is sent after the answer. */
const mailsArrivedAt = (email: string) =>
  eventually(async () => {
    const mails = await mailsTo(email)
    return mails.length > 0 && mails
  })
const usersOf = (email: string) =>
  rows<{ id: string; tenant_id: string; is_personal: number }>(
    'select * from users where email = ? order by id',
    email,
  )
const verify = (email: string) =>
  env.DB.prepare('update users set email_verified_at = ? where email = ?')
    .bind('2026-01-01T00:00:00.000Z', email)
    .run()

const SHAPE = [
  ...['id', 'tenant_id', 'email', 'full_name', 'role', 'status', 'avatar', 'preferences'],
  ...['email_verified_at', 'last_login_at', 'created_at', 'updated_at'],
].sort()

describe('registration into a tenant of one’s own', patient, () => {
  it('makes tenant and user under one id, and mails a link', async () => {
    const email = someone()
    const answer = await register({ email: ` ${email.toUpperCase()}`, full_name: 'Ada' })
    expect(answer.status).toBe(201)
    expect(answer.headers.get('Location')).toBe('/api/v1/auth/me')
    expect(Object.keys(answer.data).sort()).toEqual(SHAPE)
    expect(answer.data).toMatchObject({
      email,
      full_name: 'Ada',
      role: 'admin',
      status: 'active',
      email_verified_at: null,
    })
    expect(answer.data.tenant_id).toBe(answer.data.id)
    const [tenant] = await rows('select * from tenants where id = ?', answer.data.id)
    expect(tenant).toMatchObject({ name: 'Ada', plan: 'starter', status: 'active', is_platform: 0 })
    const mails = await mailsTo(email)
    expect(mails).toHaveLength(1)
    expect(mails[0]?.text).toContain('#token=')
    expect(await rows('select * from audit_log where tenant_id = ?', answer.data.id)).toMatchObject([
      { action: 'user.register', actor_kind: 'anonymous', resource_id: answer.data.id },
    ])
    const [event] = await rows<{ type: string; data: string }>(
      'select * from events where tenant_id = ?',
      answer.data.id,
    )
    expect(event?.type).toBe('user.created')
    expect(event?.data).not.toContain('scrypt')
  })

  it('answers alike where the address has a verified one, whose owner gets a mail and nothing else', async () => {
    const email = someone()
    const first = await register({ email, full_name: 'Owner' })
    await verify(email)
    const again = await register({ email, full_name: 'Stranger' })
    expect(again.status).toBe(201)
    expect(Object.keys(again.data).sort()).toEqual(SHAPE)
    expect([...again.headers.keys()].sort()).toEqual([...first.headers.keys()].sort())
    expect({ ...again.data, id: 0, tenant_id: 0, created_at: 0, updated_at: 0 }).toEqual({
      ...first.data,
      full_name: 'Stranger',
      ...{ id: 0, tenant_id: 0, created_at: 0, updated_at: 0 },
    })
    expect(again.data.id).not.toBe(first.data.id)
    expect(again.data.tenant_id).toBe(again.data.id)
    expect(await usersOf(email)).toHaveLength(1)
    expect(await rows('select * from tenants where id = ?', again.data.id)).toEqual([])
    const mails = await mailsTo(email)
    expect(mails.map((mail) => mail.tenant_id)).toEqual([first.data.id, first.data.id])
    expect(mails[1]?.subject).toContain('already')
    const [owner] = await rows('select * from users where id = ?', first.data.id)
    expect(owner).toMatchObject({ full_name: 'Owner', is_personal: 1 })
  })

  it('replaces one that never verified, so that nobody can hold another’s address', async () => {
    const email = someone()
    const squatter = await register({ email })
    const { token } = await sessionOf(squatter.data)
    expect((await call('GET', '/api/v1/auth/me', { token })).status).toBe(200)
    const owner = await register({ email })
    expect(owner.status).toBe(201)
    expect(await rows('select status from tenants where id = ?', squatter.data.id)).toEqual([
      { status: 'cancelled' },
    ])
    expect(await rows('select status from tenants where id = ?', owner.data.id)).toEqual([
      { status: 'active' },
    ])
    expect((await usersOf(email)).filter((user) => user.is_personal === 1)).toMatchObject([
      { id: owner.data.id },
    ])
    expect(
      await rows('select * from sessions where tenant_id = ? and ended_at is null', squatter.data.id),
    ).toEqual([])
    await expectError(call('GET', '/api/v1/auth/me', { token }), 'token_revoked')
  })

  it('leaves the tenant to those who have joined it, and asks the owner of the address for the password', async () => {
    const email = someone()
    const first = await register({ email })
    const { token } = await sessionOf(first.data)
    const invited = someone()
    await callJson('POST', '/api/v1/users/invitations', { token, body: { email: invited, role: 'admin' } })
    const [mail] = await mailsTo(invited)
    const [, invitation] = /#token=(\S+)/.exec(mail?.text ?? '') ?? []
    expect((await register({ email: invited, invitation })).data.tenant_id).toBe(first.data.id)

    const second = await register({ email })
    expect([second.status, second.data.id === first.data.id]).toEqual([201, false])
    expect(await rows('select status from tenants where id = ?', first.data.id)).toEqual([
      { status: 'active' },
    ])
    expect(await rows('select * from deletions where id = ?', first.data.id)).toEqual([])
    expect((await call('GET', '/api/v1/auth/me', { token })).status).toBe(200)
    expect((await usersOf(email)).map(({ id, is_personal }) => [id, is_personal])).toEqual([
      [first.data.id, 0],
      [second.data.id, 1],
    ])
    // The mail that was waited for may be that of a stranger's registration.
    const [, link] = /#token=(\S+)/.exec((await mailsTo(email)).at(-1)?.text ?? '') ?? []
    const confirm = (body: object) =>
      callJson('POST', '/api/v1/auth/verify-email/confirm', { body: { token: link, ...body } })
    expect((await confirm({})).error.details.fields).toHaveProperty('password')
    expect((await confirm({ password: PASSWORD })).status).toBe(200)
  })

  it('does not replace one that was verified in the meantime', async () => {
    const email = someone()
    const owner = await register({ email })
    const DB = {
      prepare: (sql: string) => env.DB.prepare(sql),
      batch: async (statements: D1PreparedStatement[]) => {
        await verify(email)
        return env.DB.batch(statements)
      },
    }
    const answer = await serviceWith({ DB })('POST', 'http://localhost:8787/api/v1/auth/register', {
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ email, password: PASSWORD }),
    })
    await expectError(answer, 'conflict')
    expect(await rows('select status from tenants where id = ?', owner.data.id)).toEqual([
      { status: 'active' },
    ])
    expect(await usersOf(email)).toMatchObject([{ id: owner.data.id, is_personal: 1 }])
  })

  it('twice at once leaves one', async () => {
    const email = someone()
    const answers = await Promise.all([register({ email }), register({ email })])
    for (const answer of answers) expect([201, 409]).toContain(answer.status)
    const personal = (await usersOf(email)).filter((user) => user.is_personal === 1)
    expect(personal).toHaveLength(1)
    const live = await rows(
      `select t.id from tenants as t join users as u on u.tenant_id = t.id where u.email = ? and t.status = 'active'`,
      email,
    )
    expect(live).toEqual([{ id: personal[0]?.tenant_id }])
  })
})

/** Tokens of a user who registered, as a login would give them. */
async function sessionOf(user: User) {
  const sid = newId(Date.now())
  const now = new Date().toISOString()
  await env.DB.prepare(
    'insert into sessions (tenant_id, id, user_id, version, created_at, last_seen_at, expires_at) values (?, ?, ?, 1, ?, ?, ?)',
  )
    .bind(user.tenant_id, sid, user.id, now, now, '2999-01-01T00:00:00.000Z')
    .run()
  const row = { id: user.id, tenant_id: user.tenant_id, role: 'admin' as const, email: String(user.email) }
  const { access_token } = await tokensFor(requestContext(), row, sid, 'none', '')
  return { token: access_token }
}

describe('registration into a tenant that is there', patient, () => {
  it('is closed unless the tenant opens it', async () => {
    const { tenant } = await makeWorld()
    for (const name of ['tenant_id', 'team_id']) {
      const answer = await register({ email: someone(), [name]: tenant.id })
      expect([answer.status, answer.error.code]).toEqual([403, 'registration_closed'])
    }
  })

  it('joins an open one as a member, by either name of it', async () => {
    const { tenant } = await makeWorld({ settings: { open_registration: true } })
    for (const name of ['tenant_id', 'team_id']) {
      const email = someone()
      const answer = await register({ email, [name]: tenant.id })
      expect([answer.status, answer.data.tenant_id, answer.data.role]).toEqual([201, tenant.id, 'member'])
      expect(await usersOf(email)).toMatchObject([{ tenant_id: tenant.id, is_personal: 0 }])
      expect(await mailsTo(email)).toHaveLength(1)
    }
  })

  it('says "Team not found" of one that there is not, or no longer', async () => {
    const gone = await makeWorld({ settings: { open_registration: true } })
    await env.DB.prepare("update tenants set status = 'cancelled' where id = ?").bind(gone.tenant.id).run()
    for (const id of ['0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d', gone.tenant.id]) {
      const answer = await register({ email: someone(), team_id: id })
      expect([answer.status, answer.error.code, answer.error.message]).toEqual([
        404,
        'not_found',
        'Team not found',
      ])
    }
  })

  it('answers alike where the tenant has the address', async () => {
    const { tenant, member } = await makeWorld({ settings: { open_registration: true } })
    const answer = await register({ email: member.user.email, tenant_id: tenant.id })
    expect(answer.status).toBe(201)
    expect(answer.data.id).not.toBe(member.user.id)
    expect(Object.keys(answer.data).sort()).toEqual(SHAPE)
    expect(await usersOf(member.user.email)).toMatchObject([{ id: member.user.id }])
    expect((await mailsTo(member.user.email)).map((mail) => mail.subject)).toEqual([
      expect.stringContaining('already'),
    ])
  })

  it('is full for an address that it has as for one that it has not', async () => {
    const { tenant, member } = await makeWorld({ settings: { open_registration: true, max_users: 4 } })
    for (const email of [someone(), member.user.email]) {
      const answer = await register({ email, tenant_id: tenant.id })
      expect([answer.status, answer.error?.code]).toEqual([409, 'user_limit_reached'])
    }
    expect(await mailsTo(member.user.email)).toEqual([])
  })

  it('ends at max_users, also for two who come at once', async () => {
    const { tenant } = await makeWorld({ settings: { open_registration: true, max_users: 5 } })
    const emails = [someone(), someone()]
    const answers = await Promise.all(emails.map((email) => register({ email, tenant_id: tenant.id })))
    expect(answers.map((answer) => answer.status).sort()).toEqual([201, 409])
    expect(answers.find((answer) => answer.status === 409)?.error.code).toBe('user_limit_reached')
    expect(await rows('select id from users where tenant_id = ?', tenant.id)).toHaveLength(5)
    // Nothing is left of the other one.
    const loser = emails[answers.findIndex((answer) => answer.status === 409)] ?? ''
    expect(await mailsTo(loser)).toEqual([])
    expect(await rows('select * from mail_tokens where tenant_id = ?', tenant.id)).toHaveLength(1)
    expect(
      await rows(`select * from events where tenant_id = ? and type = 'user.created'`, tenant.id),
    ).toHaveLength(1)
  })

  it('takes one way in at a time, and names every wrong field', async () => {
    const id = '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d'
    const both = await register({ email: someone(), tenant_id: id, invitation: 'x' })
    expect(Object.keys(both.error.details.fields ?? {})).toEqual(['tenant_id'])
    const empty = await register({ email: someone(), invitation: '' })
    expect([empty.status, empty.error?.details.fields]).toEqual([422, { invitation: 'must not be empty' }])
    const wrong = await register({
      email: 'a@b',
      password: 'short',
      tenant_id: 'x',
      role: 'admin',
      full_name: ' ',
    })
    expect(Object.keys(wrong.error.details.fields ?? {}).sort()).toEqual([
      'email',
      'full_name',
      'password',
      'role',
      'tenant_id',
    ])
    for (const email of [
      '',
      'a',
      '@b.example',
      'a@',
      'a b@c.example',
      `${'x'.repeat(250)}@b.example`,
      "a@b.example'--",
    ])
      expect([email, (await register({ email })).status]).toEqual([email, 422])
  })
})

describe('registration by invitation', patient, () => {
  /** A tenant made by the platform, whose future admin is invited; answers with the token of the mail. */
  async function invited() {
    const email = someone()
    const { token } = await makePlatformAdmin()
    const made = await callJson<{ id: string }>('POST', '/api/platform/tenants', {
      token,
      body: { name: 'Invited', slug: `i-${crypto.randomUUID().slice(0, 8)}`, admin_email: email },
    })
    expect(made.status).toBe(201)
    const [mail] = await mailsTo(email)
    const invitation = /\/accept-invitation#token=(\S+)/.exec(mail?.text ?? '')?.[1] ?? ''
    expect(invitation).toMatch(/^[A-Za-z0-9_-]{43}$/)
    return { email, invitation, tenant_id: made.data.id }
  }
  const set = (tenant_id: string, change: string) =>
    env.DB.prepare(`update invitations set ${change} where tenant_id = ?`).bind(tenant_id).run()

  it('joins with the invited role, the address verified, once', async () => {
    const { email, invitation, tenant_id } = await invited()
    const answer = await register({ email, invitation })
    expect(answer.status).toBe(201)
    expect(answer.data).toMatchObject({
      email,
      tenant_id,
      role: 'admin',
      email_verified_at: expect.any(String),
    })
    const again = await register({ email, invitation })
    expect([again.status, again.error.code]).toEqual([409, 'invitation_used'])
    expect(await usersOf(email)).toHaveLength(1)
  })

  it('is for the invited address alone, in time, unless it was taken back', async () => {
    const { email, invitation, tenant_id } = await invited()
    const refused = async (body: object, status: number, code: string) => {
      const answer = await register(body)
      expect([answer.status, answer.error.code]).toEqual([status, code])
      return answer.error.details
    }
    await refused({ email: someone(), invitation }, 403, 'invitation_mismatch')
    const { fields } = await refused(
      { email, invitation: `${invitation.slice(1)}A` },
      422,
      'validation_failed',
    )
    expect(Object.keys(fields ?? {})).toEqual(['invitation'])
    await set(tenant_id, "expires_at = '2020-01-01T00:00:00.000Z'")
    await refused({ email, invitation }, 409, 'invitation_expired')
    await set(tenant_id, "expires_at = '2999-01-01T00:00:00.000Z', revoked_at = '2020-01-01T00:00:00.000Z'")
    await refused({ email, invitation }, 409, 'invitation_revoked')
    await set(tenant_id, 'revoked_at = null')
    await env.DB.prepare("update tenants set status = 'suspended' where id = ?").bind(tenant_id).run()
    await refused({ email, invitation }, 403, 'tenant_suspended')
    await env.DB.prepare("update tenants set status = 'cancelled' where id = ?").bind(tenant_id).run()
    await refused({ email, invitation }, 422, 'validation_failed')
    expect(await usersOf(email)).toEqual([])
    const kept = await rows<{ hash: string }>('select hash from invitations where tenant_id = ?', tenant_id)
    expect(kept[0]?.hash).not.toContain(invitation)
  })

  it('used twice at once joins once', async () => {
    const { email, invitation, tenant_id } = await invited()
    const answers = await Promise.all([register({ email, invitation }), register({ email, invitation })])
    expect(answers.map((answer) => answer.error?.code ?? answer.status).sort()).toEqual([
      201,
      'invitation_used',
    ])
    expect(await rows('select id from users where tenant_id = ?', tenant_id)).toHaveLength(1)
  })
})

describe('verifying an address', patient, () => {
  const confirm = (token: string) =>
    callJson<{ message: string }>('POST', '/api/v1/auth/verify-email/confirm', { body: { token } })
  const resend = (email: string) =>
    callJson<{ message: string }>('POST', '/api/v1/auth/verify-email/resend', { body: { email } })
  const tokenIn = (text: string | undefined) => /#token=([A-Za-z0-9_-]{43})/.exec(text ?? '')?.[1] ?? ''

  it('works once, within a day', async () => {
    const world = await makeWorld()
    const { user, token } = world.member
    await resend(user.email)
    const verification = tokenIn((await mailsArrivedAt(user.email))[0]?.text)
    const before = await call('GET', '/api/v1/auth/me', { token })
    expect((await confirm(verification)).data).toEqual({ message: 'Email verified' })
    // What is shown has changed, so its tag has.
    const headers = { 'If-None-Match': before.headers.get('ETag') ?? '' }
    const after = await callJson<User>('GET', '/api/v1/auth/me', { token, headers })
    expect([after.status, after.data.email_verified_at]).toEqual([200, expect.any(String)])
    expect((await confirm(verification)).error.details.fields).toHaveProperty('token')

    await resend(world.viewer.user.email)
    const late = tokenIn((await mailsArrivedAt(world.viewer.user.email))[0]?.text)
    await env.DB.prepare('update mail_tokens set expires_at = ? where user_id = ?')
      .bind(new Date(Date.now() - 1).toISOString(), world.viewer.user.id)
      .run()
    expect((await confirm(late)).status).toBe(422)
    for (const wrong of ['x', 'A'.repeat(43)]) expect((await confirm(wrong)).status).toBe(422)
    const stored = await rows<{ hash: string }>(
      'select * from mail_tokens where tenant_id = ?',
      world.tenant.id,
    )
    expect(JSON.stringify(stored)).not.toContain(verification)
  })

  it('sends again with the same answer for known, verified and unknown', async () => {
    const { member, viewer } = await makeWorld()
    await verify(viewer.user.email)
    const answers = await Promise.all([member.user.email, viewer.user.email, someone()].map(resend))
    expect(new Set(answers.map((answer) => JSON.stringify([answer.status, answer.data]))).size).toBe(1)
    expect(await mailsArrivedAt(member.user.email)).toHaveLength(1)
    expect(await mailsTo(viewer.user.email)).toEqual([])
  })

  it('sends one mail for one key, however often it is asked', async () => {
    const { member } = await makeWorld()
    const headers = { 'X-Idempotency-Key': crypto.randomUUID(), 'CF-Connecting-IP': '198.51.100.9' }
    const body = { email: member.user.email }
    const ask = () => call('POST', '/api/v1/auth/verify-email/resend', { headers, body })
    expect((await ask()).headers.get('Idempotency-Replayed')).toBeNull()
    expect((await ask()).headers.get('Idempotency-Replayed')).toBe('true')
    expect(await mailsArrivedAt(member.user.email)).toHaveLength(1)
  })

  it('mails an address five times an hour, whoever asks', async () => {
    const { member } = await makeWorld()
    for (let i = 0; i < 7; i++) expect((await resend(member.user.email)).status).toBe(200)
    await eventually(async () => (await mailsTo(member.user.email)).length === 5)
    await scheduler.wait(100)
    expect(await mailsTo(member.user.email)).toHaveLength(5)
  })

  it('does not forget the live one behind those that are cancelled', async () => {
    const email = someone()
    for (let i = 0; i < 4; i++) {
      const { tenant, member } = await makeWorld()
      await env.DB.prepare('update users set email = ? where id = ?').bind(email, member.user.id).run()
      if (i < 3)
        await env.DB.prepare("update tenants set status = 'cancelled' where id = ?").bind(tenant.id).run()
    }
    await resend(email)
    const mails = await mailsArrivedAt(email)
    expect(mails.map((mail) => mail.tenant_id)).toEqual([(await usersOf(email)).at(-1)?.tenant_id])
  })
})
