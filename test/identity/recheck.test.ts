import { env } from 'cloudflare:workers'
import { beforeEach, describe, expect, it } from 'vitest'
import { type Credential, scopesNow } from '../../src/domains/identity/recheck'
import { scopesOf } from '../../src/domains/tenancy/scopes'
import { callJson, makePlatformAdmin, makeWorld, type Person, type World } from '../world'

// What connections that stay open ask: whether the credential they were opened with still counts, and for what.

let world: World
beforeEach(async () => {
  world = await makeWorld()
  const { data } = await callJson<{ id: string }>('POST', '/api/v1/auth/issuers', {
    token: world.admin.token,
    body: { iss: 'https://login.example.com', aud: 'api', jwks_uri: 'https://login.example.com/jwks' },
  })
  for (const { user } of [world.member, world.viewer])
    await run(
      "insert into issuer_users (tenant_id, issuer, subject, user_id, role_at, created_at) values (?, ?, ?, ?, 0, '')",
      ...[world.tenant.id, data.id, user.id, user.id],
    )
})

const now = (credentials: Credential[], at = Date.now(), of = world) =>
  scopesNow(env, of.tenant.id, credentials, at)
const run = (sql: string, ...params: unknown[]) =>
  env.DB.prepare(sql)
    .bind(...params)
    .run()

const bySession = ({ user, session_id }: Person): Credential => ({
  ...{ key: session_id, kind: 'user', id: user.id, user_id: user.id, session_id, role: user.role },
})
/** By a token of another issuer. */
const byUser = ({ user }: Person): Credential => ({
  ...{ key: user.id, kind: 'user', id: user.id, user_id: user.id, session_id: null, role: user.role },
})
async function byKey(scopes?: string[]): Promise<Credential> {
  const { data } = await callJson<{ id: string }>('POST', '/api/v1/auth/api-keys', {
    token: world.admin.token,
    body: { name: 'x', ...(scopes ? { scopes } : {}) },
  })
  return {
    key: data.id,
    kind: 'api_key',
    id: data.id,
    user_id: world.admin.user.id,
    session_id: null,
    role: 'admin',
  }
}

describe('a credential that still counts', () => {
  it('has the scopes that it has now: of the role, or of the key within its maker’s role', async () => {
    const key = await byKey(['chats:read', 'chats:write'])
    const found = await now([bySession(world.member), byUser(world.viewer), key])
    expect(found.get(world.member.session_id)).toEqual(scopesOf('member'))
    expect(found.get(world.viewer.user.id)).toEqual(scopesOf('viewer'))
    expect(found.get(key.key)).toEqual(['chats:read', 'chats:write'])
    await run("update users set role = 'viewer' where id = ?", world.admin.user.id)
    expect((await now([key])).get(key.key)).toEqual(['chats:read'])
  })

  it('may be one of hundreds', async () => {
    const many = Array.from({ length: 250 }, (_, i) => ({ ...bySession(world.member), key: `c${i}` }))
    const found = await now([...many, await byKey()])
    expect(found.size).toBe(251)
  })

  it('may be a key without a maker', async () => {
    const { token } = await makePlatformAdmin()
    const { data } = await callJson<{ id: string }>('POST', '/api/platform/api-keys', {
      token,
      body: { tenant_id: world.tenant.id, name: 'x', scopes: ['chats:admin'] },
    })
    const credential: Credential = {
      key: 'k',
      kind: 'api_key',
      id: data.id,
      user_id: null,
      session_id: null,
      role: 'admin',
    }
    expect((await now([credential])).get('k')).toEqual(['chats:admin'])
  })
})

describe('a credential that no longer counts', () => {
  const CHANGES: [string, string, boolean][] = [
    ['a session that ended', 'update sessions set ended_at = created_at where tenant_id = ?', true],
    [
      'a session that ran out',
      "update sessions set expires_at = '2020-01-01T00:00:00.000Z' where tenant_id = ?",
      true,
    ],
    ['another role', "update users set role = 'developer' where tenant_id = ?", false],
    ['a user who was suspended', "update users set status = 'suspended' where tenant_id = ?", false],
    ['a user who was removed', 'delete from users where tenant_id = ?', false],
    ['a tenant that was suspended', "update tenants set status = 'suspended' where id = ?", false],
    ['a tenant that was cancelled', "update tenants set status = 'cancelled' where id = ?", false],
  ]
  for (const [name, sql, ofSessionsOnly] of CHANGES)
    it(`is missing: ${name}`, async () => {
      const credentials = [bySession(world.member), byUser(world.member)]
      expect((await now(credentials)).size).toBe(2)
      await run(sql, world.tenant.id)
      expect([...(await now(credentials)).keys()]).toEqual(ofSessionsOnly ? [world.member.user.id] : [])
    })

  for (const [name, sql] of [
    ['removed', 'delete from issuers where tenant_id = ?'],
    ['switched off', 'update issuers set is_active = 0 where tenant_id = ?'],
    ['never that of the user', 'delete from issuer_users where tenant_id = ?'],
  ] as const)
    it(`is missing: a user whose issuer was ${name}`, async () => {
      const credentials = [bySession(world.member), byUser(world.member)]
      expect((await now(credentials)).size).toBe(2)
      await run(sql, world.tenant.id)
      expect([...(await now(credentials)).keys()]).toEqual([world.member.session_id])
    })

  it('but not while the operator trusts the issuer', async () => {
    await run(
      "update issuer_users set issuer = 'trusted:https://login.example.com' where tenant_id = ?",
      world.tenant.id,
    )
    await run('delete from issuers where tenant_id = ?', world.tenant.id)
    expect((await now([byUser(world.member)])).size).toBe(1)
  })

  it('is missing: a key that was revoked, has expired, or whose maker is suspended', async () => {
    const revoked = await byKey()
    await run('update api_keys set revoked_at = created_at where id = ?', revoked.id)
    const expired = await byKey()
    await run(
      'update api_keys set expires_at = ? where id = ?',
      new Date(Date.now() + 60_000).toISOString(),
      expired.id,
    )
    expect([...(await now([revoked, expired])).keys()]).toEqual([expired.key])
    expect((await now([revoked, expired], Date.now() + 61_000)).size).toBe(0)
    await run("update users set status = 'suspended' where id = ?", world.admin.user.id)
    expect((await now([expired])).size).toBe(0)
  })

  it('is missing: one of another tenant, or of another user’s session', async () => {
    const other = await makeWorld()
    expect((await now([bySession(other.member), byUser(other.member)])).size).toBe(0)
    expect((await now([await byKey()], Date.now(), other)).size).toBe(0)
    expect((await now([{ ...bySession(world.member), id: world.admin.user.id, role: 'admin' }])).size).toBe(0)
  })
})
