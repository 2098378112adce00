import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { count } from '../../src/domains/identity/attempts/service'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld, requestContext } from '../world'
import { Isolate } from './isolates'
import { meData, TestIssuer, trust } from './issuers/kit'
import { PASSWORD as RIGHT, someone, tenantOf, OTHER_PASSWORD as WRONG } from './kit'
import { codeOf, withApp } from './mfa-kit'
import { Browser, isolateWith, makeIdp, oidc, person } from './oauth-kit'
import { newAuthenticator } from './passkey-kit'

// What can be done to somebody whose address one knows and does not have, or whose session one has stolen.

const patient = { timeout: 60_000 }

const login = (email: string, password: string, more: object = {}, headers: Record<string, string> = {}) =>
  call('POST', '/api/v1/auth/login', { body: { email, password, ...more }, headers })
const register = (body: object) =>
  callJson('POST', '/api/v1/auth/register', { body: { password: RIGHT, ...body } })
const subjectsTo = async (email: string) =>
  (
    await env.DB.prepare('select subject from mails where "to" = ? order by id')
      .bind(email)
      .all<{ subject: string }>()
  ).results.map(({ subject }) => subject)
const claimsIn = (token: string) =>
  JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')))

async function spend(email: string, times: number): Promise<void> {
  for (let i = 0; i < times; i++)
    await count(requestContext(), { window: 'wrong_passwords', subject: `email:${email}`, most: 10 })
}

describe('who registered somebody’s address as well', patient, () => {
  it('learns no more often than ten times an hour whether his own password is theirs', async () => {
    const email = someone()
    await tenantOf(email, { verified: true })
    await tenantOf(email, { password: WRONG })
    await spend(email, 9)
    // He gets in, and knows by it that the owner has another password: that was a try.
    expect((await login(email, WRONG)).status).toBe(200)
    await expectError(login(email, WRONG), 'rate_limited')
  })

  it('nor by two users of his own, where the answer names whom it fits', async () => {
    const email = someone()
    await tenantOf(email, { verified: true })
    for (let i = 0; i < 2; i++) await tenantOf(email, { password: WRONG })
    await spend(email, 9)
    await expectError(login(email, WRONG), 'tenant_required')
    await expectError(login(email, WRONG), 'rate_limited')
  })

  it('costs the owner no try, who has confirmed it', async () => {
    const email = someone()
    await tenantOf(email, { verified: true })
    await tenantOf(email, { password: WRONG })
    await spend(email, 9)
    for (let i = 0; i < 2; i++) expect((await login(email, RIGHT)).status).toBe(200)
  })

  it('keeps nobody from a login at a provider by registering it in many tenants', async () => {
    const email = someone()
    const { user } = (await makeWorld()).member
    const strangers = Array.from({ length: 20 }, async () => {
      const { member } = await makeWorld()
      await env.DB.prepare("update users set email = ?, created_at = '2020-01-01T00:00:00.000Z' where id = ?")
        .bind(email, member.user.id)
        .run()
    })
    await Promise.all(strangers)
    await env.DB.prepare('update users set email = ?, is_personal = 1 where id = ?')
      .bind(email, user.id)
      .run()
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const { status, error } = await browser.login('acme', person(email))
    expect([status, error?.code]).toEqual([200, undefined])
  })
})

describe('mail to an address that others register', patient, () => {
  it('is sent five times an hour, whether somebody has it or not', async () => {
    const [unknown, known] = [someone(), someone()]
    await register({ email: known })
    await env.DB.prepare("update users set email_verified_at = '2026-01-01T00:00:00.000Z' where email = ?")
      .bind(known)
      .run()
    for (let i = 0; i < 7; i++)
      for (const email of [unknown, known]) expect((await register({ email })).status).toBe(201)
    expect(await subjectsTo(unknown)).toEqual(Array(5).fill('Confirm your email address'))
    expect(await subjectsTo(known)).toEqual([
      'Confirm your email address',
      ...Array(4).fill('You have an account already'),
    ])
  })

  it('is sent five times an hour by an open tenant too, and whoever has the address can still ask for it', async () => {
    const { tenant } = await makeWorld({ settings: { open_registration: true } })
    const email = someone()
    for (let i = 0; i < 7; i++) await register({ email, tenant_id: tenant.id })
    expect(await subjectsTo(email)).toHaveLength(5)
    await call('POST', '/api/v1/auth/verify-email/resend', { body: { email } })
    await expect.poll(() => subjectsTo(email)).toHaveLength(6)
  })
})

describe('mail to the first admin of a company that others sign up', patient, () => {
  it('is sent five times an hour', async () => {
    const email = someone()
    for (let i = 0; i < 6; i++) {
      const body = { name: 'Acme', slug: `acme-${crypto.randomUUID().slice(0, 8)}`, email, password: RIGHT }
      expect((await call('POST', '/api/v1/tenants/onboarding/public', { body })).status).toBe(201)
    }
    expect(await subjectsTo(email)).toHaveLength(5)
  })
})

describe('who registers an address anew while its owner waits for the mail', patient, () => {
  const textsTo = async (email: string) =>
    (
      await env.DB.prepare('select text from mails where "to" = ? order by id')
        .bind(email)
        .all<{ text: string }>()
    ).results.map(({ text }) => text)
  const linkTo = async (email: string, page: string) =>
    (await textsTo(email)).map((text) => new RegExp(`/${page}#token=([\\w-]{43})\\n`).exec(text)?.[1] ?? '')
  const confirm = (body: object) => callJson('POST', '/api/v1/auth/verify-email/confirm', { body })

  it('has the owner warned, by every mail whose link would confirm it', async () => {
    const email = someone()
    const texts = async () =>
      (await textsTo(email)).map((text) => [
        text.includes('If it was somebody else'),
        /#token=[\w-]{43}\n/.test(text),
      ])
    await register({ email })
    await call('POST', '/api/v1/auth/verify-email/resend', { body: { email } })
    await expect.poll(texts).toEqual(Array(2).fill([false, true]))
    await register({ email })
    await call('POST', '/api/v1/auth/verify-email/resend', { body: { email } })
    await expect.poll(texts).toEqual([...Array(2).fill([false, true]), ...Array(2).fill([true, true])])
  })

  it('does not have the owner confirm what is not theirs: the password is asked for', async () => {
    const email = someone()
    await register({ email })
    await register({ email, password: WRONG })
    const token = (await linkTo(email, 'verify-email')).at(-1) ?? ''
    const without = await confirm({ token })
    expect([without.status, Object.keys(without.error.details.fields ?? {})]).toEqual([422, ['password']])
    const wrong = await confirm({ token, password: RIGHT })
    expect([wrong.status, Object.keys(wrong.error.details.fields ?? {})]).toEqual([422, ['password']])

    // A new password takes the account over, and nothing that the stranger set up lets him in.
    const { data: session } = await callJson<{ access_token: string }>('POST', '/api/v1/auth/login', {
      body: { email, password: WRONG },
    })
    const made = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: session.access_token,
      body: { name: 'Mine' },
    })
    expect(made.status).toBe(201)
    await call('POST', '/api/v1/auth/password/forgot', { body: { email } })
    const reset = async () => (await linkTo(email, 'reset-password')).find((link) => link !== '')
    await expect.poll(reset).toMatch(/./)
    const body = { token: await reset(), password: RIGHT }
    expect((await call('POST', '/api/v1/auth/password/reset', { body })).status).toBe(200)
    expect((await login(email, RIGHT)).status).toBe(200)
    await expectError(login(email, WRONG), 'invalid_credentials')
    const headers = { 'X-API-Key': made.data.key }
    expect((await call('GET', '/api/v1/auth/me', { headers })).status).toBe(401)
    expect((await call('GET', '/api/v1/auth/me', { token: session.access_token })).status).toBe(401)
  })

  it('is confirmed with the password, where it was the owner who registered again', async () => {
    const email = someone()
    await register({ email, password: WRONG })
    await register({ email })
    const token = (await linkTo(email, 'verify-email')).at(-1) ?? ''
    expect((await confirm({ token, password: RIGHT })).status).toBe(200)
    expect((await confirm({ token, password: RIGHT })).status).toBe(422)
  })
})

describe('a tenant’s own issuer that vouches for somebody’s address', patient, () => {
  it('speaks for its tenant only: a login at a provider does not lead there', async () => {
    const trap = await makeWorld()
    const issuer = new TestIssuer()
    await trust(trap, issuer)
    const email = someone()
    const token = await issuer.token({ sub: 'trap', claims: { email, email_verified: true } })
    const made = await meData(trap, token)
    expect(made).toMatchObject({ email, email_verified_at: null })
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const { data } = await browser.login('acme', person(email))
    const { sub, tenant_id } = claimsIn(data.access_token)
    expect([sub === made.id, tenant_id === trap.tenant.id]).toEqual([false, false])
    // Nor does the provider's word open the trap's user for who names the tenant.
    const named = await browser.login('acme', person(email, { sub: 'other' }), {
      query: { tenant: trap.tenant.id },
    })
    expect([named.status, named.error.code]).toEqual([409, 'oauth_not_linked'])
  })

  it('finds its user again when it was configured anew', async () => {
    const world = await makeWorld()
    const issuer = new TestIssuer()
    const first = await trust(world, issuer)
    const token = () =>
      issuer.token({ sub: 'ada', claims: { email: 'ada-anew@example.com', email_verified: true } })
    const made = await meData(world, await token())
    const path = `/api/v1/auth/issuers/${first.id}`
    expect((await call('DELETE', path, { token: world.admin.token })).status).toBe(204)
    await trust(world, issuer)
    expect((await meData(world, await token())).id).toBe(made.id)
  })
})

describe('the owner of an account', patient, () => {
  it('is told by mail of an app that was added, and of new recovery codes', async () => {
    const { token, secret } = await withApp()
    const code = codeOf(secret)
    await call('POST', '/api/v1/auth/mfa/recovery-codes', { token, body: { code } })
    expect(await told(token)).toEqual(['Two-step login is on', 'Your recovery codes were replaced'])
  })

  it('and that a passkey was removed', async () => {
    const { admin } = await tenantOf(someone())
    const device = await newAuthenticator()
    const path = '/api/v1/auth/passkeys'
    const options = await callJson<{ challenge: string; user: { id: string } }>(
      'POST',
      `${path}/register/options`,
      { token: admin.token },
    )
    const response = await device.create(options.data)
    const made = await callJson<{ id: string }>('POST', `${path}/register/verify`, {
      token: admin.token,
      body: { response },
    })
    await call('DELETE', `${path}/${made.data.id}`, { token: admin.token })
    expect(await told(admin.token)).toEqual([
      'A passkey was added to your account',
      'A passkey was removed from your account',
    ])
  })

  it('and that a linked login was', async () => {
    const email = someone()
    await tenantOf(email, { verified: true })
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const token = (await browser.login('acme', person(email))).data.access_token
    const { data } = await callJson<{ id: string }[]>('GET', '/api/v1/auth/oauth/accounts', { token })
    await call('DELETE', `/api/v1/auth/oauth/accounts/${data[0]?.id}`, { token })
    expect(await subjectsTo(email)).toEqual([
      'A new way to log in to your account',
      'A linked login was removed from your account',
    ])
  })
})

/** What a user was told by mail, at the address of the token. */
async function told(token: string): Promise<string[]> {
  const { sub } = claimsIn(token)
  const { results } = await env.DB.prepare(
    'select subject from mails where tenant_id = (select tenant_id from users where id = ?) order by id',
  )
    .bind(sub)
    .all<{ subject: string }>()
  return results.map(({ subject }) => subject)
}

describe('a login that raced with the confirmation of an authenticator app', patient, () => {
  it('opens no session without the second factor', async () => {
    const { email, tenant, user_id } = await withApp()
    const confirmed = (at: string | null) =>
      env.DB.prepare('update totp_enrolments set confirmed_at = ? where user_id = ?').bind(at, user_id)
    await confirmed(null).run()
    const before = await sessionsOf(user_id)
    const raced = new Isolate({
      DB: {
        prepare: (sql: string) => env.DB.prepare(sql),
        batch: async (statements: D1PreparedStatement[]) => {
          await confirmed(new Date().toISOString()).run()
          return env.DB.batch(statements)
        },
      },
    })
    const body = { email, password: RIGHT, tenant: tenant.id }
    await expectError(raced.ask('POST', '/api/v1/auth/login', { body }), 'conflict')
    expect(await sessionsOf(user_id)).toBe(before)
    await expectError(login(email, RIGHT, { tenant: tenant.id }), 'mfa_required')
  })
})

const sessionsOf = (userId: string) =>
  env.DB.prepare('select count(*) as n from sessions where user_id = ?').bind(userId).first<number>('n')
