import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { type Bindings, settingsOf } from '../../../src/env'
import { newId } from '../../../src/lib/ids'
import { expectError } from '../../http/expect-error'
import { makeWorld, type World } from '../../world'
import { Isolate } from '../isolates'
import { AUDIENCE, OwnIssuer, person, SHARED_SECRET, TestIssuer, trust } from './kit'

// The operator's issuers: TRUSTED_ISSUERS, and JWT_ISSUER with JWT_AUDIENCE.

const trusting = (issuers: object[], more: Record<string, unknown> = {}) =>
  new Isolate({ TRUSTED_ISSUERS: JSON.stringify(issuers), ...more } as never)

const entry = ({ iss, jwks_uri }: { iss: string; jwks_uri: string }, fields: object = {}) => ({
  ...{ iss, jwks_uri, aud: AUDIENCE, provision: true },
  ...fields,
})

type Me = { data: { id: string; tenant_id: string; role: string } }

const ask = (isolate: Isolate, token: string, headers: Record<string, string> = {}) =>
  isolate.ask('GET', '/api/v1/auth/me', { token, headers })
const me = async (isolate: Isolate, token: string) => {
  const answer = await ask(isolate, token)
  expect(answer.status).toBe(200)
  return ((await answer.json()) as Me).data
}

const of = (world: World, who = person()) => ({
  ...who,
  claims: { ...who.claims, tenant_id: world.tenant.id },
})

describe('an issuer that the operator trusts', () => {
  it('speaks for the tenant that its claim names, without a header', async () => {
    const issuer = new TestIssuer()
    const isolate = trusting([entry(issuer)])
    const [one, two] = [await makeWorld(), await makeWorld()]
    for (const world of [one, two]) {
      const token = await issuer.token(of(world))
      expect((await me(isolate, token)).tenant_id).toBe(world.tenant.id)
      expect((await ask(isolate, token, { 'X-Tenant-ID': world.tenant.id })).status).toBe(200)
      const other = world === one ? two : one
      await expectError(ask(isolate, token, { 'X-Tenant-ID': other.tenant.id }), 'tenant_mismatch')
    }
  })

  it('by whatever claim it is configured for, along a path too', async () => {
    const issuer = new TestIssuer()
    const world = await makeWorld()
    const who = person()
    for (const [tenant, claim] of [
      ['https://example.com/tenant', { 'https://example.com/tenant': world.tenant.id }],
      ['org.id', { org: { id: world.tenant.id.toUpperCase() } }],
    ] as const) {
      const isolate = trusting([entry(issuer, { claims: { tenant } })])
      const token = await issuer.token({ ...who, claims: { ...who.claims, ...claim } })
      expect((await me(isolate, token)).tenant_id).toBe(world.tenant.id)
    }
  })

  it('speaks for one tenant where it is tied to it, whatever its claims say', async () => {
    const issuer = new TestIssuer()
    const [mine, other] = [await makeWorld(), await makeWorld()]
    const isolate = trusting([entry(issuer, { tenant_id: mine.tenant.id })])
    expect((await me(isolate, await issuer.token(of(other)))).tenant_id).toBe(mine.tenant.id)
  })

  it('names no tenant by what is no id of one: 401, and nobody is made', async () => {
    const own = await OwnIssuer.make()
    const isolate = trusting([entry(own)])
    const world = await makeWorld()
    for (const tenant_id of [
      7,
      null,
      undefined,
      {},
      [world.tenant.id],
      true,
      '',
      'slug',
      "' or 1=1 --",
      newId(Date.now()),
    ])
      await expectError(ask(isolate, await own.signs({ ...own.says(), tenant_id })), 'invalid_token')
  })

  it('does not speak for the platform, for a suspended tenant or for a cancelled one', async () => {
    const issuer = new TestIssuer()
    const isolate = trusting([entry(issuer)])
    const platform = await makeWorld({ platform: true })
    await expectError(ask(isolate, await issuer.token(of(platform))), 'platform_only')
    for (const status of ['suspended', 'cancelled']) {
      const world = await makeWorld()
      await env.DB.prepare('update tenants set status = ? where id = ?').bind(status, world.tenant.id).run()
      await expectError(ask(isolate, await issuer.token(of(world))), `tenant_${status}` as 'tenant_suspended')
    }
  })

  it('speaks for no other tenant than the one that this service serves', async () => {
    const issuer = new TestIssuer()
    const [mine, other] = [await makeWorld(), await makeWorld()]
    const isolate = trusting([entry(issuer)], { SINGLE_TENANT_ID: mine.tenant.id })
    const who = person()
    await expectError(ask(isolate, await issuer.token(of(other, who))), 'tenant_mismatch')
    const { results } = await env.DB.prepare('select 1 from users where email = ?')
      .bind(who.claims.email)
      .all()
    expect(results).toEqual([])
    expect((await me(isolate, await issuer.token(of(mine)))).tenant_id).toBe(mine.tenant.id)
    // There a tenant's own issuer needs no header either.
    const theirs = new TestIssuer()
    await trust(mine, theirs)
    const token = await theirs.token(person())
    expect((await me(isolate, token)).tenant_id).toBe(mine.tenant.id)
    isolate.calls.length = 0
    await me(isolate, token)
    expect(isolate.calls.filter((call) => call.startsWith('KV'))).toEqual([])
  })

  it('is not the tenant’s issuer of the same name, and its subjects are others', async () => {
    const [trusted, theirs] = [await OwnIssuer.make(), await OwnIssuer.make()]
    const world = await makeWorld()
    // A tenant that configures the name of the operator's issuer with keys of its own gains nothing by it.
    await trust(world, { iss: trusted.iss, jwks_uri: theirs.jwks_uri })
    const isolate = trusting([entry(trusted)])
    const says = { ...trusted.says(), tenant_id: world.tenant.id }
    const headers = { 'X-Tenant-ID': world.tenant.id }
    await expectError(ask(isolate, await theirs.signs(says), headers), 'invalid_token')
    expect((await ask(isolate, await trusted.signs(says), headers)).status).toBe(200)
  })

  it('counts by a shared secret too', async () => {
    const issuer = new TestIssuer()
    const world = await makeWorld()
    const { jwks_uri: _, ...bare } = entry(issuer)
    const isolate = trusting([{ ...bare, secret: SHARED_SECRET }])
    expect((await me(isolate, await issuer.token({ ...of(world), alg: 'HS256' }))).tenant_id).toBe(
      world.tenant.id,
    )
    await expectError(ask(isolate, await issuer.token(of(world))), 'invalid_token')
  })

  it('is none for an isolate that is not configured so', async () => {
    const issuer = new TestIssuer()
    const world = await makeWorld()
    await expectError(ask(new Isolate(), await issuer.token(of(world))), 'invalid_token')
    expect(await issuer.watched()).toMatchObject({ jwks: 0, discovery: 0 })
  })
})

describe('JWT_ISSUER and JWT_AUDIENCE alone', () => {
  it('are one trusted issuer, whose keys are where its discovery document says', async () => {
    const issuer = new TestIssuer()
    const world = await makeWorld()
    const isolate = new Isolate({ JWT_ISSUER: issuer.iss, JWT_AUDIENCE: AUDIENCE } as never)
    const who = of(world)
    // They make no users: one is here by a verified address.
    await expectError(ask(isolate, await issuer.token(who)), 'user_unknown')
    await env.DB.prepare('update users set email = ?, email_verified_at = ? where id = ?')
      .bind(who.claims.email, new Date().toISOString(), world.member.user.id)
      .run()
    for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA'])
      expect((await me(isolate, await issuer.token({ ...who, alg }))).id).toBe(world.member.user.id)
    expect(await issuer.watched()).toMatchObject({ jwks: 1, discovery: 1 })
    await expectError(ask(isolate, await issuer.token({ ...who, aud: 'else' })), 'invalid_token')
  })
})

describe('the settings', () => {
  const parse = (settings: Record<string, string>) =>
    settingsOf({ ...env, ...settings } as unknown as Bindings)
  const causeOf = (settings: Record<string, string>): string => {
    try {
      parse(settings)
    } catch (error) {
      return String((error as Error).cause)
    }
    return 'fine'
  }
  const good = entry({ iss: 'https://login.example.com/', jwks_uri: 'https://login.example.com/jwks' })
  const trusted = (...issuers: unknown[]) => causeOf({ TRUSTED_ISSUERS: JSON.stringify(issuers) })

  it('that are right give the issuers in their order', () => {
    const settings = parse({
      TRUSTED_ISSUERS: JSON.stringify([good]),
      JWT_ISSUER: 'https://other.example.com',
      JWT_AUDIENCE: 'x',
    })
    expect(settings.trusted_issuers.map(({ iss, aud, algs }) => ({ iss, aud, algs }))).toEqual([
      { iss: good.iss, aud: AUDIENCE, algs: ['RS256'] },
      { iss: 'https://other.example.com', aud: 'x', algs: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
    ])
    expect(parse({}).trusted_issuers).toEqual([])
  })

  it('that are wrong are named, and their values are not', () => {
    expect(causeOf({ TRUSTED_ISSUERS: 'hunter2' })).toBe('TRUSTED_ISSUERS: must be a JSON array')
    expect(causeOf({ TRUSTED_ISSUERS: '{}' })).toMatch(/^TRUSTED_ISSUERS: /)
    expect(trusted({ ...good, jwks_uri: undefined })).toMatch(/^TRUSTED_ISSUERS\.0\.jwks_uri: is required/)
    expect(trusted({ ...good, secret: 'short' })).toMatch(
      /^TRUSTED_ISSUERS\.0\.secret: must have at least 32/,
    )
    expect(trusted({ ...good, secret: SHARED_SECRET })).toMatch(
      /^TRUSTED_ISSUERS\.0\.secret: must be left out/,
    )
    expect(trusted({ ...good, algs: ['HS256'] })).toMatch(/^TRUSTED_ISSUERS\.0\.algs: must not have HS256/)
    expect(trusted({ ...good, algs: ['none'] })).toMatch(/^TRUSTED_ISSUERS\.0\.algs\.0: /)
    expect(trusted({ ...good, default_role: 'platform_admin' })).toMatch(
      /^TRUSTED_ISSUERS\.0\.default_role: /,
    )
    expect(trusted({ ...good, audience: 'x' })).toMatch(/^TRUSTED_ISSUERS\.0: /)
    expect(trusted(good, good)).toBe('TRUSTED_ISSUERS.1: is there twice')
    const bySecret = { ...good, aud: 'b', jwks_uri: undefined, secret: SHARED_SECRET, algs: undefined }
    for (const both of [
      [good, bySecret],
      [bySecret, good],
    ])
      expect(trusted(...both)).toBe('TRUSTED_ISSUERS.1: must not have both a secret and keys of its own')
    expect(trusted(bySecret, { ...bySecret, aud: 'c' })).toBe('fine')
    expect(trusted({ ...good, iss: 'http://localhost:8787' })).toBe(
      'TRUSTED_ISSUERS.0: must not be this service itself',
    )
    expect(causeOf({ JWT_ISSUER: 'https://a.example' })).toBe(
      'JWT_AUDIENCE: JWT_ISSUER and JWT_AUDIENCE stand together',
    )
    expect(causeOf({ JWT_AUDIENCE: 'x' })).toBe('JWT_AUDIENCE: JWT_ISSUER and JWT_AUDIENCE stand together')
    for (const secret of ['hunter2', SHARED_SECRET])
      expect(trusted({ ...good, secret, algs: ['nope'] })).not.toContain(secret)
  })

  it('take http in development only', () => {
    const plain = { ...good, iss: 'http://login.example.com', jwks_uri: 'http://login.example.com/jwks' }
    expect(trusted(plain)).toBe('fine')
    const staging = { ENVIRONMENT: 'staging', TRUSTED_ISSUERS: JSON.stringify([plain]) }
    expect(causeOf(staging)).toBe('TRUSTED_ISSUERS.0: must be https')
  })
})
