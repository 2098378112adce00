import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { expectError } from '../../http/expect-error'
import { call, callJson, makeWorld, type Person, type World } from '../../world'
import { Isolate } from '../isolates'
import { changeUser } from '../kit'
import { AUDIENCE, meData, meIn, OwnIssuer, person, SHARED_SECRET, TestIssuer, trust } from './kit'

let world: World
let issuer: TestIssuer
let issuerId: string

beforeAll(async () => {
  world = await makeWorld({ plan: 'enterprise' })
  issuer = new TestIssuer()
  issuerId = (await trust(world, issuer)).id
})

const usersWith = (email: string) =>
  env.DB.prepare('select * from users where email = ?').bind(email).all<Record<string, unknown>>()
const audited = async (action: string, id: string) =>
  (
    await env.DB.prepare('select * from audit_log where action = ? and resource_id = ?')
      .bind(action, id)
      .all<{ actor_id: string; after: string }>()
  ).results

/** Sets the address of somebody in a world. */
const addressOf = (one: Person, email: string, verified: boolean) =>
  env.DB.prepare('update users set email = ?, email_verified_at = ? where id = ?')
    .bind(email, verified ? new Date().toISOString() : null, one.user.id)
    .run()

describe('a token of a tenant’s own issuer', () => {
  for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA'])
    it(`counts, signed by ${alg}`, async () => {
      const who = person()
      const token = await issuer.token({ ...who, alg })
      expect((await meData(world, token)).email).toBe(who.claims.email)
    })

  it('counts, signed by HS256 with a secret that both know', async () => {
    const other = new TestIssuer()
    await trust(world, other, { jwks_uri: null, secret: SHARED_SECRET, algs: ['HS256'] })
    expect((await meIn(world, await other.token({ ...person(), alg: 'HS256' }))).status).toBe(200)
    expect(await other.watched()).toMatchObject({ jwks: 0, discovery: 0 })
    // An algorithm that this issuer has keys for, but is not configured for.
    await expectError(meIn(world, await other.token({ ...person(), alg: 'RS256' })), 'invalid_token')
  })

  it('makes the person a user on first sight, once', async () => {
    const who = person()
    const token = await issuer.token(who)
    const answers = await Promise.all(Array.from({ length: 8 }, () => meIn(world, token)))
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200))
    const again = await meData(world, await issuer.token(who))
    const { results } = await usersWith(who.claims.email)
    expect(results).toEqual([
      expect.objectContaining({
        id: again.id,
        tenant_id: world.tenant.id,
        role: 'member',
        full_name: who.claims.name,
        password_hash: null,
        // Not here: the tenant's admins say what their issuer vouches for.
        email_verified_at: null,
      }),
    ])
    expect(await audited('user.provision', again.id)).toEqual([
      expect.objectContaining({ actor_id: `issuer:${issuerId}`, after: expect.stringContaining(who.sub) }),
    ])
    const events = await env.DB.prepare(
      "select data from events where tenant_id = ? and type = 'user.created'",
    )
      .bind(world.tenant.id)
      .all<{ data: string }>()
    expect(events.results.filter(({ data }) => data.includes(again.id))).toHaveLength(1)
  })

  it('makes nobody a user where the issuer may not', async () => {
    const other = new TestIssuer()
    await trust(world, other, { provision: false })
    const who = person()
    await expectError(meIn(world, await other.token(who)), 'user_unknown')
    expect((await usersWith(who.claims.email)).results).toEqual([])
  })

  it('nor beyond the tenant’s number of users', async () => {
    const full = await makeWorld({ settings: { max_users: 4 } })
    await trust(full, issuer)
    await expectError(meIn(full, await issuer.token(person())), 'user_limit_reached')
  })

  it('is its user’s everywhere: what he makes is his', async () => {
    const token = await issuer.token(person())
    const me = await meData(world, token)
    const headers = { 'X-Tenant-ID': world.tenant.id }
    const made = await callJson<{ id: string }>('POST', '/api/v1/interactions', {
      token,
      headers,
      body: { text: 'hi' },
    })
    expect(made.status).toBe(201)
    expect(me.principal).toMatchObject({ kind: 'user', id: me.id })
    await expectError(
      call('POST', '/api/v1/agents', { token, headers, body: { name: 'x', kind: 'echo' } }),
      'insufficient_scope',
    )
    // It is no session of ours, so there is none to end.
    await expectError(call('POST', '/api/v1/auth/logout', { token, headers }), 'user_required')
  })
})

describe('a person who is here already', () => {
  it('is found by an address that is verified there and here', async () => {
    const mine = await makeWorld()
    await trust(mine, issuer, { provision: false })
    const who = person()
    await addressOf(mine.developer, who.claims.email, true)
    const token = await issuer.token(who)
    const me = await meData(mine, token)
    expect([me.id, me.role]).toEqual([mine.developer.user.id, 'developer'])
    expect(await audited('user.link_issuer', me.id)).toHaveLength(1)
    // From now on by the subject: another address changes nothing.
    const moved = await issuer.token({
      sub: who.sub,
      claims: { email: 'else@example.com', email_verified: true },
    })
    expect((await meData(mine, moved)).id).toBe(me.id)
  })

  it('is not, where either of them has not verified it', async () => {
    const mine = await makeWorld()
    await trust(mine, issuer)
    for (const [there, here] of [
      [false, true],
      [true, false],
      [undefined, true],
      ['true', true],
    ] as const) {
      const who = person()
      await addressOf(mine.developer, who.claims.email, here)
      await env.DB.prepare("update users set password_hash = 'x' where id = ?")
        .bind(mine.developer.user.id)
        .run()
      const token = await issuer.token({ ...who, claims: { ...who.claims, email_verified: there } })
      await expectError(meIn(mine, token), 'user_unknown')
      expect((await usersWith(who.claims.email)).results).toHaveLength(1)
    }
    const links = await env.DB.prepare('select 1 from issuer_users where tenant_id = ?')
      .bind(mine.tenant.id)
      .all()
    expect(links.results).toEqual([])
  })

  it('an address without a word on its being verified makes no user, unless the issuer is trusted with it', async () => {
    const who = person()
    const claims = { email: who.claims.email }
    await expectError(meIn(world, await issuer.token({ sub: who.sub, claims })), 'user_unknown')
    const other = new TestIssuer()
    await trust(world, other, { trusts_email: true })
    expect((await meData(world, await other.token({ sub: who.sub, claims }))).email).toBe(claims.email)
  })

  it('no address, or one that is none, makes no user', async () => {
    for (const email of [undefined, 7, 'not an address', ['a@example.com'], ''])
      await expectError(
        meIn(world, await issuer.token({ sub: 'nobody', claims: { email, email_verified: true } })),
        'user_unknown',
      )
  })

  it('is refused while suspended, and with another role has that role, at once', async () => {
    const token = await issuer.token(person())
    const { id } = await meData(world, token)
    const row = await env.DB.prepare('select * from users where id = ?')
      .bind(id)
      .first<World['admin']['user']>()
    if (!row) throw new Error('no user')
    const promoted = await changeUser(row, { role: 'developer' })
    expect((await meData(world, token)).role).toBe('developer')
    const headers = { 'X-Tenant-ID': world.tenant.id }
    expect(
      (await call('POST', '/api/v1/agents', { token, headers, body: { name: 'x', kind: 'echo' } })).status,
    ).toBe(201)
    const gone = await changeUser(promoted, { status: 'suspended' })
    await expectError(meIn(world, token), 'user_suspended')
    await expectError(meIn(world, await issuer.token({ sub: 'x', claims: {} })), 'user_unknown')
    await changeUser(gone, { status: 'active' })
    expect((await meIn(world, token)).status).toBe(200)
  })
})

describe('roles', () => {
  const roles = { editors: 'developer', bosses: 'admin', guests: 'viewer' }

  it('are those that the claim’s words stand for, the strongest of them', async () => {
    const mine = await makeWorld()
    await trust(mine, issuer, { claims: { roles: 'realm_access.roles' }, roles, default_role: 'viewer' })
    for (const [words, role] of [
      [['editors'], 'developer'],
      [['guests', 'editors', 'bosses'], 'admin'],
      ['guests', 'viewer'],
      [['unknown'], 'viewer'],
      [[], 'viewer'],
      [undefined, 'viewer'],
      [['platform_admin', 'constructor', '__proto__', 7, null, {}], 'viewer'],
    ] as const) {
      const who = person()
      const token = await issuer.token({ ...who, claims: { ...who.claims, realm_access: { roles: words } } })
      const me = await meData(mine, token)
      expect([words, me.role]).toEqual([words, role])
      await env.DB.prepare('delete from users where id = ?').bind(me.id).run()
    }
  })

  it('follow the newest token, and an older one changes nothing back', async () => {
    const mine = await makeWorld()
    const own = await OwnIssuer.make()
    await trust(mine, own, { claims: { roles: 'groups' }, roles, default_role: 'viewer' })
    const who = person()
    const at = (iat: number, ...groups: string[]) => own.signs({ ...own.says(who), iat, groups })
    const now = Math.floor(Date.now() / 1000)
    const first = await at(now - 50, 'editors')
    expect((await meData(mine, first)).role).toBe('developer')
    const newer = await at(now - 40, 'guests')
    const me = await meData(mine, newer)
    expect(me.role).toBe('viewer')
    // The first one is remembered here, and has the user's role all the same.
    expect((await meData(mine, first)).role).toBe('viewer')
    expect((await meData(mine, await at(now - 45, 'bosses'))).role).toBe('viewer')
    expect((await meData(mine, await at(now - 30, 'bosses'))).role).toBe('admin')
    expect(await audited('user.update', me.id)).toHaveLength(2)
  })

  it('leave the tenant its last admin', async () => {
    const mine = await makeWorld()
    const own = await OwnIssuer.make()
    await trust(mine, own, { claims: { roles: 'groups' }, roles, default_role: 'viewer' })
    const who = person()
    await addressOf(mine.admin, who.claims.email, true)
    const token = await own.signs({ ...own.says(who), groups: ['guests'] })
    expect(await meData(mine, token)).toMatchObject({ id: mine.admin.user.id, role: 'admin' })
  })
})

describe('which tenant a token speaks for', () => {
  it('is the one whose issuer it is, and the request must name it', async () => {
    const token = await issuer.token(person())
    await expectError(call('GET', '/api/v1/auth/me', { token }), 'invalid_token')
    expect((await meIn(world, token)).status).toBe(200)
    // Nor when it is known here.
    await expectError(call('GET', '/api/v1/auth/me', { token }), 'invalid_token')
    const other = await makeWorld()
    await expectError(meIn(other, token), 'invalid_token')
    await expectError(
      call('GET', '/api/v1/auth/me', { token, headers: { 'X-Tenant-ID': 'not-a-uuid' } }),
      'invalid_token',
    )
    await expectError(meIn({ tenant: { id: crypto.randomUUID() } } as World, token), 'invalid_token')
  })

  it('is not what its claims say', async () => {
    const other = await makeWorld()
    const who = person()
    const claims = {
      ...who.claims,
      tenant_id: other.tenant.id,
      client_id: other.tenant.id,
      org_id: other.tenant.id,
    }
    const me = await meData(world, await issuer.token({ sub: other.admin.user.id, claims }))
    expect(me.tenant_id).toBe(world.tenant.id)
    expect(me.id).not.toBe(other.admin.user.id)
  })

  it('is each of two that trust the same issuer, with a user in each', async () => {
    const other = await makeWorld()
    await trust(other, issuer, { default_role: 'viewer' })
    const token = await issuer.token(person())
    const [here, there] = [await meData(world, token), await meData(other, token)]
    expect([here.tenant_id, there.tenant_id]).toEqual([world.tenant.id, other.tenant.id])
    expect([here.role, there.role]).toEqual(['member', 'viewer'])
    expect(here.id).not.toBe(there.id)
    // Both are remembered, and neither for the other.
    expect((await meData(world, token)).id).toBe(here.id)
    expect((await meData(other, token)).id).toBe(there.id)
  })

  it('a tenant that is suspended is refused with 403, known or not', async () => {
    const mine = await makeWorld()
    await trust(mine, issuer)
    const known = await issuer.token(person())
    await meData(mine, known)
    const { makePlatformAdmin } = await import('../../world')
    const { token } = await makePlatformAdmin()
    await call('PATCH', `/api/platform/tenants/${mine.tenant.id}`, { token, body: { status: 'suspended' } })
    await expectError(meIn(mine, known), 'tenant_suspended')
    const who = person()
    await expectError(meIn(mine, await issuer.token(who)), 'tenant_suspended')
    expect((await usersWith(who.claims.email)).results).toEqual([])
  })

  it('never gives the platform’s rights', async () => {
    const platform = await makeWorld({ platform: true })
    await trust(platform, issuer)
    await expectError(meIn(platform, await issuer.token(person())), 'platform_only')
    const mine = await makeWorld()
    await trust(mine, issuer, { claims: { roles: 'role' }, roles: {} })
    const who = person()
    const token = await issuer.token({
      ...who,
      claims: { ...who.claims, role: 'platform_admin', scopes: ['platform:*'], scope: 'platform:*' },
    })
    expect((await meData(mine, token)).role).toBe('member')
    await expectError(
      call('GET', '/api/platform/tenants', { token, headers: { 'X-Tenant-ID': mine.tenant.id } }),
      'platform_only',
    )
    // Whoever becomes one later does not take it along.
    const { id } = await meData(mine, token)
    const row = await env.DB.prepare('select * from users where id = ?')
      .bind(id)
      .first<World['admin']['user']>()
    if (!row) throw new Error('no user')
    await changeUser(row, { role: 'platform_admin' })
    await expectError(meIn(mine, token), 'platform_only')
  })
})

describe('in a warm isolate', () => {
  it('a known token makes no call of a binding', async () => {
    const isolate = new Isolate()
    const fresh = await makeWorld()
    await trust(fresh, issuer)
    const token = await issuer.token(person())
    const headers = { 'X-Tenant-ID': fresh.tenant.id }
    const knock = () => isolate.ask('GET', '/api/v1/webhooks/event-types?built_in=true', { token, headers })
    // The Meter lends more to who asks for more.
    for (let i = 0; i < 20; i++) expect((await knock()).status).toBe(200)
    isolate.calls.length = 0
    const fetched = await issuer.watched()
    for (let i = 0; i < 10; i++) expect((await knock()).status).toBe(200)
    expect(isolate.calls).toEqual([])
    expect(await issuer.watched()).toEqual(fetched)
  })

  it('a forged one makes no call but to learn whose issuer it names', async () => {
    const isolate = new Isolate()
    const token = await issuer.token(person())
    const headers = { 'X-Tenant-ID': world.tenant.id }
    const ask = (forged: string) =>
      isolate.ask('GET', '/api/v1/webhooks/event-types?built_in=true', { token: forged, headers })
    expect((await ask(token)).status).toBe(200)
    isolate.calls.length = 0
    const [head, payload, signature = ''] = token.split('.')
    for (const first of 'ABCDEFGH') {
      const forged = `${head}.${payload}.${first === signature[0] ? 'Z' : first}${signature.slice(1)}`
      expect((await ask(forged)).status).toBe(401)
    }
    expect(isolate.calls.filter((call) => call.startsWith('DB'))).toEqual([])
    expect(isolate.calls.filter((call) => call.startsWith('KV'))).toEqual([])
  })

  it('a token stops with its time', async () => {
    const own = await OwnIssuer.make()
    await trust(world, own)
    const token = await own.signs({ ...own.says(), exp: Math.floor(Date.now() / 1000) - 28 })
    expect((await meIn(world, token)).status).toBe(200)
    await scheduler.wait(2_500)
    await expectError(meIn(world, token), 'token_expired')
  })

  it('is for the audience that was configured', async () => {
    const token = await issuer.token({ ...person(), aud: `${AUDIENCE}/other` })
    await expectError(meIn(world, token), 'invalid_token')
  })
})
