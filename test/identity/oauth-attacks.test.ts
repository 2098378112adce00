import { env } from 'cloudflare:workers'
import { describe, expect, it, vi } from 'vitest'
import type { Code } from '../receiver/logins'
import { call, callJson } from '../world'
import { PASSWORD, someone, tenantOf } from './kit'
import { Browser, codeFor, github, hubber, isolateWith, makeIdp, microsoft, oidc, person } from './oauth-kit'

const rows = async (sql: string, ...values: unknown[]) =>
  (
    await env.DB.prepare(sql)
      .bind(...values)
      .all<Record<string, unknown>>()
  ).results
const tenantIn = (token: string) =>
  JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/'))).tenant_id
const browserAt = (idp = makeIdp()) => new Browser(isolateWith({ acme: oidc(idp.url) }))

/** All of a tenant that a login could have changed. */
const traces = async (tenantId: string) => ({
  accounts: await rows('select * from oauth_accounts where tenant_id = ?', tenantId),
  users: await rows('select * from users where tenant_id = ? order by id', tenantId),
  sessions: await rows('select * from sessions where tenant_id = ? order by id', tenantId),
})

/** Runs `attack` against somebody whose account must be untouched afterwards. */
async function untouched(attack: (email: string, tenantId: string) => Promise<void>): Promise<void> {
  const email = someone()
  const { tenant } = await tenantOf(email, { verified: true })
  const before = await traces(tenant.id)
  await attack(email, tenant.id)
  expect(await traces(tenant.id)).toEqual(before)
}

const accountsOf = (subject: string) => rows('select id from oauth_accounts where subject = ?', subject)

describe('taking over an account by its address', () => {
  it('an address that the provider has not verified links to nobody (allowDangerousEmailAccountLinking)', () =>
    untouched(async (email) => {
      const browser = browserAt()
      for (const email_verified of [false, undefined, null, 0, 1, 'yes', 'false', {}, [true]]) {
        const { status, error } = await browser.login('acme', person(email, { email_verified }))
        expect([email_verified, status, error.code]).toEqual([email_verified, 403, 'oauth_email_unverified'])
      }
    }))

  it('at GitHub only the primary, verified address counts, and only if it is shown', () =>
    untouched(async (email) => {
      const browser = new Browser(isolateWith({ github: github(makeIdp({}, 'github').url) }))
      const answers: Partial<Code>[] = [
        { emails: [{ email, primary: true, verified: false }] },
        { emails: [{ email, primary: false, verified: true }] },
        { emails: [] },
      ]
      for (const more of answers) {
        const { error } = await browser.login('github', hubber(1, email, more))
        expect(error.code).toBe('oauth_email_unverified')
      }
      const hidden = await browser.login(
        'github',
        hubber(1, email, { emails: { message: 'No' }, emails_status: 404 }),
      )
      expect([hidden.status, hidden.error.code]).toEqual([502, 'upstream_failed'])
    }))

  it('at Microsoft a directory’s word for an address is nobody’s proof (nOAuth)', () =>
    untouched(async (email) => {
      const idp = makeIdp()
      const browser = new Browser(isolateWith({ microsoft: microsoft(idp.url) }))
      const tid = crypto.randomUUID()
      const claims = { ...person(email).claims, tid, iss: `${idp.url}/${tid}/v2.0` }
      for (const xms_edov of [undefined, false, 0, '0', 'no']) {
        const { error } = await browser.login('microsoft', { claims: { ...claims, xms_edov } })
        expect([xms_edov, error.code]).toEqual([xms_edov, 'oauth_email_unverified'])
      }
      // Nor what userinfo says.
      const { email: _, ...bare } = claims
      const userinfo = { sub: claims.sub, email, email_verified: true }
      const told = await browser.login('microsoft', { claims: { ...bare, xms_edov: true }, userinfo })
      expect(told.error.code).toBe('oauth_email_unverified')
    }))

  it('at Microsoft nobody speaks for another directory', () =>
    untouched(async (email) => {
      const tid = crypto.randomUUID()
      const other = crypto.randomUUID()
      const idp = makeIdp()
      const of = (directory: string, more = {}) => ({
        claims: {
          ...person(email).claims,
          tid,
          iss: `${idp.url}/${directory}/v2.0`,
          xms_edov: true,
          ...more,
        },
      })
      const browser = new Browser(isolateWith({ microsoft: microsoft(idp.url) }))
      for (const who of [
        of(other),
        of(tid, { tid: other }),
        of('x', { tid: 'x' }),
        of('', { tid: '' }),
        of(tid, { tid: undefined }),
      ])
        expect((await browser.login('microsoft', who)).error.code).toBe('oauth_refused')
      // Nor with a key that is another directory's.
      const keyed = makeIdp({ key_issuer: `https://login.example/${other}/v2.0` })
      const second = new Browser(isolateWith({ microsoft: microsoft(keyed.url) }))
      const who = { claims: { ...of(tid).claims, iss: `${keyed.url}/${tid}/v2.0` } }
      expect((await second.login('microsoft', who)).error.code).toBe('oauth_refused')
      // Nor where the service is for one directory.
      const single = new Browser(isolateWith({ microsoft: microsoft(idp.url, other) }))
      const refused = await single.get('/api/v1/auth/oauth/microsoft/authorize')
      expect(refused.error.code).toBe('upstream_failed')
    }))

  it('who registered another’s address and waits does not share the account (Better Auth #9578)', async () => {
    const email = someone()
    const made = await callJson<{ id: string }>('POST', '/api/v1/auth/register', {
      body: { email, password: PASSWORD },
    })
    const squatter = await callJson<{ access_token: string }>('POST', '/api/v1/auth/login', {
      body: { email, password: PASSWORD },
    })
    expect(squatter.status).toBe(200)
    const { data } = await browserAt().login('acme', person(email))
    expect(tenantIn(data.access_token)).not.toBe(made.data.id)
    // The squatter's session and password are over.
    const knock = await callJson('GET', '/api/v1/auth/me', { token: squatter.data.access_token })
    expect([401, 403]).toContain(knock.status)
    const again = await callJson('POST', '/api/v1/auth/login', { body: { email, password: PASSWORD } })
    expect(again.error.code).toBe('invalid_credentials')
  }, 30_000)

  it('nor in a tenant that was named; that is on record there', async () => {
    const email = someone()
    const { tenant, admin } = await tenantOf(email, { settings: { open_registration: true } })
    const before = await traces(tenant.id)
    const { status, error } = await browserAt().login('acme', person(email), { query: { tenant: tenant.id } })
    expect([status, error.code]).toEqual([409, 'oauth_not_linked'])
    expect(await traces(tenant.id)).toEqual(before)
    const audited = await rows(
      "select * from audit_log where tenant_id = ? and action = 'oauth.refuse'",
      tenant.id,
    )
    expect(audited).toMatchObject([{ resource_id: admin.user.id }])
  })

  it('letters that fold into others make no other address (GHSA-7rqj-j65f-68wh)', () =>
    untouched(async (email) => {
      const browser = browserAt()
      const disguised = [
        email.replace('@', '\uff20'),
        email.replace('@', '\ufe6b'),
        email.replace('s', '\u017f'),
        email.replace('example', 'examp\u212ae').replace('\u212ae', '\u2113e'),
        `\u212a${email}`,
        `${email}\u0000`,
        `${email}\u00ad`,
      ]
      for (const one of disguised)
        expect([one, (await browser.login('acme', person(one, { sub: 'x' }))).error.code]).toEqual([
          one,
          'oauth_email_unverified',
        ])
    }))

  it('an address that is two, or a page, is none (CVE-2022-35924, CVE-2022-31127)', () =>
    untouched(async (email) => {
      const browser = browserAt()
      for (const one of [
        `attacker@evil.example,${email}`,
        `${email},attacker@evil.example`,
        `"${email}"@evil.example`,
        `<${email}>`,
        `${email}\r\nBcc: x@evil.example`,
        `<a href="http://evil.example">${email}</a>`,
        [email],
        { toString: email },
      ])
        expect((await browser.login('acme', person(email, { email: one }))).error.code).toBe(
          'oauth_email_unverified',
        )
    }))

  it('who gets an address later, by its whole domain too, gets no account with it', async () => {
    const email = someone()
    const browser = browserAt()
    const owner = await browser.login('acme', person(email))
    const before = await traces(tenantIn(owner.data.access_token))
    const heir = await browser.login('acme', person(email, { sub: `heir-${email}` }))
    expect([heir.status, heir.error.code]).toEqual([409, 'oauth_not_linked'])
    expect(await traces(tenantIn(owner.data.access_token))).toEqual(before)
  })

  it('a subject means something to its own provider and issuer alone', async () => {
    const email = someone()
    const first = makeIdp()
    const claims = { ...person(email).claims, sub: `same-${email}` }
    const owner = await new Browser(isolateWith({ acme: oidc(first.url) })).login('acme', { claims })
    const stranger = { claims: { ...claims, email: someone() } }
    for (const providers of [{ acme: oidc(makeIdp().url) }, { beta: oidc(first.url) }]) {
      const [name = ''] = Object.keys(providers)
      const other = await new Browser(isolateWith(providers)).login(name, stranger)
      expect(tenantIn(other.data.access_token)).not.toBe(tenantIn(owner.data.access_token))
    }
  })
})

describe('a login that another browser started', () => {
  it('is refused without its cookie, and stays good for the one that has it (CVE-2023-27490, CVE-2025-68481)', async () => {
    const idp = makeIdp()
    const attacker = browserAt(idp)
    const { url, state } = await attacker.start('acme')
    const code = codeFor(url, person(someone()))
    const victim = new Browser(attacker.isolate)
    const lured = await victim.back('acme', { state, code })
    expect([lured.status, lured.error.code, lured.cookies]).toEqual([400, 'oauth_state_invalid', []])
    // With a cookie of another login of their own, or an invented one, neither.
    await victim.start('acme')
    for (const value of [[...victim.cookies.values()][0] ?? '', 'x', '', 'a'.repeat(43)]) {
      const [name = ''] = attacker.cookies.keys()
      victim.cookies.set(name, value)
      expect((await victim.back('acme', { state, code })).error.code).toBe('oauth_state_invalid')
    }
    expect((await idp.asked()).includes('POST token')).toBe(false)
    expect((await attacker.back('acme', { state, code })).status).toBe(200)
  })

  it('a state must be the one that was given (Better Auth #8897)', async () => {
    const browser = browserAt()
    const { url, state } = await browser.start('acme')
    const code = codeFor(url, person(someone()))
    const other = `${state.slice(0, -1)}${state.endsWith('A') ? 'B' : 'A'}`
    expect((await browser.back('acme', { state: other, code })).error.code).toBe('oauth_state_invalid')
    for (const wrong of ['', 'x', `${state}x`, '../../x', "' or 1=1 --"])
      expect((await browser.back('acme', { state: wrong, code })).status).toBe(422)
    const twice = await browser.get(
      `/api/v1/auth/oauth/acme/callback?state=${state}&state=${other}&code=${code}`,
    )
    expect(twice.error.details.fields).toEqual({ state: 'must come once' })
    expect((await browser.back('acme', { code } as never)).status).toBe(422)
    expect((await browser.back('acme', { state })).error.details.fields).toEqual({ code: 'is required' })
  })

  it('a login at one provider can’t be ended at another (GHSA-x445-f3h2-j279)', async () => {
    const [first, second] = [makeIdp(), makeIdp()]
    const browser = new Browser(isolateWith({ acme: oidc(first.url), evil: oidc(second.url) }))
    const { url, state } = await browser.start('acme')
    const code = codeFor(url, person(someone()))
    const crossed = await browser.back('evil', { state, code })
    expect([crossed.status, crossed.error.code]).toEqual([400, 'oauth_state_invalid'])
    expect(await second.asked()).not.toContain('POST token')
    expect((await browser.back('acme', { state, code })).status).toBe(200)
  })

  it('an answer that names another issuer is shown to no provider (RFC 9207)', async () => {
    const idp = makeIdp({ document: { authorization_response_iss_parameter_supported: true } })
    const browser = browserAt(idp)
    for (const iss of [undefined, 'https://evil.example', `${idp.url}/`]) {
      const { url, state } = await browser.start('acme')
      const code = codeFor(url, person(someone()))
      const answer = await browser.back('acme', { state, code, ...(iss === undefined ? {} : { iss }) })
      expect([iss, answer.error.code]).toEqual([iss, 'oauth_refused'])
    }
    expect(await idp.asked()).not.toContain('POST token')
    const { url, state } = await browser.start('acme')
    expect(
      (await browser.back('acme', { state, code: codeFor(url, person(someone())), iss: idp.url })).status,
    ).toBe(200)
  })

  it('is over after ten minutes', async () => {
    const browser = browserAt()
    const { url, state } = await browser.start('acme')
    await env.DB.prepare(
      'update oauth_states set expires_at = ? where expires_at > ? and used_at is null and provider = ?',
    )
      .bind(new Date(Date.now() - 1).toISOString(), new Date(Date.now() + 590_000).toISOString(), 'acme')
      .run()
    const late = await browser.back('acme', { state, code: codeFor(url, person(someone())) })
    expect(late.error.code).toBe('oauth_state_invalid')
  })
})

describe('a second time', () => {
  it('neither state nor code is taken; that is on record where the first led', async () => {
    const browser = browserAt()
    const { url, state } = await browser.start('acme')
    const kept = new Map(browser.cookies)
    const code = codeFor(url, person(someone()))
    const first = await browser.back('acme', { state, code })
    const tenantId = tenantIn(first.data.access_token)
    const before = await traces(tenantId)
    for (const [name, value] of kept) browser.cookies.set(name, value)
    const replayed = await browser.back('acme', { state, code })
    expect([replayed.status, replayed.error.code]).toEqual([400, 'oauth_state_invalid'])
    const audited = await rows(
      "select * from audit_log where tenant_id = ? and action = 'oauth.replay'",
      tenantId,
    )
    expect(audited).toHaveLength(1)
    // The code in a login of one's own: its verifier is another's, and it was used.
    const again = await browser.start('acme')
    const injected = await browser.back('acme', { state: again.state, code })
    expect([injected.status, injected.error.code]).toEqual([401, 'oauth_refused'])
    expect(await traces(tenantId)).toEqual(before)
  })

  it('of two at once one goes on', async () => {
    const browser = browserAt()
    const { url, state } = await browser.start('acme')
    const who = person(someone())
    const both = await Promise.all([1, 2].map(() => browser.back('acme', { state, code: codeFor(url, who) })))
    expect(both.map(({ status }) => status).sort()).toEqual([200, 400])
    expect(await accountsOf(who.claims.sub)).toHaveLength(1)
  })

  it('a code that was stolen before it was used is of no use (PKCE)', async () => {
    const idp = makeIdp()
    const victim = browserAt(idp)
    const stolen = codeFor((await victim.start('acme')).url, person(someone()))
    const thief = new Browser(victim.isolate)
    const { state } = await thief.start('acme')
    expect((await thief.back('acme', { state, code: stolen })).error.code).toBe('oauth_refused')
    const hub = makeIdp({}, 'github')
    const one = new Browser(isolateWith({ github: github(hub.url) }))
    const other = codeFor((await one.start('github')).url, hubber(7, someone()))
    const own = await one.start('github')
    expect((await one.back('github', { state: own.state, code: other })).error.code).toBe('oauth_refused')
  })
})

describe('an id token', () => {
  const now = () => Math.floor(Date.now() / 1000)
  const bad: [string, (email: string, idp: string) => Partial<Code>][] = [
    ['without a signature', (email) => ({ ...person(email), token: { sign: 'none' } })],
    ['signed by the client’s secret', (email) => ({ ...person(email), token: { sign: 'secret' } })],
    [
      'signed by the public key as a secret',
      (email) => ({ ...person(email), token: { sign: 'public-key' } }),
    ],
    ['signed by a key of the same name', (email) => ({ ...person(email), token: { sign: 'stranger' } })],
    ['of an unknown key', (email) => ({ ...person(email), token: { header: { kid: '../../etc/passwd' } } })],
    ['for another audience', (email) => person(email, { aud: 'another' })],
    ['for several, unsaid for whom', (email) => person(email, { aud: ['causeway:test', 'another'] })],
    ['for another party', (email) => person(email, { aud: ['causeway:test', 'another'], azp: 'another' })],
    ['of another issuer', (email) => person(email, { iss: 'https://evil.example' })],
    ['of almost the issuer', (email, idp) => person(email, { iss: `${idp}/` })],
    ['of another login', (email) => person(email, { nonce: 'x'.repeat(43) })],
    ['of no login (Better Auth #7571)', (email) => person(email, { nonce: undefined })],
    ['with a nonce that is no text', (email) => person(email, { nonce: ['x'] as never })],
    ['that has expired', (email) => person(email, { exp: now() - 60 })],
    ['that never expires', (email) => person(email, { exp: undefined })],
    ['that is not valid yet', (email) => person(email, { nbf: now() + 300 })],
    ['about nobody', (email) => person(email, { sub: '' })],
    ['about no text', (email) => person(email, { sub: 7 as never })],
    ['that is an access token', (email) => ({ ...person(email), token: { header: { typ: 'at+jwt' } } })],
    ['that is a logout token', (email) => ({ ...person(email), token: { header: { typ: 'logout+jwt' } } })],
    ['with another access token', (email) => person(email, { at_hash: 'AAAAAAAAAAAAAAAAAAAAAA' })],
    ['of 40 kB', (email) => ({ ...person(email), token: { padding: 40_000 } })],
    ['that is none', (email) => ({ ...person(email), answer: { status: 200, body: { id_token: 'x.y.z' } } })],
  ]
  for (const [what, make] of bad)
    it(`${what} lets nobody in`, () =>
      untouched(async (email) => {
        const idp = makeIdp()
        const browser = browserAt(idp)
        const answer = await browser.login('acme', make(email, idp.url))
        expect([answer.status, answer.error.code]).toEqual([401, 'oauth_refused'])
        expect(answer.cookies.some((one) => one.startsWith('access_token='))).toBe(false)
      }))

  it('and userinfo must be about the same person', () =>
    untouched(async (email) => {
      const userinfo = { sub: 'another', email, email_verified: true }
      const answer = await browserAt().login('acme', { claims: { sub: 'one' }, userinfo })
      expect(answer.error.code).toBe('oauth_refused')
    }))
})

describe('a provider that misbehaves', () => {
  it('gets no secret sent elsewhere, and its document must be its own', async () => {
    const idp = makeIdp({ redirects: ['token'] })
    const answer = await browserAt(idp).login('acme', person(someone()))
    expect([answer.status, answer.error.code]).toEqual([502, 'upstream_failed'])
    const receiver = (env as unknown as { RECEIVER_URL: string }).RECEIVER_URL
    expect(await (await fetch(`${receiver}/hook/seen?key=${idp.id}`)).json()).toEqual([])
    for (const document of [{ issuer: 'https://evil.example' }, { token_endpoint: 7 }, { jwks_uri: null }]) {
      const wrong = browserAt(makeIdp({ document }))
      expect((await wrong.get('/api/v1/auth/oauth/acme/authorize')).error.code).toBe('upstream_failed')
    }
  })

  it('that answers an error or too much is named as what failed', async () => {
    const answers: [Code['answer'], number, string][] = [
      [
        { status: 400, body: { error: 'invalid_grant', error_description: '<script>' } },
        401,
        'oauth_refused',
      ],
      [{ status: 401, body: { error: 'invalid_client' } }, 502, 'upstream_failed'],
      [{ status: 200, body: { access_token: 'x' } }, 502, 'upstream_failed'],
      [{ status: 200, size: 300_000 }, 502, 'upstream_failed'],
      [{ status: 500, body: {} }, 502, 'upstream_failed'],
    ]
    for (const [answer, status, code] of answers) {
      const done = await browserAt().login('acme', { ...person(someone()), ...(answer ? { answer } : {}) })
      expect([done.status, done.error.code]).toEqual([status, code])
      expect(JSON.stringify(done.error)).not.toContain('script')
    }
  })

  it('has no words of its own in the answer', async () => {
    const browser = browserAt()
    for (const [error, shown] of [
      ['access_denied', 'access_denied'],
      ['<script>alert(1)</script>', 'unknown'],
      ['x'.repeat(100), 'unknown'],
    ] as const) {
      const { state } = await browser.start('acme')
      const done = await browser.back('acme', { state, error, error_description: '<b>click here</b>' })
      expect([done.status, done.error.code, done.error.details]).toEqual([
        403,
        'oauth_denied',
        { provider_error: shown },
      ])
    }
  })
})

describe('where it leads', () => {
  it('is a page here or of an allowed origin, whatever the parser is told (CVE-2022-31093)', async () => {
    const browser = browserAt()
    for (const redirect_to of [
      'https://evil.example',
      '//evil.example',
      '/\\evil.example',
      '\\\\evil.example',
      '/\t/evil.example',
      'https:evil.example',
      'http://localhost:8787@evil.example/',
      'http://localhost:8787.evil.example/',
      'http://user:pass@localhost:8787/',
      'javascript:alert(1)',
      'data:text/html,x',
      'http://[',
      'https://localhost:8787/',
    ]) {
      const answer = await browser.get(
        `/api/v1/auth/oauth/acme/authorize?${new URLSearchParams({ redirect_to })}`,
        { Accept: 'text/html' },
      )
      expect([redirect_to, answer.status, answer.location]).toEqual([redirect_to, 422, null])
    }
  })

  it('is nobody’s choice where the login is not the browser’s own', async () => {
    const attacker = browserAt()
    const { url, state } = await attacker.start('acme', { redirect_to: 'http://localhost:5173/trap' })
    const victim = new Browser(attacker.isolate)
    const lured = await victim.back('acme', { state, code: codeFor(url, person(someone())) }, 'text/html')
    expect(lured.location?.href).toMatch(/^http:\/\/localhost:8787\/\?error=oauth_state_invalid&request_id=/)
  })
})

describe('what a login leaves', () => {
  it('is no credential: neither state, cookie, nonce nor verifier (CVE-2023-48309)', async () => {
    const browser = browserAt()
    const { url, state } = await browser.start('acme')
    const [[name, secret] = ['', '']] = browser.cookies
    const nonce = url.searchParams.get('nonce') ?? ''
    for (const token of [state, secret, nonce]) {
      expect((await call('GET', '/api/v1/auth/me', { token })).status).toBe(401)
      expect(
        (await call('GET', '/api/v1/auth/me', { headers: { Cookie: `access_token=${token}` } })).status,
      ).toBe(401)
      const refresh = await callJson('POST', '/api/v1/auth/refresh', { body: { refresh_token: token } })
      expect(refresh.status).toBe(401)
    }
    // And nothing that is kept can be used.
    const kept = JSON.stringify(await rows('select * from oauth_states'))
    for (const one of [state, secret, nonce, url.searchParams.get('code_challenge') ?? ''])
      expect(kept).not.toContain(one)
    expect(name).toMatch(/^oauth_[0-9a-f]{16}$/)
  })

  it('is nothing where the setting is wrong: nobody is let in by mistake (GHSA-8fpg-xm3f-6cx3)', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined)
    const good = { client_id: 'x', client_secret: 'y', issuer: 'https://issuer.example' }
    for (const setting of [
      '{',
      '[]',
      '"x"',
      '{"acme":{}}',
      JSON.stringify({ acme: { ...good, client_secret: '' } }),
      JSON.stringify({ acme: { ...good, issuer: 'http://issuer.example' } }),
      JSON.stringify({ acme: { ...good, issuer: 'http://localhost.evil.example' } }),
      JSON.stringify({ acme: { ...good, verify: false } }),
      JSON.stringify({ 'a/b': good }),
    ]) {
      const browser = new Browser(isolateWith({}, { OAUTH_PROVIDERS: setting }))
      const answer = await browser.get('/api/v1/auth/oauth/acme/authorize')
      expect([setting, answer.status, answer.error.code]).toEqual([setting, 500, 'misconfigured'])
      expect((await browser.get('/api/v1/auth/me')).error.code).toBe('misconfigured')
    }
  })
})

describe('around logins', () => {
  it('a key is made for its maker alone, whoever the body names (CVE-2025-61928)', async () => {
    const { admin } = await tenantOf(someone())
    const body = { name: 'x', user_id: admin.user.id, userId: admin.user.id }
    expect((await call('POST', '/api/v1/auth/api-keys', { body })).status).toBe(401)
    const named = await callJson('POST', '/api/v1/auth/api-keys', { token: admin.token, body })
    expect(Object.keys(named.error.details.fields ?? {}).sort()).toEqual(['userId', 'user_id'])
  })

  it('doubled slashes lead nowhere, and so past no limit (GHSA-x732-6j76-qmhm)', async () => {
    const browser = browserAt()
    for (const path of ['//api/v1/auth/oauth/acme/authorize', '/api/v1/auth//oauth/acme/authorize'])
      expect((await browser.get(path)).status).toBe(404)
    const headers = { 'CF-Connecting-IP': '198.51.100.77' }
    const statuses: number[] = []
    for (let i = 0; i < 12; i++)
      statuses.push((await browser.get('/api/v1/auth/oauth/acme/authorize', headers)).status)
    expect(statuses.slice(0, 10)).toEqual(Array(10).fill(200))
    expect(statuses.slice(10)).toEqual([429, 429])
  })
})
