import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { callJson } from '../world'
import { someone, tenantOf } from './kit'
import { Browser, github, hubber, isolateWith, makeIdp, microsoft, oidc, person } from './oauth-kit'

const claimsIn = (token: string) =>
  JSON.parse(atob((token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/')))
const rows = async (sql: string, ...values: unknown[]) =>
  (
    await env.DB.prepare(sql)
      .bind(...values)
      .all<Record<string, unknown>>()
  ).results

describe('a first login', () => {
  it('makes a user with a tenant of their own, who is confirmed and has no password', async () => {
    const email = someone()
    const idp = makeIdp()
    const browser = new Browser(isolateWith({ acme: oidc(idp.url) }))
    const { status, data, cookies } = await browser.login('acme', person(email))
    expect([status, data?.message]).toEqual([200, 'Login successful'])
    const { sub, tenant_id, role } = claimsIn(data.access_token)
    expect([sub, role]).toEqual([tenant_id, 'admin'])
    const [user] = await rows('select * from users where id = ?', sub)
    expect(user).toMatchObject({ email, full_name: 'Ada Lovelace', password_hash: null, is_personal: 1 })
    expect(user?.email_verified_at).toEqual(expect.any(String))
    const me = await callJson('GET', '/api/v1/auth/me', { token: data.access_token })
    expect(me.data).toMatchObject({ email })
    const audited = await rows(
      'select action, after from audit_log where tenant_id = ? order by id',
      tenant_id,
    )
    expect(audited.map(({ action }) => action)).toEqual(['user.register', 'session.create'])
    expect(String(audited[1]?.after)).toContain('"method":"oauth"')
    const events = await rows('select type from events where tenant_id = ?', tenant_id)
    expect(events).toEqual([{ type: 'user.created' }])
    expect(cookies.filter((one) => one.startsWith('access_token=')).join()).toMatch(
      /HttpOnly; Secure; SameSite=Strict/,
    )
    expect(cookies.join()).toMatch(/refresh_token=/)
  })

  it('leads back to the same user afterwards, whatever the address has become', async () => {
    const email = someone()
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const first = await browser.login('acme', person(email))
    const again = await browser.login(
      'acme',
      person(someone(), { sub: `sub-${email}`, email_verified: false }),
    )
    expect(claimsIn(again.data.access_token).sub).toBe(claimsIn(first.data.access_token).sub)
  })

  it('in two windows at once makes one user', async () => {
    for (const verified of [false, true]) {
      const email = someone()
      if (verified) await tenantOf(email, { verified })
      const isolate = isolateWith({ acme: oidc(makeIdp().url) })
      const done = await Promise.all([1, 2, 3].map(() => new Browser(isolate).login('acme', person(email))))
      expect(done.map(({ status }) => status)).toEqual([200, 200, 200])
      expect(new Set(done.map(({ data }) => claimsIn(data.access_token).sub)).size).toBe(1)
      expect(await rows('select id from users where email = ?', email)).toHaveLength(1)
    }
  })

  it('joins a tenant that is named and takes registrations', async () => {
    const { tenant } = await tenantOf(someone(), { settings: { open_registration: true } })
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const { data } = await browser.login('acme', person(someone()), { query: { tenant: tenant.slug } })
    expect(claimsIn(data.access_token)).toMatchObject({ tenant_id: tenant.id, role: 'member' })
  })

  it('joins a tenant that has invited the address, with the role it was invited to', async () => {
    const { tenant, admin } = await tenantOf(someone())
    const email = someone()
    const invite = async () =>
      (
        await callJson<{ id: string }>('POST', '/api/v1/users/invitations', {
          token: admin.token,
          body: { email, role: 'developer' },
        })
      ).data.id
    const id = await invite()
    const isolate = isolateWith({ acme: oidc(makeIdp().url) })
    const login = () => new Browser(isolate).login('acme', person(email), { query: { tenant: tenant.id } })
    await env.DB.prepare("update invitations set expires_at = '2020-01-01T00:00:00.000Z' where id = ?")
      .bind(id)
      .run()
    expect((await login()).error.code).toBe('registration_closed')
    const again = await invite()
    const done = await Promise.all([login(), login()])
    expect(done.map(({ status }) => status)).toEqual([200, 200])
    const claims = claimsIn(done[0]?.data.access_token ?? '')
    expect(claims).toMatchObject({ tenant_id: tenant.id, role: 'developer' })
    expect(await rows('select id from users where email = ?', email)).toEqual([{ id: claims.sub }])
    expect(await rows('select state, user_id from invitations where id = ?', again)).toEqual([
      { state: 'accepted', user_id: claims.sub },
    ])
  })

  it('is refused by a tenant that takes none, has no room, or is not there', async () => {
    const closed = await tenantOf(someone())
    const full = await tenantOf(someone(), { settings: { open_registration: true, max_users: 4 } })
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    for (const [tenant, status, code] of [
      [closed.tenant.id, 403, 'registration_closed'],
      [full.tenant.id, 409, 'user_limit_reached'],
      ['no-such-tenant', 404, 'not_found'],
    ] as const) {
      const answer = await browser.login('acme', person(someone()), { query: { tenant } })
      expect([answer.status, answer.error.code]).toEqual([status, code])
    }
  })
})

describe('an address that is known here', () => {
  it('is linked where it is confirmed here too, and its owner is told', async () => {
    const email = someone()
    const { admin, tenant } = await tenantOf(email, { verified: true })
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const { data } = await browser.login('acme', person(email.toUpperCase()))
    expect(claimsIn(data.access_token)).toMatchObject({ sub: admin.user.id, tenant_id: tenant.id })
    const [account] = await rows('select * from oauth_accounts where tenant_id = ?', tenant.id)
    expect(account).toMatchObject({ user_id: admin.user.id, provider: 'acme', email })
    const audited = await rows(
      "select after from audit_log where tenant_id = ? and action = 'oauth.link'",
      tenant.id,
    )
    expect(audited).toHaveLength(1)
    const mails = await rows('select subject from mails where tenant_id = ? and "to" = ?', tenant.id, email)
    expect(mails).toEqual([{ subject: 'A new way to log in to your account' }])
  })

  it('in several tenants asks for one, and takes it', async () => {
    const email = someone()
    const first = await tenantOf(email, { verified: true })
    const second = await tenantOf(email, { verified: true })
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const unsure = await browser.login('acme', person(email))
    expect([unsure.status, unsure.error.code]).toEqual([409, 'tenant_required'])
    const offered = unsure.error.details.tenants as { id: string }[]
    expect(offered.map(({ id }) => id).sort()).toEqual([first.tenant.id, second.tenant.id].sort())
    for (const { tenant } of [first, second]) {
      const { data } = await browser.login('acme', person(email), { query: { tenant: tenant.id } })
      expect(claimsIn(data.access_token).tenant_id).toBe(tenant.id)
    }
    // Linked in both now, so it is asked again.
    expect((await browser.login('acme', person(email))).error.code).toBe('tenant_required')
  })

  it('of a suspended user or tenant stays outside', async () => {
    for (const [table, code] of [
      ['users', 'user_suspended'],
      ['tenants', 'tenant_suspended'],
    ] as const) {
      const email = someone()
      const { admin, tenant } = await tenantOf(email, { verified: true })
      await env.DB.prepare(`update ${table} set status = 'suspended' where id = ?`)
        .bind(table === 'users' ? admin.user.id : tenant.id)
        .run()
      const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
      const answer = await browser.login('acme', person(email))
      expect([answer.status, answer.error.code]).toEqual([403, code])
      expect(await rows('select id from oauth_accounts where tenant_id = ?', tenant.id)).toEqual([])
    }
  })

  it('logs in to no cancelled tenant', async () => {
    const email = someone()
    const { tenant } = await tenantOf(email, { verified: true })
    await env.DB.prepare("update tenants set status = 'cancelled' where id = ?").bind(tenant.id).run()
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const { data } = await browser.login('acme', person(email))
    expect(claimsIn(data.access_token).tenant_id).not.toBe(tenant.id)
  })

  it('is pinned to the one tenant of SINGLE_TENANT_ID', async () => {
    const email = someone()
    const one = await tenantOf(someone(), { settings: { open_registration: true } })
    await tenantOf(email, { verified: true })
    const isolate = isolateWith({ acme: oidc(makeIdp().url) }, { SINGLE_TENANT_ID: one.tenant.id })
    const { data } = await new Browser(isolate).login('acme', person(email))
    expect(claimsIn(data.access_token)).toMatchObject({ tenant_id: one.tenant.id, role: 'member' })
    const other = await tenantOf(someone(), { settings: { open_registration: true } })
    const named = await new Browser(isolate).login('acme', person(someone()), {
      query: { tenant: other.tenant.id },
    })
    expect(named.error.code).toBe('not_found')
  })
})

describe('the providers', () => {
  it('GitHub: by its own endpoints, the number of the account and the primary address', async () => {
    const email = someone()
    const hub = makeIdp({}, 'github')
    const browser = new Browser(isolateWith({ github: github(hub.url) }))
    const { url } = await browser.start('github')
    expect(url.pathname).toMatch(/\/login\/oauth\/authorize$/)
    expect(Object.fromEntries(url.searchParams)).toMatchObject({
      scope: 'read:user user:email',
      code_challenge_method: 'S256',
      redirect_uri: 'http://localhost:8787/api/v1/auth/oauth/github/callback',
    })
    const { data } = await browser.login('github', hubber(583231, email))
    const { sub } = claimsIn(data.access_token)
    const [account] = await rows('select * from oauth_accounts where user_id = ?', sub)
    expect(account).toMatchObject({ provider: 'github', issuer: hub.url, subject: '583231', email })
    // Renamed, and with another address: the same.
    const renamed = hubber(583231, someone(), { user: { id: 583231, login: 'renamed', name: null } })
    expect(claimsIn((await browser.login('github', renamed)).data.access_token).sub).toBe(sub)
    // The old name is another's now.
    const heir = hubber(999, someone(), { user: { id: 999, login: 'ada', name: null } })
    expect(claimsIn((await browser.login('github', heir)).data.access_token).sub).not.toBe(sub)
  })

  it('Microsoft: the issuer of the directory that a token speaks for', async () => {
    const idp = makeIdp()
    const tid = crypto.randomUUID()
    const browser = new Browser(isolateWith({ microsoft: microsoft(idp.url) }))
    const claims = { ...person(someone()).claims, tid, iss: `${idp.url}/${tid}/v2.0`, xms_edov: true }
    const { data } = await browser.login('microsoft', { claims })
    const [account] = await rows(
      'select * from oauth_accounts where user_id = ?',
      claimsIn(data.access_token).sub,
    )
    expect(account).toMatchObject({ issuer: `${idp.url}/${tid}/v2.0`, provider: 'microsoft' })
  })

  it('Google, and any other: by discovery, with state, nonce and PKCE', async () => {
    const idp = makeIdp()
    const browser = new Browser(isolateWith({ google: { ...oidc(idp.url), kind: 'google' } }))
    const { url } = await browser.start('google')
    // What the document has in its query stays.
    expect(url.href.startsWith(`${idp.url}/authorize?tenant=kept&`)).toBe(true)
    expect(Object.fromEntries(url.searchParams)).toEqual({
      tenant: 'kept',
      response_type: 'code',
      client_id: 'causeway:test',
      redirect_uri: 'http://localhost:8787/api/v1/auth/oauth/google/callback',
      scope: 'openid email profile',
      state: expect.stringMatching(/^[\w-]{43}$/),
      nonce: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge: expect.stringMatching(/^[\w-]{43}$/),
      code_challenge_method: 'S256',
    })
    expect((await browser.login('google', person(someone()))).status).toBe(200)
  })

  it('may sign by any of the usual algorithms, take the secret in the body, keep the address for userinfo', async () => {
    const idp = makeIdp({ post: true })
    const browser = new Browser(isolateWith({ acme: oidc(idp.url) }))
    for (const key of ['rsa', 'pss', 'ec', 'ed']) {
      const answer = await browser.login('acme', { ...person(someone()), token: { key } })
      expect([key, answer.status]).toEqual([key, 200])
    }
    const email = someone()
    const userinfo = { sub: 'quiet', email, email_verified: true, name: 'Quiet' }
    const { data } = await browser.login('acme', { claims: { sub: 'quiet' }, userinfo })
    const [user] = await rows('select * from users where id = ?', claimsIn(data.access_token).sub)
    expect(user).toMatchObject({ email, full_name: 'Quiet' })
  })

  it('are asked for documents and keys once, and again for a key that is new', async () => {
    const idp = makeIdp({ keys: [['rsa'], ['rsa', 'ec']] })
    const browser = new Browser(isolateWith({ acme: oidc(idp.url) }))
    for (let i = 0; i < 3; i++) expect((await browser.login('acme', person(someone()))).status).toBe(200)
    const asked = await idp.asked()
    expect(asked.filter((one) => one.startsWith('GET'))).toEqual([
      'GET .well-known/openid-configuration',
      'GET keys',
    ])
    // A made-up key asks no more than once in half a minute.
    for (let i = 0; i < 3; i++)
      expect((await browser.login('acme', { ...person(someone()), token: { key: 'ec' } })).error.code).toBe(
        'oauth_refused',
      )
    expect((await idp.asked()).filter((one) => one === 'GET keys')).toHaveLength(1)
  })

  it('a name that is not configured is no provider', async () => {
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    for (const name of ['google', 'constructor', 'toString'])
      for (const path of [`${name}/authorize`, `${name}/callback?state=${'a'.repeat(43)}&code=x`]) {
        const { status, error } = await browser.get(`/api/v1/auth/oauth/${path}`)
        expect([path, status]).toEqual([path, name === 'toString' ? 422 : 404])
        expect(error.code).toBe(name === 'toString' ? 'validation_failed' : 'not_found')
      }
  })
})

describe('the answer', () => {
  it('to a browser is the page it wanted, with cookies and nothing in the address', async () => {
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const query = { redirect_to: '/chats?new=1#top' }
    const { status, location, cookies } = await browser.login('acme', person(someone()), {
      query,
      accept: 'text/html',
    })
    expect([status, location?.href]).toEqual([302, 'http://localhost:8787/chats?new=1#top'])
    expect(cookies.some((one) => one.startsWith('access_token='))).toBe(true)
    expect(cookies.some((one) => /^oauth_\w{16}=;.*Max-Age=0/.test(one))).toBe(true)
  })

  it('to a browser that failed is the same page with the code', async () => {
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const { state } = await browser.start('acme', { redirect_to: 'http://localhost:5173/login?x=1' })
    const { status, location } = await browser.back(
      'acme',
      { state, error: 'access_denied' },
      'text/html,*/*',
    )
    expect([status, location?.origin, location?.pathname]).toEqual([302, 'http://localhost:5173', '/login'])
    expect(Object.fromEntries(location?.searchParams ?? [])).toEqual({
      x: '1',
      error: 'oauth_denied',
      request_id: expect.stringMatching(/^req_/),
    })
    expect(JSON.parse(decodeURIComponent(location?.hash.slice('#details='.length) ?? ''))).toEqual({
      provider_error: 'access_denied',
    })
  })

  it('to a program is where the browser must go', async () => {
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const answer = await browser.get('/api/v1/auth/oauth/acme/authorize')
    expect([answer.status, answer.data]).toEqual([
      200,
      { url: expect.stringContaining('/authorize?'), expires_in: 600 },
    ])
    expect(answer.cookies.join()).toMatch(
      /^oauth_\w{16}=[\w-]{43}; Max-Age=600; Path=\/api\/v1\/auth\/oauth; HttpOnly; Secure; SameSite=Lax$/,
    )
  })

  it('waits for the second factor of who has one', async () => {
    const email = someone()
    const { tenant, admin } = await tenantOf(email, { verified: true })
    const at = new Date().toISOString()
    await env.DB.prepare(
      'insert into totp_enrolments (tenant_id, user_id, secret_sealed, confirmed_at, created_at) values (?, ?, ?, ?, ?)',
    )
      .bind(tenant.id, admin.user.id, 'sealed', at, at)
      .run()
    const browser = new Browser(isolateWith({ acme: oidc(makeIdp().url) }))
    const asJson = await browser.login('acme', person(email))
    expect([asJson.status, asJson.error.code]).toEqual([401, 'mfa_required'])
    const asPage = await browser.login('acme', person(email), { accept: 'text/html' })
    expect(asPage.location?.searchParams.get('error')).toBe('mfa_required')
    // The challenge goes where no server sees it.
    expect(asPage.location?.search).not.toContain('challenge')
    expect(decodeURIComponent(asPage.location?.hash ?? '')).toMatch(/"challenge":"[\w-]{43}"/)
    expect(asPage.cookies.some((one) => one.startsWith('access_token='))).toBe(false)
    expect(
      await rows("select id from audit_log where tenant_id = ? and action = 'session.create'", tenant.id),
    ).toEqual([])
  })

  it('names a provider that is down or slow to answer sense, and says nothing of why', async () => {
    for (const [part, where] of [
      ['.well-known/openid-configuration', 'start'],
      ['token', 'back'],
      ['keys', 'back'],
    ] as const) {
      const browser = new Browser(isolateWith({ acme: oidc(makeIdp({ down: [part] }).url) }))
      const answer =
        where === 'start'
          ? await browser.get('/api/v1/auth/oauth/acme/authorize')
          : await browser.login('acme', person(someone()))
      expect([part, answer.status, answer.error.code]).toEqual([part, 502, 'upstream_failed'])
      expect(JSON.stringify(answer.error)).not.toContain('127.0.0.1')
    }
  })
})
