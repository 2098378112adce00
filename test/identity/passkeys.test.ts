import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, it } from 'vitest'
import { AsnParser, ECDSASigValue } from '../../src/domains/identity/passkeys/asn1'
import { handleOf, relyingPartyId } from '../../src/domains/identity/passkeys/ceremony'
import { CHALLENGE_MS, isChallenge, newChallenge } from '../../src/domains/identity/passkeys/challenge'
import { dropUsedChallenges } from '../../src/domains/identity/passkeys/login'
import type { Bindings } from '../../src/env'
import { settingsOf } from '../../src/env'
import { sha256 } from '../../src/lib/crypto'
import { base64url } from '../../src/lib/encoding'
import { expectError } from '../http/expect-error'
import { call, callJson, makeWorld, type Person, type World } from '../world'
import { audited, withApp } from './mfa-kit'
import { type Authenticator, derOf, insertPasskey, newAuthenticator, type Twist } from './passkey-kit'

const PASSKEYS = '/api/v1/auth/passkeys'
type CreationOptions = { challenge: string; user: { id: string } } & Record<string, unknown>
type Kept = { id: string; name: string } & Record<string, unknown>

async function registerOptions(token: string): Promise<CreationOptions> {
  const { status, data } = await callJson<CreationOptions>('POST', `${PASSKEYS}/register/options`, { token })
  expect(status).toBe(200)
  return data
}

async function loginOptions(): Promise<{ challenge: string } & Record<string, unknown>> {
  const { status, data } = await callJson<{ challenge: string }>('POST', `${PASSKEYS}/login/options`)
  expect(status).toBe(200)
  return data
}

const verify = (token: string, response: unknown, name?: string) =>
  callJson<Kept>('POST', `${PASSKEYS}/register/verify`, {
    token,
    body: { response, ...(name ? { name } : {}) },
  })

const login = (response: unknown, query = '') =>
  callJson<{ access_token?: string; message: string }>('POST', `${PASSKEYS}/login/verify${query}`, {
    body: { response },
  })

/** A user with a passkey of this device. */
async function registered(person: Person, authenticator?: Authenticator) {
  const device = authenticator ?? (await newAuthenticator())
  const options = await registerOptions(person.token)
  const { status, data } = await verify(person.token, await device.create(options), 'Laptop')
  expect(status).toBe(201)
  return { device, passkey: data }
}

const sessionsOf = (world: World) =>
  env.DB.prepare("select count(*) from audit_log where tenant_id = ? and action = 'session.create'")
    .bind(world.tenant.id)
    .first<number>('count(*)')

let world: World
beforeEach(async () => {
  world = await makeWorld()
})

describe('a challenge', () => {
  const keys = { MASTER_KEY: 'a'.repeat(40), MASTER_KEY_PREVIOUS: [] as string[] }
  const now = 1_800_000_000_000

  it('counts for its purpose, for five minutes', async () => {
    const challenge = base64url(await newChallenge(keys, 'login', now))
    expect(await isChallenge(keys, 'login', now, challenge)).toBe(true)
    expect(await isChallenge(keys, 'login', now + CHALLENGE_MS - 1, challenge)).toBe(true)
    expect(await isChallenge(keys, 'login', now + CHALLENGE_MS, challenge)).toBe(false)
    expect(await isChallenge(keys, 'register:a:b', now, challenge)).toBe(false)
    const another = base64url(await newChallenge(keys, 'register:a:b', now))
    expect(await isChallenge(keys, 'register:a:b', now, another)).toBe(true)
    for (const purpose of ['login', 'register:a:c', 'register:c:b'] as const)
      expect(await isChallenge(keys, purpose, now, another)).toBe(false)
  })

  it('is not one where a bit is changed, or it was made under another key', async () => {
    const bytes = await newChallenge(keys, 'login', now)
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice()
      changed[at] = (changed[at] ?? 0) ^ 1
      expect([at, await isChallenge(keys, 'login', now, base64url(changed))]).toEqual([at, false])
    }
    for (const other of [
      '',
      'x',
      base64url(bytes.slice(0, 24)),
      `${base64url(bytes)}=`,
      `${base64url(bytes)}AA`,
    ])
      expect(await isChallenge(keys, 'login', now, other)).toBe(false)
    const next = { MASTER_KEY: 'b'.repeat(40), MASTER_KEY_PREVIOUS: [] as string[] }
    expect(await isChallenge(next, 'login', now, base64url(bytes))).toBe(false)
    expect(
      await isChallenge({ ...next, MASTER_KEY_PREVIOUS: [keys.MASTER_KEY] }, 'login', now, base64url(bytes)),
    ).toBe(true)
  })
})

describe('a signature’s DER', () => {
  it('is read for every length of its numbers', () => {
    for (const size of [32, 48, 66])
      for (const [r, s] of [
        [0x7f, 0x80],
        [0x80, 0x7f],
        [0x00, 0x01],
      ]) {
        const raw = new Uint8Array(2 * size).fill(0xa5)
        raw[0] = r ?? 0
        raw[size] = s ?? 0
        const read = AsnParser.parse(derOf(raw), ECDSASigValue)
        const padded = (bytes: Uint8Array) => {
          const short = bytes[0] === 0 ? bytes.subarray(1) : bytes
          return [...new Uint8Array(size - short.length), ...short]
        }
        expect([...padded(read.r), ...padded(read.s)]).toEqual([...raw])
      }
  })

  it.each([
    ['nothing', []],
    ['no sequence', [0x31, 6, 2, 1, 1, 2, 1, 1]],
    ['no integer', [0x30, 6, 4, 1, 1, 2, 1, 1]],
    ['one number', [0x30, 3, 2, 1, 1]],
    ['three numbers', [0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1]],
    ['something behind', [0x30, 6, 2, 1, 1, 2, 1, 1, 0]],
    ['cut off', [0x30, 6, 2, 1, 1, 2, 1]],
    ['a long form for a short length', [0x30, 0x81, 6, 2, 1, 1, 2, 1, 1]],
    ['an indefinite length', [0x30, 0x80, 2, 1, 1, 2, 1, 1, 0, 0]],
    ['a negative number', [0x30, 6, 2, 1, 0x81, 2, 1, 1]],
    ['a number of no bytes', [0x30, 5, 2, 0, 2, 1, 1]],
    ['a number with a byte too many', [0x30, 7, 2, 2, 0, 1, 2, 1, 1]],
  ])('is refused with %s', (_, bytes) => {
    expect(() => AsnParser.parse(Uint8Array.from(bytes), ECDSASigValue)).toThrow(/signature/)
  })

  it('is the only thing that is read', () => {
    expect(() => AsnParser.parse(derOf(new Uint8Array(64).fill(1)), Object)).toThrow(/attestation/)
  })
})

describe('registering', () => {
  it('asks the browser for a key that is found by itself and guarded by its owner', async () => {
    const { admin } = world
    const options = await registerOptions(admin.token)
    expect(options).toMatchObject({
      rp: { id: 'localhost', name: 'Causeway' },
      user: { name: admin.user.email, id: base64url(handleOf(admin.user.tenant_id, admin.user.id)) },
      attestation: 'none',
      timeout: 300_000,
      excludeCredentials: [],
      authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    })
    expect((options.pubKeyCredParams as { alg: number }[]).map(({ alg }) => alg)).toEqual([-8, -7, -257])
  })

  it.each(['ES256', 'EdDSA'] as const)('keeps a key of %s, and it logs in', async (algorithm) => {
    const { device, passkey } = await registered(world.member, await newAuthenticator(algorithm))
    expect(passkey).toEqual({
      id: passkey.id,
      name: 'Laptop',
      aaguid: '00000000-0000-0000-0000-000000000000',
      device_type: 'single_device',
      backed_up: false,
      transports: ['internal', 'hybrid'],
      last_used_at: null,
      created_at: expect.any(String),
    })
    expect(await audited(world.tenant.id, 'passkey.create')).toMatchObject([
      { actor_id: world.member.user.id, resource_id: passkey.id },
    ])
    const mail = await env.DB.prepare('select * from mails where tenant_id = ?').bind(world.tenant.id).all()
    expect(mail.results).toMatchObject([
      { to: world.member.user.email, subject: 'A passkey was added to your account' },
    ])
    const options = await registerOptions(world.member.token)
    expect(options.excludeCredentials).toMatchObject([{ id: device.id, transports: ['internal', 'hybrid'] }])
    const done = await login(await device.get(await loginOptions()))
    expect(done.status).toBe(200)
    const me = await callJson('GET', '/api/v1/auth/me', { token: done.data.access_token ?? '' })
    expect(me.data).toMatchObject({ id: world.member.user.id })
  })

  it('says where the new one is, and gives it a name', async () => {
    const device = await newAuthenticator()
    const response = await device.create(await registerOptions(world.admin.token))
    const made = await verify(world.admin.token, response)
    expect(made.headers.get('Location')).toBe(`${PASSKEYS}/${made.data.id}`)
    expect(made.data.name).toMatch(/^Passkey of \d{4}-\d\d-\d\d$/)
  })

  const twists: [string, Twist][] = [
    ['another origin', { origin: 'https://evil.example' }],
    ['an origin that begins alike', { origin: 'http://localhost:8787.evil.example' }],
    ['another service', { rpId: 'evil.example' }],
    ['a login’s answer', { type: 'webauthn.get' }],
    ['a frame of another page', { crossOrigin: true }],
    ['nobody verified', { verified: false }],
    ['a challenge of nobody', { challenge: base64url(new Uint8Array(56)) }],
    ['an attestation that was not asked for', { attestation: 'fido-u2f' }],
  ]
  it.each(twists)('is refused with %s, and audited', async (_, twist) => {
    const device = await newAuthenticator()
    const response = await device.create(await registerOptions(world.admin.token), twist)
    const { status, error } = await verify(world.admin.token, response)
    expect([status, Object.keys(error.details.fields ?? {})]).toEqual([422, ['response']])
    expect(await audited(world.tenant.id, 'passkey.refuse')).toMatchObject([
      { resource_id: world.admin.user.id, after: { reason: expect.any(String) } },
    ])
    const list = await callJson('GET', PASSKEYS, { token: world.admin.token })
    expect(list.data).toEqual([])
  })

  it('is refused for another user’s challenge, a login’s, and one that was used', async () => {
    const { admin, member } = world
    const device = await newAuthenticator()
    const options = await registerOptions(admin.token)
    expect((await verify(member.token, await device.create(options))).status).toBe(422)
    const forLogin = { ...options, ...(await loginOptions()), user: options.user }
    expect((await verify(admin.token, await device.create(forLogin))).status).toBe(422)
    expect((await verify(admin.token, await device.create(options))).status).toBe(201)
    const other = await newAuthenticator()
    expect((await verify(admin.token, await other.create(options))).status).toBe(422)
  })

  it('is refused for a key that is registered, whoever has it', async () => {
    const { device } = await registered(world.admin)
    for (const token of [world.admin.token, world.member.token, (await makeWorld()).admin.token]) {
      const again = await verify(token, await device.create(await registerOptions(token)))
      expect([again.status, again.error.code]).toEqual([409, 'already_exists'])
    }
  })

  it('ends at twenty', async () => {
    for (let i = 0; i < 20; i++) await insertPasskey(world.admin.user)
    const device = await newAuthenticator()
    const made = await verify(
      world.admin.token,
      await device.create(await registerOptions(world.admin.token)),
    )
    expect([made.status, made.error.code]).toEqual([409, 'conflict'])
  })

  it('needs a user, and a login of the last day', async () => {
    for (const [method, path] of [
      ['GET', ''],
      ['POST', '/register/options'],
      ['DELETE', `/${crypto.randomUUID()}`],
    ] as const)
      await expectError(call(method, `${PASSKEYS}${path}`, { key: world.apiKey }), 'user_required')
    await env.DB.prepare('update sessions set created_at = ? where id = ?')
      .bind(new Date(Date.now() - 25 * 3600_000).toISOString(), world.admin.session_id)
      .run()
    await expectError(
      call('POST', `${PASSKEYS}/register/options`, { token: world.admin.token }),
      'fresh_login_required',
    )
  })

  it('is once for a key of idempotency, whose answer is kept for a login of the last day too', async () => {
    const { token, session_id } = world.admin
    const response = await (await newAuthenticator()).create(await registerOptions(token))
    const headers = { 'Idempotency-Key': crypto.randomUUID() }
    const keep = () =>
      callJson<Kept>('POST', `${PASSKEYS}/register/verify`, { token, headers, body: { response } })
    const answers = await Promise.all([keep(), keep(), keep()])
    const ids = answers.flatMap(({ status, data }) => (status === 201 ? [data.id] : []))
    expect(answers.every(({ status }) => status === 201 || status === 409)).toBe(true)
    expect(new Set(ids).size).toBe(1)
    const again = await keep()
    expect([again.status, again.data.id, again.headers.get('Idempotency-Replayed')]).toEqual([
      201,
      ids[0],
      'true',
    ])
    expect((await callJson<Kept[]>('GET', PASSKEYS, { token })).data).toHaveLength(1)
    await env.DB.prepare('update sessions set created_at = ? where id = ?')
      .bind(new Date(Date.now() - 25 * 3600_000).toISOString(), session_id)
      .run()
    expect((await keep()).error.code).toBe('fresh_login_required')
  })
})

describe('logging in', () => {
  it('tells nothing of anybody before', async () => {
    await registered(world.admin)
    const options = await loginOptions()
    expect(options).toEqual({
      challenge: expect.stringMatching(/^[\w-]{75}$/),
      rpId: 'localhost',
      timeout: 300_000,
      userVerification: 'required',
    })
  })

  it('gives tokens and cookies, and is on record', async () => {
    const { device, passkey } = await registered(world.admin)
    const done = await login(await device.get(await loginOptions()), '?cookies=only')
    expect(done.data).toEqual({ message: 'Login successful', expires_in: 900 })
    expect(
      done.headers
        .getSetCookie()
        .map((cookie) => cookie.split('=')[0])
        .sort(),
    ).toEqual(['access_token', 'login_device', 'refresh_token'])
    expect(await audited(world.tenant.id, 'session.create')).toMatchObject([
      { after: { user_id: world.admin.user.id, method: 'passkey', passkey_id: passkey.id } },
    ])
    const { data } = await callJson<Kept[]>('GET', PASSKEYS, { token: world.admin.token })
    expect(data).toMatchObject([{ id: passkey.id, last_used_at: expect.stringMatching(/^\d{4}-/) }])
  })

  it('asks for no code besides', async () => {
    const user = await withApp()
    const { device } = await registered(user.admin)
    expect((await user.login()).error.code).toBe('mfa_required')
    expect((await login(await device.get(await loginOptions()))).status).toBe(200)
  })

  const twists: [string, Twist][] = [
    ['another origin', { origin: 'https://evil.example' }],
    ['another service', { rpId: 'evil.example' }],
    ['a registration’s answer', { type: 'webauthn.create' }],
    ['a frame of another page', { crossOrigin: true }],
    ['nobody verified', { verified: false }],
    ['a challenge of nobody', { challenge: base64url(new Uint8Array(56)) }],
    ['a wrong signature', { forged: true }],
    ['another user’s handle', { userHandle: new Uint8Array(32) }],
    ['a handle cut short', { userHandle: new Uint8Array(1) }],
  ]
  it.each(twists)('is refused with %s, and audited', async (_, twist) => {
    const { device, passkey } = await registered(world.admin)
    const { status, error } = await login(await device.get(await loginOptions(), twist))
    expect([status, error.code]).toEqual([401, 'invalid_passkey'])
    expect(await audited(world.tenant.id, 'passkey.refuse')).toMatchObject([
      { resource_id: world.admin.user.id, after: { passkey_id: passkey.id, reason: expect.any(String) } },
    ])
    expect(await sessionsOf(world)).toBe(0)
    // And is none the worse for it.
    expect((await login(await device.get(await loginOptions()))).status).toBe(200)
  })

  it('is refused with a challenge of a registration, and one that was used', async () => {
    const { device } = await registered(world.admin)
    const options = await registerOptions(world.admin.token)
    expect((await login(await device.get(options))).error.code).toBe('invalid_passkey')
    const response = await device.get(await loginOptions())
    expect((await login(response)).status).toBe(200)
    expect((await login(response)).error.code).toBe('invalid_passkey')
    const again = await loginOptions()
    expect((await login(await device.get(again))).status).toBe(200)
    expect((await login(await device.get(again))).error.code).toBe('invalid_passkey')
    expect(await sessionsOf(world)).toBe(2)
    // What is known of a challenge is kept for as long as it lives.
    const known = async () =>
      env.DB.prepare('select count(*) from used_challenges where tenant_id = ?')
        .bind(world.tenant.id)
        .first<number>('count(*)')
    const before = await known()
    await dropUsedChallenges({ ...world.ctx, now: Date.now() })
    expect(await known()).toBe(before)
    expect((await login(response)).error.code).toBe('invalid_passkey')
    await dropUsedChallenges({ ...world.ctx, now: Date.now() + CHALLENGE_MS + 1 })
    expect(await known()).toBe(0)
  })

  it('lets one in of many equal answers that come at once', async () => {
    const { device } = await registered(world.admin)
    const response = await device.get(await loginOptions(), { counter: 0 })
    const answers = await Promise.all(Array.from({ length: 8 }, () => login(response)))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(401)])
    expect(await sessionsOf(world)).toBe(1)
  })

  it('is refused where the counter stands still or falls back: a copy of the key', async () => {
    const { device } = await registered(world.admin)
    expect((await login(await device.get(await loginOptions(), { counter: 7 }))).status).toBe(200)
    for (const counter of [7, 6, 0]) {
      const refused = await login(await device.get(await loginOptions(), { counter }))
      expect([counter, refused.error?.code]).toEqual([counter, 'invalid_passkey'])
    }
    const reasons = (await audited(world.tenant.id, 'passkey.refuse')).map(({ after }) => after.reason)
    expect(reasons).toEqual([7, 6, 0].map((counter) => `the counter fell back from 7 to ${counter}`))
    // Whose signature is wrong says nothing of a counter.
    await login(await device.get(await loginOptions(), { counter: 5, forged: true }))
    expect((await audited(world.tenant.id, 'passkey.refuse')).at(-1)?.after.reason).toMatch(/signature/)
    expect((await login(await device.get(await loginOptions(), { counter: 8 }))).status).toBe(200)
  })

  it('works for devices that do not count', async () => {
    const { device } = await registered(world.admin)
    for (let i = 0; i < 3; i++)
      expect((await login(await device.get(await loginOptions(), { counter: 0 }))).status).toBe(200)
  })

  it('is refused for a passkey that is not known', async () => {
    const device = await newAuthenticator()
    const { status, error } = await login(await device.get(await loginOptions()))
    expect([status, error.code]).toEqual([401, 'invalid_passkey'])
  })

  it('is refused for who is suspended, in a tenant that is suspended, and where the address must be verified', async () => {
    const { device } = await registered(world.admin)
    const tryIt = async () => (await login(await device.get(await loginOptions()))).error?.code
    const user = (set: string) =>
      env.DB.prepare(`update users set ${set} where id = ?`).bind(world.admin.user.id).run()
    const tenant = (set: string) =>
      env.DB.prepare(`update tenants set ${set} where id = ?`).bind(world.tenant.id).run()
    await user("status = 'suspended'")
    expect(await tryIt()).toBe('user_suspended')
    await user("status = 'active'")
    await tenant("status = 'suspended'")
    expect(await tryIt()).toBe('tenant_suspended')
    await tenant(`status = 'active', settings = '{"require_verified_email":true}'`)
    expect(await tryIt()).toBe('email_not_verified')
    await user("email_verified_at = '2026-01-01T00:00:00.000Z'")
    expect(await tryIt()).toBeUndefined()
  })

  it('is refused with what is no answer at all', async () => {
    const { device } = await registered(world.admin)
    const good = await device.get(await loginOptions())
    for (const [field, value] of [
      ['clientDataJSON', 'AAAA'],
      ['clientDataJSON', base64url(new TextEncoder().encode('null'))],
      ['clientDataJSON', base64url(new TextEncoder().encode('{"origin":{}}'))],
      ['authenticatorData', 'AAAA'],
      ['signature', 'AAAA'],
    ] as const) {
      const refused = await login({ ...good, response: { ...good.response, [field]: value } })
      expect([field, refused.status, refused.error.code]).toEqual([field, 401, 'invalid_passkey'])
    }
    for (const bad of [{}, { ...good, id: 'not base64url!' }, { ...good, type: 'password' }])
      expect((await login(bad)).status).toBe(422)
  })
})

describe('the list', () => {
  it('shows one’s own only, and nothing of the key', async () => {
    const mine = await registered(world.admin)
    const theirs = await registered(world.member)
    const { data } = await callJson<Kept[]>('GET', PASSKEYS, { token: world.admin.token })
    expect(data.map(({ id }) => id)).toEqual([mine.passkey.id])
    expect(JSON.stringify(data)).not.toContain(mine.device.id)
    await expectError(
      call('DELETE', `${PASSKEYS}/${theirs.passkey.id}`, { token: world.admin.token }),
      'not_found',
    )
    expect((await login(await theirs.device.get(await loginOptions()))).status).toBe(200)
  })
})

describe('removing', () => {
  it('ends it, unless it is the last way to log in', async () => {
    const first = await registered(world.admin)
    const second = await registered(world.admin)
    const remove = (id: string) => call('DELETE', `${PASSKEYS}/${id}`, { token: world.admin.token })
    expect((await remove(first.passkey.id)).status).toBe(204)
    expect((await login(await first.device.get(await loginOptions()))).error.code).toBe('invalid_passkey')
    await expectError(remove(second.passkey.id), 'conflict')
    expect((await login(await second.device.get(await loginOptions()))).status).toBe(200)
    await env.DB.prepare("update users set password_hash = 'x' where id = ?").bind(world.admin.user.id).run()
    expect((await remove(second.passkey.id)).status).toBe(204)
    expect((await audited(world.tenant.id, 'passkey.remove')).map(({ resource_id }) => resource_id)).toEqual([
      first.passkey.id,
      second.passkey.id,
    ])
  })

  it('two at once leaves one of the last two', async () => {
    const both = [await registered(world.admin), await registered(world.admin)]
    const answers = await Promise.all(
      both.map(({ passkey }) => call('DELETE', `${PASSKEYS}/${passkey.id}`, { token: world.admin.token })),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 409])
  })
})

describe('an account whose address is taken back by mail', () => {
  /** As if the mail of a forgotten password had come. */
  async function reset(person: Person) {
    const token = crypto.randomUUID()
    await env.DB.prepare(
      'insert into mail_tokens (tenant_id, hash, user_id, purpose, expires_at) values (?, ?, ?, ?, ?)',
    )
      .bind(
        person.user.tenant_id,
        await sha256(token),
        person.user.id,
        'reset_password',
        new Date(Date.now() + 60_000).toISOString(),
      )
      .run()
    return call('POST', '/api/v1/auth/password/reset', {
      body: { token, password: 'a long and unusual phrase' },
    })
  }

  it('loses what was added before anybody confirmed it', { timeout: 30_000 }, async () => {
    const user = await withApp()
    const { device } = await registered(user.admin)
    expect((await reset(user.admin)).status).toBe(200)
    expect((await login(await device.get(await loginOptions()))).error.code).toBe('invalid_passkey')
    // Nor does another's app stand in the owner's way.
    const entered = await callJson('POST', '/api/v1/auth/login', {
      body: { email: user.email, password: 'a long and unusual phrase', tenant: user.tenant.id },
    })
    expect(entered.status).toBe(200)
  })

  it('keeps them once it was confirmed', { timeout: 30_000 }, async () => {
    const user = await withApp({ verified: true })
    const { device } = await registered(user.admin)
    expect((await reset(user.admin)).status).toBe(200)
    expect((await login(await device.get(await loginOptions()))).status).toBe(200)
    const refused = await callJson('POST', '/api/v1/auth/login', {
      body: { email: user.email, password: 'a long and unusual phrase', tenant: user.tenant.id },
    })
    expect(refused.error.code).toBe('mfa_required')
  })
})

describe('the relying party', () => {
  it('is the service’s host, or the domain that is set', () => {
    const settings = settingsOf(env as unknown as Bindings)
    expect(relyingPartyId(settings)).toBe('localhost')
    expect(relyingPartyId({ ...settings, PUBLIC_URL: 'https://api.example.com:8443' })).toBe(
      'api.example.com',
    )
    expect(relyingPartyId({ ...settings, PASSKEY_RP_ID: 'example.com' })).toBe('example.com')
  })
})
