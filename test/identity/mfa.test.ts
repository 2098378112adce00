import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { dropOldChallenges } from '../../src/domains/identity/mfa/challenge'
import { CHALLENGE_MS } from '../../src/domains/identity/mfa/gate'
import { newRecoveryCodes, recoveryHash } from '../../src/domains/identity/mfa/recovery-codes'
import { stepOf } from '../../src/domains/identity/mfa/totp'
import { expectError } from '../http/expect-error'
import { call, callJson, makePerson, makeWorld, newAddress } from '../world'
import { PASSWORD } from './kit'
import { answer, audited, codeOf, withApp, wrongCode } from './mfa-kit'
import { newAuthenticator } from './passkey-kit'

const AUTH = '/api/v1/auth'
/** The browser is known from then on, besides. */
const COOKIES = ['access_token', 'login_device', 'refresh_token']
const cookieNames = (headers: Headers) =>
  headers
    .getSetCookie()
    .map((cookie) => cookie.split('=')[0])
    .sort()
// Each login is a hash, on a machine that may be busy.
const patient = { timeout: 30_000 }

describe('a code', () => {
  // RFC 6238, appendix B: the secret is twenty ASCII digits; the last six of the eight digits that stand there.
  const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ'
  it.each([
    [59, '287082'],
    [1111111109, '081804'],
    [1111111111, '050471'],
    [1234567890, '005924'],
    [2000000000, '279037'],
    [20000000000, '353130'],
  ])('at %d s is that of the RFC', (seconds, code) => {
    expect(stepOf(secret, code, seconds * 1000)).toBe(Math.floor(seconds / 30))
  })

  it('counts one step before and after its own, and no further', () => {
    const now = 1_234_567_890_000
    const step = Math.floor(now / 30_000)
    for (const away of [-1, 0, 1]) expect(stepOf(secret, codeOf(secret, away, now), now)).toBe(step + away)
    for (const away of [-3, -2, 2, 3]) expect(stepOf(secret, codeOf(secret, away, now), now)).toBeNull()
  })

  it('is refused in any other form', () => {
    const now = Date.now()
    const code = codeOf(secret, 0, now)
    for (const other of ['', code.slice(1), `${code}0`, ` ${code}`, '٠٠٠٠٠٠', 'abcdef'])
      expect(stepOf(secret, other, now)).toBeNull()
  })
})

describe('recovery codes', () => {
  it('are ten of 80 bits, none twice, taken however they are typed', async () => {
    const { codes, hashes } = await newRecoveryCodes()
    expect(codes).toHaveLength(10)
    expect(new Set([...codes, ...hashes]).size).toBe(20)
    for (const code of codes) expect(code).toMatch(/^(?:[0-9a-hjkmnp-tv-z]{4}-){3}[0-9a-hjkmnp-tv-z]{4}$/)
    const [code = '', hash] = [codes[0], hashes[0]]
    for (const typed of [code.toUpperCase(), code.replaceAll('-', ''), ` ${code.replaceAll('-', ' ')} `])
      expect(await recoveryHash(typed)).toBe(hash)
    expect(await recoveryHash('O1lI')).toBe(await recoveryHash('0111'))
  })
})

describe('enrolling', patient, () => {
  it('gives a secret, its URI and a picture of it, and counts when a code is confirmed', async () => {
    const user = await withApp()
    expect(user.begun.secret).toMatch(/^[A-Z2-7]{32}$/)
    const uri = new URL(user.begun.uri)
    expect([uri.protocol, uri.host]).toEqual(['otpauth:', 'totp'])
    expect(decodeURIComponent(uri.pathname)).toBe(`/Causeway:${user.admin.user.email}`)
    expect(Object.fromEntries(uri.searchParams)).toEqual({
      issuer: 'Causeway',
      secret: user.begun.secret,
      algorithm: 'SHA1',
      digits: '6',
      period: '30',
    })
    expect(atob(user.begun.qr.replace('data:image/svg+xml;base64,', ''))).toMatch(/^<svg .*<\/svg>$/s)
    expect(user.recovery).toHaveLength(10)
    const status = await callJson('GET', `${AUTH}/mfa/totp`, { token: user.token })
    expect(status.data).toEqual({
      status: 'active',
      confirmed_at: expect.stringMatching(/^\d{4}-/),
      recovery_codes_left: 10,
    })
    expect((await audited(user.tenant.id, 'totp.enrol', 'totp.confirm')).map(({ action }) => action)).toEqual(
      ['totp.enrol', 'totp.confirm'],
    )
  })

  it('keeps neither the secret nor a recovery code as it is', async () => {
    const user = await withApp()
    for (const table of ['totp_enrolments', 'recovery_codes', 'audit_log', 'state_changes']) {
      const { results } = await env.DB.prepare(`select * from ${table} where tenant_id = ?`)
        .bind(user.tenant.id)
        .all()
      const text = JSON.stringify(results).toUpperCase()
      for (const secret of [user.secret, ...user.recovery]) {
        expect([table, text.includes(secret.toUpperCase())]).toEqual([table, false])
        expect([table, text.includes(secret.replaceAll('-', '').toUpperCase())]).toEqual([table, false])
      }
    }
  })

  it('changes nothing before it is confirmed, and is begun anew', async () => {
    const { admin, tenant } = await makeWorld()
    const token = admin.token
    const first = await callJson<{ secret: string }>('POST', `${AUTH}/mfa/totp`, { token })
    const second = await callJson<{ secret: string }>('POST', `${AUTH}/mfa/totp`, { token })
    expect(first.data.secret).not.toBe(second.data.secret)
    expect((await callJson('GET', `${AUTH}/mfa/totp`, { token })).data).toMatchObject({ status: 'pending' })
    const confirm = (code: string) => call('POST', `${AUTH}/mfa/totp/confirm`, { token, body: { code } })
    const error = await expectError(confirm(codeOf(first.data.secret)), 'validation_failed')
    expect(error.details.fields?.code).toMatch(/clock/)
    // What waits too long is gone.
    await env.DB.prepare(
      "update totp_enrolments set created_at = '2020-01-01T00:00:00.000Z' where tenant_id = ?",
    )
      .bind(tenant.id)
      .run()
    expect((await callJson('GET', `${AUTH}/mfa/totp`, { token })).data).toMatchObject({ status: 'none' })
    await expectError(confirm(codeOf(second.data.secret)), 'not_found')
  })

  it('a second time is refused, also where two confirm at once', async () => {
    const user = await withApp()
    await expectError(call('POST', `${AUTH}/mfa/totp`, { token: user.token }), 'already_exists')
    const body = { code: codeOf(user.secret) }
    await expectError(call('POST', `${AUTH}/mfa/totp/confirm`, { token: user.token, body }), 'already_exists')
    const { admin } = await makeWorld()
    const { data } = await callJson<{ secret: string }>('POST', `${AUTH}/mfa/totp`, { token: admin.token })
    const both = await Promise.all(
      [1, 2].map(() =>
        call('POST', `${AUTH}/mfa/totp/confirm`, {
          token: admin.token,
          body: { code: codeOf(data.secret) },
        }),
      ),
    )
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409])
    expect((await callJson('GET', `${AUTH}/mfa/totp`, { token: admin.token })).data).toMatchObject({
      recovery_codes_left: 10,
    })
  })

  it('ends the sessions that proved no second factor, here at once; not those of others', async () => {
    const world = await makeWorld()
    const { tenant, admin, member } = world
    const other = await makePerson(tenant, 'admin')
    // Another session of the admin.
    await env.DB.prepare('update sessions set user_id = ? where id = ?')
      .bind(admin.user.id, other.session_id)
      .run()
    const { data } = await callJson<{ secret: string }>('POST', `${AUTH}/mfa/totp`, { token: admin.token })
    await call('POST', `${AUTH}/mfa/totp/confirm`, {
      token: admin.token,
      body: { code: codeOf(data.secret) },
    })
    const ended = await env.DB.prepare('select id from sessions where tenant_id = ? and ended_at is not null')
      .bind(tenant.id)
      .all()
    expect(ended.results).toEqual([{ id: other.session_id }])
    const told = await env.DB.prepare("select id from state_changes where tenant_id = ? and kind = 'session'")
      .bind(tenant.id)
      .all()
    expect(told.results).toEqual([{ id: other.session_id }])
    for (const { token } of [admin, member])
      expect((await call('GET', `${AUTH}/me`, { token })).status).toBe(200)
  })

  it('needs a user, and a login of the last day', async () => {
    const { apiKey, admin } = await makeWorld()
    for (const [method, path, body] of [
      ['GET', '/mfa/totp', undefined],
      ['POST', '/mfa/totp', undefined],
      ['POST', '/mfa/totp/confirm', { code: '123456' }],
      ['DELETE', '/mfa/totp', { code: '123456' }],
      ['POST', '/mfa/recovery-codes', { code: '123456' }],
    ] as const)
      await expectError(call(method, `${AUTH}${path}`, { key: apiKey, body }), 'user_required')
    await env.DB.prepare('update sessions set created_at = ? where id = ?')
      .bind(new Date(Date.now() - 25 * 3600_000).toISOString(), admin.session_id)
      .run()
    await expectError(call('POST', `${AUTH}/mfa/totp`, { token: admin.token }), 'fresh_login_required')
  })
})

describe('a login', patient, () => {
  it('asks for the second factor, and gives tokens and cookies for it', async () => {
    const user = await withApp()
    const response = await call('POST', `${AUTH}/login`, {
      body: { email: user.email, password: PASSWORD, tenant: user.tenant.id },
    })
    expect(response.headers.getSetCookie()).toEqual([])
    const error = await expectError(response, 'mfa_required')
    expect(error.details).toEqual({
      challenge: expect.stringMatching(/^[\w-]{43}$/),
      expires_in: 300,
      methods: ['totp', 'recovery_code'],
    })
    const { challenge } = error.details as { challenge: string }
    const done = await answer({ challenge, code: codeOf(user.secret) })
    expect(done.status).toBe(200)
    expect(cookieNames(done.headers)).toEqual(COOKIES)
    const me = await callJson('GET', `${AUTH}/me`, { token: done.data.access_token ?? '' })
    expect(me.data).toMatchObject({ id: user.user_id })
    const [made] = await audited(user.tenant.id, 'session.create')
    expect(made?.after).toEqual({ user_id: user.user_id, method: 'password', second_factor: 'totp' })
    expect(await audited(user.tenant.id, 'mfa.challenge')).toHaveLength(1)
  })

  it('keeps the tokens out of the body for ?cookies=only', async () => {
    const user = await withApp()
    const { challenge } = await user.challenged()
    const done = await answer({ challenge, code: codeOf(user.secret) }, '?cookies=only')
    expect(done.data).toEqual({ message: 'Login successful', expires_in: 900 })
    expect(cookieNames(done.headers)).toEqual(COOKIES)
  })

  it('opens no session before, and still takes the hash that the rehash made', async () => {
    // The cheap hash is made anew by the login.
    const user = await withApp({ hash: 'cheap' })
    const { challenge } = await user.challenged()
    const hash = await env.DB.prepare('select password_hash from users where id = ?')
      .bind(user.user_id)
      .first<string>('password_hash')
    expect(hash).toMatch(/^\$scrypt\$ln=14/)
    expect(await audited(user.tenant.id, 'session.create')).toEqual([])
    expect((await answer({ challenge, code: codeOf(user.secret) })).status).toBe(200)
  })

  it('takes a recovery code once', async () => {
    const user = await withApp()
    const [first = ''] = user.recovery
    const { challenge } = await user.challenged()
    expect((await answer({ challenge, recovery_code: first.toUpperCase() })).status).toBe(200)
    const [made] = await audited(user.tenant.id, 'session.create')
    expect(made?.after).toMatchObject({ second_factor: 'recovery_code' })
    const again = await user.challenged()
    const refused = await answer({ challenge: again.challenge, recovery_code: first })
    expect([refused.status, refused.error.code]).toEqual([401, 'invalid_code'])
    const status = await callJson('GET', `${AUTH}/mfa/totp`, { token: user.token })
    expect(status.data).toMatchObject({ recovery_codes_left: 9 })
  })
})

describe('refused', patient, () => {
  it('is a code that was used, within its window too, and every one before it', async () => {
    const user = await withApp()
    const now = codeOf(user.secret)
    const before = codeOf(user.secret, -1)
    const first = await user.challenged()
    expect((await answer({ challenge: first.challenge, code: now })).status).toBe(200)
    const { challenge } = await user.challenged()
    for (const code of [now, before]) {
      const { status, error } = await answer({ challenge, code })
      expect([status, error.code]).toEqual([401, 'invalid_code'])
    }
    expect((await answer({ challenge, code: codeOf(user.secret, 1) })).status).toBe(200)
  })

  it('is the code that confirmed the enrolment', async () => {
    const user = await withApp()
    const step = await env.DB.prepare('select confirmed_at from totp_enrolments where user_id = ?')
      .bind(user.user_id)
      .first<string>('confirmed_at')
    await env.DB.prepare('update totp_enrolments set last_step = ? where user_id = ?')
      .bind(Math.floor(Date.parse(step ?? '') / 30_000), user.user_id)
      .run()
    const { challenge } = await user.challenged()
    const { error } = await answer({ challenge, code: codeOf(user.secret, 0, Date.parse(step ?? '')) })
    expect(error.code).toBe('invalid_code')
  })

  it('is all but one of equal codes that come at once', async () => {
    const user = await withApp()
    const challenges = [await user.challenged(), await user.challenged(), await user.challenged()]
    const code = codeOf(user.secret)
    const answers = await Promise.all(challenges.map(({ challenge }) => answer({ challenge, code })))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401])
    expect(await audited(user.tenant.id, 'session.create')).toHaveLength(1)
  })

  it('is a challenge that was used', async () => {
    const user = await withApp()
    const { challenge } = await user.challenged()
    const recovery = [...user.recovery]
    expect((await answer({ challenge, code: codeOf(user.secret) })).status).toBe(200)
    for (const body of [{ code: codeOf(user.secret, 1) }, { recovery_code: recovery[0] }]) {
      const { status, error } = await answer({ challenge, ...body })
      expect([status, error.code]).toEqual([401, 'invalid_token'])
    }
    // And used up nothing.
    const status = await callJson('GET', `${AUTH}/mfa/totp`, { token: user.token })
    expect(status.data).toMatchObject({ recovery_codes_left: 10 })
  })

  it('is a challenge after five wrong answers, counted and audited', async () => {
    const user = await withApp()
    const { challenge } = await user.challenged()
    for (let left = 4; left >= 0; left--) {
      const { status, error } = await answer({ challenge, code: wrongCode(user.secret) })
      expect([status, error.code, error.details.tries_left]).toEqual([401, 'invalid_code', left])
    }
    for (const body of [{ code: codeOf(user.secret) }, { recovery_code: user.recovery[0] }])
      expect((await answer({ challenge, ...body })).error.code).toBe('invalid_token')
    const refusals = await audited(user.tenant.id, 'mfa.refuse')
    expect(refusals).toHaveLength(5)
    expect(refusals[0]).toMatchObject({ resource_id: user.user_id, after: { factor: 'totp' } })
    expect(await audited(user.tenant.id, 'session.create')).toEqual([])
  })

  it('is whatever else of many answers that are sent at once, whether right or wrong', async () => {
    const user = await withApp()
    const { challenge } = await user.challenged()
    const wrong = Array.from({ length: 20 }, () => answer({ challenge, code: wrongCode(user.secret) }))
    const answers = await Promise.all(wrong)
    const codes = answers.map(({ error }) => error.code)
    expect(codes.filter((code) => code === 'invalid_code')).toHaveLength(5)
    expect(codes.filter((code) => code === 'invalid_token')).toHaveLength(15)
    const right = await answer({ challenge, code: codeOf(user.secret) })
    expect(right.error.code).toBe('invalid_token')
  })

  it('is more than ten wrong codes an hour for one account, but for a recovery code', async () => {
    const user = await withApp()
    for (let round = 0; round < 2; round++) {
      const { challenge } = await user.challenged()
      for (let i = 0; i < 5; i++) await answer({ challenge, code: wrongCode(user.secret) })
    }
    const { challenge } = await user.challenged()
    const refused = await answer({ challenge, code: codeOf(user.secret) })
    expect([refused.status, refused.error.code]).toEqual([429, 'rate_limited'])
    const wait = Number(refused.headers.get('Retry-After'))
    expect(wait).toBeGreaterThan(3500)
    expect(wait).toBeLessThanOrEqual(3600)
    // The owner is not locked out: neither of the session that lives, nor of a login.
    expect((await call('GET', `${AUTH}/me`, { token: user.token })).status).toBe(200)
    expect((await answer({ challenge, recovery_code: user.recovery[0] })).status).toBe(200)
    // After an hour codes count again.
    await env.DB.prepare('update totp_enrolments set tries_since = ? where user_id = ?')
      .bind(new Date(Date.now() - 3600_001).toISOString(), user.user_id)
      .run()
    const later = await user.challenged()
    expect((await answer({ challenge: later.challenge, code: codeOf(user.secret) })).status).toBe(200)
  })

  it('is a challenge that is too old, made up, or of a password that was changed since', async () => {
    const user = await withApp()
    const code = codeOf(user.secret)
    expect((await answer({ challenge: 'made-up', code })).error.code).toBe('invalid_token')
    const old = await user.challenged()
    await env.DB.prepare('update mfa_challenges set expires_at = ? where tenant_id = ?')
      .bind(new Date(Date.now() - 1).toISOString(), user.tenant.id)
      .run()
    expect((await answer({ challenge: old.challenge, code })).error.code).toBe('invalid_token')
    const { challenge } = await user.challenged()
    await env.DB.prepare("update users set password_hash = '$scrypt$another' where id = ?")
      .bind(user.user_id)
      .run()
    expect((await answer({ challenge, code })).error.code).toBe('invalid_token')
    expect(await audited(user.tenant.id, 'session.create')).toEqual([])
  })

  it('is who was suspended since', async () => {
    const user = await withApp()
    const { challenge } = await user.challenged()
    await env.DB.prepare("update users set status = 'suspended' where id = ?").bind(user.user_id).run()
    const { status, error } = await answer({ challenge, code: codeOf(user.secret) })
    expect([status, error.code]).toEqual([403, 'user_suspended'])
  })

  it('are neither code nor recovery code, and both', async () => {
    for (const body of [{}, { code: '123456', recovery_code: 'x' }]) {
      const { status, error } = await answer({ challenge: 'x', ...body })
      expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, ['code']])
    }
  })

  it('is counted against the address that it came from', async () => {
    const headers = { 'CF-Connecting-IP': newAddress() }
    const guess = (path: string, body: object) => call('POST', `${AUTH}${path}`, { headers, body })
    const passkey = { response: await (await newAuthenticator()).get({ challenge: 'AAAA' }) }
    for (let i = 0; i < 50; i++) {
      await expectError(
        guess('/mfa/challenge', { challenge: `made-up-${i}`, code: '123456' }),
        'invalid_token',
      )
      await expectError(guess('/passkeys/login/verify', passkey), 'invalid_passkey')
    }
    await expectError(guess('/mfa/challenge', { challenge: 'made-up', code: '123456' }), 'rate_limited')
    await expectError(guess('/passkeys/login/verify', passkey), 'rate_limited')
  })

  it('is another user’s code', async () => {
    const [a, b] = [await withApp(), await withApp()]
    const { challenge } = await a.challenged()
    expect((await answer({ challenge, code: codeOf(b.secret) })).error.code).toBe('invalid_code')
    expect((await answer({ challenge, recovery_code: b.recovery[0] })).error.code).toBe('invalid_code')
  })
})

describe('removing', patient, () => {
  it('needs the second factor; afterwards the password is enough', async () => {
    const user = await withApp()
    const remove = (body: object) => call('DELETE', `${AUTH}/mfa/totp`, { token: user.token, body })
    const before = await user.challenged()
    const error = await expectError(remove({ code: wrongCode(user.secret) }), 'validation_failed')
    expect(Object.keys(error.details.fields ?? {})).toEqual(['code'])
    expect(await audited(user.tenant.id, 'mfa.refuse')).toHaveLength(1)
    expect((await user.login()).error.code).toBe('mfa_required')
    expect((await remove({ recovery_code: user.recovery[3] })).status).toBe(204)
    expect((await user.login()).status).toBe(200)
    await expectError(remove({ code: codeOf(user.secret) }), 'not_found')
    // A challenge from before is void.
    const late = await answer({ challenge: before.challenge, recovery_code: user.recovery[4] })
    expect(late.error.code).toBe('invalid_token')
    const status = await callJson('GET', `${AUTH}/mfa/totp`, { token: user.token })
    expect(status.data).toEqual({ status: 'none', confirmed_at: null, recovery_codes_left: 0 })
    expect((await audited(user.tenant.id, 'totp.remove'))[0]?.after).toEqual({ proved_by: 'recovery_code' })
    const mail = await env.DB.prepare('select * from mails where tenant_id = ? order by id')
      .bind(user.tenant.id)
      .all()
    expect(mail.results).toMatchObject(
      ['on', 'off'].map((state) => ({ to: user.admin.user.email, subject: `Two-step login is ${state}` })),
    )
  })

  it('by code takes ten tries an hour', async () => {
    const user = await withApp()
    const remove = (code: string) => call('DELETE', `${AUTH}/mfa/totp`, { token: user.token, body: { code } })
    for (let i = 0; i < 10; i++) await expectError(remove(wrongCode(user.secret)), 'validation_failed')
    await expectError(remove(codeOf(user.secret)), 'rate_limited')
  })
})

describe('what is over', patient, () => {
  it('is dropped, and nothing else', async () => {
    const user = await withApp()
    const { challenge } = await user.challenged()
    const left = async () =>
      env.DB.prepare('select count(*) from mfa_challenges where tenant_id = ?')
        .bind(user.tenant.id)
        .first<number>('count(*)')
    await dropOldChallenges({ ...user.ctx, now: Date.now() })
    expect(await left()).toBe(1)
    expect((await answer({ challenge, code: codeOf(user.secret) })).status).toBe(200)
    await dropOldChallenges({ ...user.ctx, now: Date.now() + CHALLENGE_MS + 1 })
    expect(await left()).toBe(0)
  })
})

describe('new recovery codes', patient, () => {
  it('void the old ones, for who proves the second factor', async () => {
    const user = await withApp()
    const renew = (body: object) =>
      callJson<{ recovery_codes: string[] }>('POST', `${AUTH}/mfa/recovery-codes`, {
        token: user.token,
        body,
      })
    expect((await renew({ code: wrongCode(user.secret) })).status).toBe(422)
    const { status, data } = await renew({ code: codeOf(user.secret) })
    expect([status, data.recovery_codes.length]).toEqual([200, 10])
    const { challenge } = await user.challenged()
    expect((await answer({ challenge, recovery_code: user.recovery[0] })).error.code).toBe('invalid_code')
    expect((await answer({ challenge, recovery_code: data.recovery_codes[0] })).status).toBe(200)
  })
})
