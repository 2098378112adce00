import { beforeEach, describe, expect, it } from 'vitest'
import { isPartOf, networkFrom } from '../../src/lib/ip-address'
import { call, callJson, makeWorld, type World } from '../world'

// A key that may make keys makes none that outlives it, is used from elsewhere, or is counted apart.

type Key = {
  id: string
  key: string
  expires_at: string | null
  allowed_addresses: string[] | null
  limits: object | null
}

let world: World
beforeEach(async () => {
  world = await makeWorld()
})

const keys = '/api/v1/auth/api-keys'
const scopes = ['api_keys:write', 'webhooks:read']
const HERE = '203.0.113.9'
const from = { 'CF-Connecting-IP': HERE }
const ask = (by: { token: string } | { key: string }, body: object, path = '') =>
  callJson<Key>('POST', `${keys}${path}`, { ...by, headers: from, body })
const made = async (fields: object): Promise<Key> => {
  const answer = await ask({ token: world.admin.token }, { name: 'maker', scopes, ...fields })
  expect(answer.status).toBe(201)
  return answer.data
}
const used = async (key: string) =>
  (await call('GET', '/api/v1/webhooks/event-types?built_in=true', { key, headers: from })).status
const inDays = (days: number) => new Date(Date.now() + days * 86_400_000).toISOString()

describe('a key that a key makes', () => {
  it('ends no later', async () => {
    const { id, key, expires_at } = await made({ expires_at: inDays(2) })
    const inherited = await ask({ key }, { name: 'a' })
    expect([inherited.status, inherited.data.expires_at]).toEqual([201, expires_at])
    expect((await ask({ key }, { name: 'a', expires_at: inDays(1) })).status).toBe(201)
    const later = await ask({ key }, { name: 'a', expires_at: inDays(3) })
    expect([later.status, Object.keys(later.error.details.fields ?? {})]).toEqual([422, ['expires_at']])
    const rotated = await ask({ key }, { expires_at: inDays(3) }, `/${id}/rotate`)
    expect([rotated.status, Object.keys(rotated.error.details.fields ?? {})]).toEqual([422, ['expires_at']])
    // Its owner may.
    const byOwner = await ask({ token: world.admin.token }, { expires_at: inDays(3) }, `/${id}/rotate`)
    expect(byOwner.status).toBe(201)
  })

  it('is used from nowhere else', async () => {
    const { key } = await made({ allowed_addresses: ['203.0.113.0/24', '2001:db8::/32'] })
    const inherited = await ask({ key }, { name: 'a' })
    expect(inherited.data.allowed_addresses).toEqual(['203.0.113.0/24', '2001:db8::/32'])
    const narrower = await ask({ key }, { name: 'a', allowed_addresses: [HERE, '2001:db8:1::/48'] })
    expect([narrower.status, narrower.data.allowed_addresses]).toEqual([201, [HERE, '2001:db8:1::/48']])
    for (const wider of [['203.0.112.0/23'], [HERE, '198.51.100.1'], ['0.0.0.0/0'], ['::/0']]) {
      const refused = await ask({ key }, { name: 'a', allowed_addresses: wider })
      expect([wider, refused.status]).toEqual([wider, 422])
      expect(Object.keys(refused.error.details.fields ?? {})).toEqual(['allowed_addresses'])
    }
    // Nor does another key of the same maker become one that is.
    const open = await made({ scopes: ['webhooks:read'] })
    const rotated = await ask({ key }, {}, `/${open.id}/rotate`)
    expect(rotated.data.allowed_addresses).toEqual(['203.0.113.0/24', '2001:db8::/32'])
  })

  it('is counted with it', async () => {
    const { key } = await made({ limits: { total: 4 } })
    const first = await ask({ key }, { name: 'a' })
    expect([first.status, first.data.limits]).toEqual([201, { total: 4 }])
    for (const limits of [{ total: 5 }, { total: 3 }, { per_minute: 1 }]) {
      const refused = await ask({ token: world.admin.token }, { name: 'b', scopes, limits: { total: 9 } })
      const other = await ask({ key: refused.data.key }, { name: 'a', limits })
      expect([other.status, Object.keys(other.error.details.fields ?? {})]).toEqual([422, ['limits']])
    }
    const statuses = []
    for (const one of [key, first.data.key, key, first.data.key, first.data.key])
      statuses.push(await used(one))
    expect(statuses).toEqual([200, 200, 200, 200, 429])
    expect(await used(key)).toBe(429)
  })

  it('has bounds of its own where that one has none', async () => {
    const { key } = await made({})
    const fields = { expires_at: inDays(1), allowed_addresses: ['10.0.0.0/8'], limits: { per_day: 7 } }
    const { status, data } = await ask({ key }, { name: 'a', ...fields })
    expect([status, data]).toMatchObject([201, fields])
  })
})

describe('a block of addresses', () => {
  it.each([
    ['10.0.0.0/8', '10.1.0.0/16', true],
    ['10.0.0.0/8', '10.0.0.0/8', true],
    ['10.1.0.0/16', '10.0.0.0/8', false],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['::/0', '10.0.0.1', true],
    ['0.0.0.0/0', '::/0', false],
    ['2001:db8::/33', '2001:db8:8000::/33', false],
    ['2001:db8::/33', '2001:db8:7fff::1', true],
  ])('%s holds %s: %s', (block, part, holds) => {
    const [outer, inner] = [networkFrom(block), networkFrom(part)]
    expect(outer && inner && isPartOf(outer, inner)).toBe(holds)
  })
})
