import { describe, expect, it } from 'vitest'
import { isAdministrative, ROLES, SCOPES, type Scope, scopesOf } from '../../src/domains/tenancy/scopes'
import { OPERATIONS } from '../contract/operations'
import { callJson, makePlatformAdmin, makeWorld, type World } from '../world'

// The table of roles in the contract, row by row: what a role holds, and that nobody is issued anything else.

const ALL = Object.keys(SCOPES) as Scope[]
const OF_TENANT = ALL.filter((scope) => !scope.startsWith('platform:'))
const sorted = (scopes: Iterable<string>) => [...scopes].sort()

/** What each role has beyond the one before it. */
const ROWS: Record<string, (scope: string) => boolean> = {
  viewer: (scope) => scope.endsWith(':read'),
  member: (scope) => /^(?:chats|files|interactions|tickets):write$/.test(scope),
  developer: (scope) =>
    /^(?:agents|alerts|calls|campaigns|webhooks|events|deliveries|service|api_keys|items|jobs|kb|tools|voices|workflows):write$/.test(
      scope,
    ) ||
    scope === 'webhooks:secret' ||
    /^(?:secrets|workflows):use$/.test(scope),
  admin: () => true,
}

describe('the table of roles', () => {
  const held = new Set<string>()
  for (const [role, adds] of Object.entries(ROWS)) {
    for (const scope of OF_TENANT.filter(adds)) held.add(scope)
    const expected = sorted(held)
    it(`${role}: ${expected.length} scopes`, () => {
      expect(sorted(scopesOf(role))).toEqual(expected)
    })
  }

  it('platform_admin: the platform’s alone', () => {
    expect(sorted(scopesOf('platform_admin'))).toEqual(ALL.filter((scope) => scope.startsWith('platform:')))
  })

  it('has every role there is, and nothing for any other', () => {
    expect([...Object.keys(ROWS), 'platform_admin']).toEqual([...ROLES])
    for (const role of ['', 'owner', 'Admin', 'constructor', '__proto__'])
      expect([role, sorted(scopesOf(role))]).toEqual([role, []])
  })

  it('gives a reader nothing that writes, and nobody but an admin what administers', () => {
    expect(scopesOf('viewer').filter((scope) => !scope.endsWith(':read'))).toEqual([])
    for (const role of ['viewer', 'member'] as const)
      expect(scopesOf(role).filter(isAdministrative)).toEqual([])
    // What a developer may administer is their own keys, and the secrets of endpoints.
    expect(sorted(scopesOf('developer').filter(isAdministrative))).toEqual([
      'api_keys:write',
      'webhooks:secret',
    ])
  })

  it('names scopes as resource:action, and no other is asked for by any route', () => {
    for (const scope of ALL) expect(scope).toMatch(/^[a-z_]+:(?:read|write|use|admin|secret|\*)$/)
    const asked = new Set(OPERATIONS.flatMap(({ scopes }) => scopes))
    expect([...asked].filter((scope) => !ALL.includes(scope as Scope))).toEqual([])
    // Each is checked somewhere: one that nothing asks for would promise what it does not keep.
    const beyondRoutes = ['chats:admin', 'files:admin', 'secrets:use', 'tickets:admin']
    expect(ALL.filter((scope) => !asked.has(scope) && !beyondRoutes.includes(scope))).toEqual([])
  })
})

describe('what is issued', () => {
  const issued = async (token: string) =>
    (await callJson<{ role: string; principal: { scopes: string[] } }>('GET', '/api/v1/auth/me', { token }))
      .data

  it('is what the role has, by token', async () => {
    const world = await makeWorld()
    for (const role of ['viewer', 'member', 'developer', 'admin'] as const satisfies (keyof World)[]) {
      const me = await issued(world[role].token)
      expect([me.role, sorted(me.principal.scopes)]).toEqual([role, sorted(scopesOf(role))])
    }
    const platform = await issued((await makePlatformAdmin()).token)
    expect(platform.principal.scopes).toEqual(['platform:*'])
  })

  it('is no more than the maker’s, by key, and less when the maker has less', async () => {
    const world = await makeWorld()
    const make = (token: string, body: object) =>
      callJson<{ key: string; scopes: string[] }>('POST', '/api/v1/auth/api-keys', {
        token,
        body: { name: 'x', ...body },
      })
    const beyond = await make(world.developer.token, { scopes: ['users:write'] })
    expect(beyond.error.code).toBe('insufficient_scope')
    const own = await make(world.developer.token, {})
    expect(sorted(own.data.scopes)).toEqual(
      sorted(scopesOf('developer').filter((scope) => !isAdministrative(scope))),
    )
    await callJson('PATCH', `/api/v1/users/${world.developer.user.id}`, {
      token: world.admin.token,
      body: { role: 'viewer' },
    })
    const me = await callJson<{ principal: { scopes: string[] } }>('GET', '/api/v1/auth/me', {
      key: own.data.key,
    })
    expect(sorted(me.data.principal.scopes)).toEqual(
      sorted(own.data.scopes.filter((scope) => (scopesOf('viewer') as readonly string[]).includes(scope))),
    )
  })
})
