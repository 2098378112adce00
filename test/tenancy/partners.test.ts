import { env } from 'cloudflare:workers'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { onDeparture } from '../../src/data/departures'
import { scopesNow } from '../../src/domains/identity/recheck'
import { PARTNER_ROLES } from '../../src/domains/tenancy/partners/table'
import { scopesOf } from '../../src/domains/tenancy/scopes'
import type { Bindings } from '../../src/env'
import { expectError } from '../http/expect-error'
import { Isolate } from '../identity/isolates'
import { eventually } from '../webhooks/receiver'
import {
  call,
  callJson,
  makePerson,
  makePlatformAdmin,
  makeWorld,
  type Person,
  renew,
  type World,
} from '../world'

// Partners: who acts for them, in which tenants, as what; and when that ends.

let platform: Person
/** Where the partner's user logs in. */
let home: World
let customer: World
let stranger: World
beforeAll(async () => {
  platform = await makePlatformAdmin()
  home = await makeWorld()
  stranger = await makeWorld()
})

type Partner = { id: string; name: string; status: string }
const ask = <T = Partner>(method: string, path: string, body?: object, headers = {}) =>
  callJson<T>(method, `/api/v1/partners${path}`, {
    token: platform.token,
    headers,
    ...(body ? { body } : {}),
  })
const makePartner = async () => (await ask('POST', '', { name: 'Integrators' })).data

/** Has the partner act in the customer's tenant as that; its user's access tokens of before end with it. */
async function grant(role: string) {
  await ask('PUT', `/${partner.id}/tenants/${customer.tenant.id}`, { role })
  await renew(person)
}

/** A user of the home tenant who acts for a new partner, which has one tenant. */
let partner: Partner
let person: Person
beforeEach(async () => {
  customer = await makeWorld()
  partner = await makePartner()
  person = await makePerson(home.tenant, 'member')
  await ask('PUT', `/${partner.id}/tenants/${customer.tenant.id}`, { role: 'developer' })
  await ask('PUT', `/${partner.id}/users/${person.user.id}`)
  await renew(person)
})

afterEach(() => {
  vi.useRealTimers()
})

const inCustomer = () => ({ 'X-Active-Tenant-Id': customer.tenant.id })
const act = <T = Record<string, unknown>>(
  method: string,
  path: string,
  body?: object,
  token = person.token,
) => callJson<T>(method, path, { token, headers: inCustomer(), ...(body ? { body } : {}) })

describe('partners', () => {
  it('are made, read, listed, changed and deleted by the platform', async () => {
    const made = await ask('POST', '', { name: 'Made' })
    expect([made.status, made.headers.get('Location')]).toEqual([201, `/api/v1/partners/${made.data.id}`])
    expect(made.data).toMatchObject({ name: 'Made', status: 'active' })
    const one = `/${made.data.id}`
    expect((await ask('GET', one)).data).toEqual(made.data)
    expect((await ask<Partner[]>('GET', '?limit=1')).data).toEqual([made.data])
    expect((await ask('PATCH', one, { name: 'Other' })).data).toMatchObject({ name: 'Other' })
    expect((await ask('PATCH', one, { name: 'Late' }, { 'If-Match': '"v1"' })).error.code).toBe(
      'precondition_failed',
    )
    await ask('PATCH', one, { status: 'suspended' })
    expect((await ask<Partner[]>('GET', '?status=suspended&limit=1')).data).toMatchObject([
      { id: made.data.id, name: 'Other' },
    ])
    expect((await ask('DELETE', one)).status).toBe(204)
    for (const [method, body] of [['GET'], ['PATCH', { name: 'x' }], ['DELETE']] as const)
      expect((await ask(method, one, body)).error.code).toBe('not_found')
  })

  it('show their tenants and users, page by page', async () => {
    const more = await makeWorld()
    await ask('PUT', `/${partner.id}/tenants/${more.tenant.id}`, { role: 'viewer' })
    await renew(person)
    const first = await ask<{ tenant_id: string; role: string }[]>('GET', `/${partner.id}/tenants?limit=1`)
    const second = await ask<{ tenant_id: string; role: string }[]>(
      'GET',
      `/${partner.id}/tenants?limit=1&cursor=${first.meta.next_cursor}`,
    )
    expect([...first.data, ...second.data]).toMatchObject([
      { tenant_id: customer.tenant.id, slug: customer.tenant.slug, role: 'developer' },
      { tenant_id: more.tenant.id, role: 'viewer' },
    ])
    expect(second.meta.next_cursor).toBeNull()
    const { id, email } = person.user
    expect((await ask<object[]>('GET', `/${partner.id}/users`)).data).toMatchObject([
      { user_id: id, tenant_id: home.tenant.id, email },
    ])
    for (const list of ['tenants', 'users'])
      expect((await ask('GET', `/${crypto.randomUUID()}/${list}`)).error.code).toBe('not_found')
  })

  it('are given what there is, and nothing of the platform', async () => {
    const unknown = crypto.randomUUID()
    const refused = async (method: string, path: string, body?: object) =>
      (await ask(method, path, body)).error?.code
    const role = { role: 'viewer' }
    expect(await refused('PUT', `/${unknown}/tenants/${customer.tenant.id}`, role)).toBe('not_found')
    expect(await refused('PUT', `/${partner.id}/tenants/${unknown}`, role)).toBe('not_found')
    expect(await refused('PUT', `/${partner.id}/users/${unknown}`)).toBe('not_found')
    expect(await refused('DELETE', `/${partner.id}/tenants/${stranger.tenant.id}`)).toBe('not_found')
    expect(await refused('DELETE', `/${partner.id}/users/${stranger.admin.user.id}`)).toBe('not_found')
    expect(
      await refused('PUT', `/${partner.id}/tenants/${customer.tenant.id}`, { role: 'platform_admin' }),
    ).toBe('validation_failed')
    expect(await refused('PUT', `/${partner.id}/tenants/${platform.user.tenant_id}`, role)).toBe('conflict')
    expect(await refused('PUT', `/${partner.id}/users/${platform.user.id}`)).toBe('conflict')
  })

  it('share no user: one acts for one partner', async () => {
    const other = await makePartner()
    const taken = await ask('PUT', `/${other.id}/users/${person.user.id}`)
    expect([taken.status, taken.error.code]).toEqual([409, 'conflict'])
    const again = await ask('PUT', `/${partner.id}/users/${person.user.id}`)
    expect(again.status).toBe(200)
    await ask('DELETE', `/${partner.id}/users/${person.user.id}`)
    expect((await ask('PUT', `/${other.id}/users/${person.user.id}`)).status).toBe(200)
  })

  it('are on record where something changed: the partner with the platform, its rights with the tenant, its users with theirs', async () => {
    const log = async (tenantId: string) =>
      (
        await env.DB.prepare(
          "select * from audit_log where tenant_id = ? and resource = 'partner' and resource_id = ? order by seq",
        )
          .bind(tenantId, partner.id)
          .all<{ action: string; actor_id: string; impersonator_tenant_id: string | null }>()
      ).results
    const actions = async (tenantId: string) => (await log(tenantId)).map(({ action }) => action)
    const again = { role: 'developer' }
    expect((await ask('PUT', `/${partner.id}/tenants/${customer.tenant.id}`, again)).data).toMatchObject(
      again,
    )
    expect((await ask('PUT', `/${partner.id}/users/${person.user.id}`)).status).toBe(200)
    expect((await ask('PATCH', `/${partner.id}`, { name: 'Integrators', status: 'active' })).status).toBe(200)
    await ask('DELETE', `/${partner.id}/tenants/${customer.tenant.id}`)
    await ask('DELETE', `/${partner.id}/users/${person.user.id}`)
    await ask('PATCH', `/${partner.id}`, { name: 'Renamed' })
    await ask('DELETE', `/${partner.id}`)
    expect(await actions(platform.user.tenant_id)).toEqual([
      'partner.create',
      'partner.update',
      'partner.delete',
    ])
    expect(await actions(customer.tenant.id)).toEqual(['partner.grant_tenant', 'partner.remove_tenant'])
    expect(await actions(home.tenant.id)).toEqual(['partner.add_user', 'partner.remove_user'])
    const own = platform.user.tenant_id
    for (const [tenantId, from] of [
      [own, null],
      [customer.tenant.id, own],
      [home.tenant.id, own],
    ] as const)
      for (const row of await log(tenantId))
        expect(row).toMatchObject({ actor_id: platform.user.id, impersonator_tenant_id: from })
  })
})

describe('a partner’s user', () => {
  it('is at home what he is there, and in a tenant what the partner was granted', async () => {
    const atHome = await callJson('GET', '/api/v1/tenants/current', { token: person.token })
    expect(atHome.data).toMatchObject({ id: home.tenant.id })
    expect((await act('GET', '/api/v1/tenants/current')).data).toMatchObject({ id: customer.tenant.id })
    // A developer's right, which a member at home lacks.
    expect((await act('POST', `/api/v1/webhooks/${crypto.randomUUID()}/pause`)).error.code).toBe('not_found')
    const body = { name: 'Mine' }
    await expectError(
      call('PATCH', '/api/v1/tenants/current', { token: person.token, headers: inCustomer(), body }),
      'insufficient_scope',
    )
  })

  for (const role of PARTNER_ROLES)
    it(`has the scopes of the granted role and no others: ${role}`, async () => {
      await grant(role)
      const held = new Set<string>(scopesOf(role))
      const PROBES = {
        'agents:read': ['GET', '/api/v1/agents'],
        'interactions:write': ['POST', '/api/v1/interactions', { text: 'Hello' }],
        'service:write': ['PATCH', '/api/v1/service', { enabled: true }],
        'tenants:write': ['PATCH', '/api/v1/tenants/current', { name: 'Renamed' }],
      } as const
      for (const [scope, [method, path, body]] of Object.entries(PROBES)) {
        const { status, error } = await act(method, path, body)
        const refused = status === 403 && error.code === 'insufficient_scope'
        expect([scope, refused, status < 500]).toEqual([scope, !held.has(scope), true])
      }
    })

  it('naming a tenant that is not theirs is refused, and reads nothing', async () => {
    for (const tenantId of [stranger.tenant.id, platform.user.tenant_id, crypto.randomUUID()])
      for (const path of ['/api/v1/tenants/current', '/api/v1/partners/portal', '/api/v1/auth/me'])
        await expectError(
          call('GET', path, { token: person.token, headers: { 'X-Active-Tenant-Id': tenantId } }),
          'tenant_mismatch',
        )
    await expectError(
      call('GET', '/api/v1/tenants/current', {
        token: person.token,
        headers: { ...inCustomer(), 'X-Tenant-ID': home.tenant.id },
      }),
      'tenant_mismatch',
    )
    await expectError(
      call('GET', '/api/v1/tenants/current', {
        token: person.token,
        headers: { 'X-Target-Tenant-ID': customer.tenant.id },
      }),
      'tenant_mismatch',
    )
  })

  it('is told where he may act, and as what', async () => {
    const clients = async (token: string) =>
      (await callJson<object[]>('GET', '/api/v1/auth/clients', { token })).data
    const { id, name, slug, plan } = home.tenant
    const own = { id, name, slug, plan, role: 'member' }
    expect(await clients(person.token)).toEqual([
      own,
      {
        ...{ id: customer.tenant.id, name: customer.tenant.name, slug: customer.tenant.slug },
        ...{ plan: 'starter', role: 'developer' },
      },
    ])
    expect(await clients(home.member.token)).toEqual([own])
    await ask('PATCH', `/${partner.id}`, { status: 'suspended' })
    await renew(person)
    expect(await clients(person.token)).toEqual([own])
  })

  it('is no other user’s way in, nor an API key’s', async () => {
    const colleague = await makePerson(home.tenant, 'admin')
    await expectError(
      call('GET', '/api/v1/tenants/current', { token: colleague.token, headers: inCustomer() }),
      'tenant_mismatch',
    )
    await expectError(
      call('GET', '/api/v1/tenants/current', { key: home.apiKey, headers: inCustomer() }),
      'tenant_mismatch',
    )
  })

  it('leaves nothing behind that would outlast the right: no keys, no secrets', async () => {
    await grant('admin')
    for (const [path, body] of [
      ['/api/v1/auth/api-keys', { name: 'Left behind' }],
      ['/api/v1/webhooks', { url: 'https://example.com/', event_types: ['*'] }],
    ] as const)
      expect((await act('POST', path, body)).error.code).toBe('forbidden_while_acting')
  })

  it('is on record with who he is at home', async () => {
    const made = await act<{ id: string }>('POST', '/api/v1/interactions', { text: 'Hello' })
    expect(made.status).toBe(201)
    await grant('admin')
    await act('PATCH', '/api/v1/tenants/current', { name: 'Renamed' })
    const row = await env.DB.prepare(
      "select * from audit_log where tenant_id = ? and action = 'tenant.update'",
    )
      .bind(customer.tenant.id)
      .first()
    expect(row).toMatchObject({
      actor_kind: 'user',
      actor_id: person.user.id,
      impersonator_kind: 'user',
      impersonator_id: person.user.id,
      impersonator_tenant_id: home.tenant.id,
    })
  })

  it('counts in the tenant acted in as well as at home', async () => {
    customer = await makeWorld({ rate_limits: { requests_per_minute: 1 } })
    await grant('viewer')
    expect((await act('GET', '/api/v1/webhooks')).status).toBe(200)
    expect((await act('GET', '/api/v1/webhooks')).error.code).toBe('rate_limited')
    expect((await call('GET', '/api/v1/webhooks', { token: person.token })).status).toBe(200)
  })

  it('has chats of his own there, and reads his stream', async () => {
    await grant('member')
    const agent = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: customer.admin.token,
      body: { name: 'Echo', kind: 'echo' },
    })
    const chat = await act<{ id: string }>('POST', '/api/v1/chats', { agent_id: agent.data.id })
    expect(chat.status).toBe(201)
    const said = await callJson('POST', `/api/v1/chats/${chat.data.id}/messages`, {
      token: person.token,
      headers: { ...inCustomer(), Accept: 'application/json' },
      body: { content: 'Hello' },
    })
    expect(said.status).toBe(200)
    const ids = async (token: string) =>
      (await act<{ id: string }[]>('GET', '/api/v1/chats', undefined, token)).data.map(({ id }) => id)
    expect(await ids(person.token)).toEqual([chat.data.id])
    const atHome = await callJson<object[]>('GET', '/api/v1/chats', { token: person.token })
    expect(atHome.data).toEqual([])
    const other = await callJson('GET', `/api/v1/chats/${chat.data.id}`, { token: customer.member.token })
    expect(other.error.code).toBe('not_found')
  })
})

describe('the right to act ends', () => {
  const WAYS: Record<string, () => Promise<unknown>> = {
    'with the tenant’s removal': () => ask('DELETE', `/${partner.id}/tenants/${customer.tenant.id}`),
    'with the user’s removal': () => ask('DELETE', `/${partner.id}/users/${person.user.id}`),
    'with the partner’s suspension': () => ask('PATCH', `/${partner.id}`, { status: 'suspended' }),
    'with the partner': () => ask('DELETE', `/${partner.id}`),
  }
  for (const [name, end] of Object.entries(WAYS))
    it(`at once here, and everywhere within ten seconds: ${name}`, async () => {
      const elsewhere = new Isolate()
      const there = () =>
        elsewhere.ask('GET', '/api/v1/agents', { token: person.token, headers: inCustomer() })
      expect([(await act('GET', '/api/v1/agents')).status, (await there()).status]).toEqual([200, 200])
      const asked = () => elsewhere.calls.filter((name) => name.startsWith('METERS.')).length
      const before = asked()
      await end()
      expect((await act('GET', '/api/v1/agents')).error.code).toBe('token_revoked')
      // What ends it there is the news, which may have been asked for by now.
      const { status } = await there()
      expect(asked() > before ? [200, 401] : [200]).toContain(status)
      vi.useFakeTimers({ toFake: ['Date'] })
      vi.setSystemTime(Date.now() + 9_000)
      await expectError(there(), 'token_revoked')
      // The session goes on, and with a new token whoever has it is at home, and nowhere else.
      await renew(person)
      await expectError(there(), 'tenant_mismatch')
      expect((await act('GET', '/api/v1/agents')).error.code).toBe('tenant_mismatch')
      const atHome = await elsewhere.ask('GET', '/api/v1/agents', { token: person.token })
      expect(atHome.status).toBe(200)
    })

  const lookedAt: string[] = []
  onDeparture(({ tenant }, { kind }) => {
    if (kind === 'rights') lookedAt.push(tenant.id)
    return {}
  })
  const ROLE = { role: 'viewer' }
  const CHANGES = {
    ...WAYS,
    'with another role': () => ask('PUT', `/${partner.id}/tenants/${customer.tenant.id}`, ROLE),
  }
  for (const [name, end] of Object.entries(CHANGES))
    it(`and what is open in the tenant is looked at: ${name}`, async () => {
      const isLookedAt = () => eventually(async () => lookedAt.includes(customer.tenant.id) || null)
      // Once because of what was granted before.
      await isLookedAt()
      lookedAt.length = 0
      await end()
      expect(await isLookedAt()).toBe(true)
    })

  it('with the user, the session and either tenant', async () => {
    const set = (status: string) =>
      callJson('PATCH', `/api/platform/tenants/${customer.tenant.id}`, {
        token: platform.token,
        body: { status },
      })
    await set('suspended')
    expect((await act('GET', '/api/v1/tenants/current')).error.code).toBe('tenant_suspended')
    await set('active')
    expect((await act('GET', '/api/v1/tenants/current')).status).toBe(200)
    await call('POST', '/api/v1/auth/logout', { token: person.token, body: {} })
    expect((await act('GET', '/api/v1/tenants/current')).error.code).toBe('token_revoked')
  })

  it('a stream open by it closes', { timeout: 30_000 }, async () => {
    await grant('member')
    const agent = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      token: customer.admin.token,
      body: { name: 'Echo', kind: 'echo' },
    })
    const chat = await act<{ id: string }>('POST', '/api/v1/chats', { agent_id: agent.data.id })
    const say = (content: string) =>
      callJson('POST', `/api/v1/chats/${chat.data.id}/messages`, {
        token: customer.admin.token,
        headers: { Accept: 'application/json' },
        body: { content },
      })
    const stream = await call('GET', `/api/v1/chats/${chat.data.id}/stream`, {
      token: person.token,
      headers: inCustomer(),
    })
    expect(stream.status).toBe(200)
    let told = ''
    const reading = (async () => {
      const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader()
      for (let chunk = await reader?.read(); chunk && !chunk.done; chunk = await reader?.read())
        told += chunk.value
      return 'closed'
    })()
    // Rights are looked up when they are five seconds old: here they hold, and then no more.
    await scheduler.wait(5_100)
    await say('While it may be read')
    await eventually(async () => told.includes('While it may be read') || null)
    await ask('DELETE', `/${partner.id}/users/${person.user.id}`)
    // Nothing is said that it could end with.
    expect(await Promise.race([reading, scheduler.wait(9_000)])).toBe('closed')
  })

  it('for a connection too, whichever part of it is gone', async () => {
    const scopes = async (partner_id: string) => {
      const { user, session_id } = person
      const found = await scopesNow(
        env as unknown as Bindings,
        customer.tenant.id,
        [
          {
            ...{ key: 'connection', kind: 'user', id: user.id, user_id: user.id, session_id },
            role: 'developer',
            impersonator: {
              kind: 'user',
              id: user.id,
              tenant_id: home.tenant.id,
              role: 'member',
              partner_id,
            },
          },
        ],
        Date.now(),
      )
      return found.get('connection')
    }
    expect(await scopes(partner.id)).toEqual(scopesOf('developer'))
    await ask('PATCH', `/${partner.id}`, { status: 'suspended' })
    expect(await scopes(partner.id)).toBeUndefined()
    await ask('PATCH', `/${partner.id}`, { status: 'active' })
    expect(await scopes(partner.id)).toEqual(scopesOf('developer'))
    await grant('viewer')
    expect(await scopes(partner.id)).toBeUndefined()
    await grant('developer')
    // The same user, for another partner that has the tenant as well.
    const other = await makePartner()
    await ask('PUT', `/${other.id}/tenants/${customer.tenant.id}`, { role: 'developer' })
    await ask('DELETE', `/${partner.id}/users/${person.user.id}`)
    await ask('PUT', `/${other.id}/users/${person.user.id}`)
    expect([await scopes(partner.id), await scopes(other.id)]).toEqual([undefined, scopesOf('developer')])
  })

  it('two partners that want one user at once: one has him', async () => {
    const [other, user] = [await makePartner(), await makePerson(home.tenant, 'member')]
    const added = await Promise.all(
      [partner, other].map(({ id }) => ask('PUT', `/${id}/users/${user.user.id}`)),
    )
    expect(added.map(({ status }) => status).sort()).toEqual([200, 409])
  })

  it('a change of role holds for the next request', async () => {
    const rename = () => act('PATCH', '/api/v1/tenants/current', { name: 'Renamed' })
    expect((await rename()).error.code).toBe('insufficient_scope')
    await grant('admin')
    expect((await rename()).status).toBe(200)
    await grant('viewer')
    expect((await rename()).error.code).toBe('insufficient_scope')
  })

  it('once it is known, a request asks D1 and Meters nothing', async () => {
    const isolate = new Isolate()
    const knock = () =>
      isolate.ask('GET', '/api/v1/webhooks/event-types?built_in=true', {
        token: person.token,
        headers: inCustomer(),
      })
    await knock()
    await knock()
    isolate.calls.length = 0
    expect((await knock()).status).toBe(200)
    expect(isolate.calls).toEqual([])
  })
})

describe('the portal', () => {
  const portal = <T>(path = '', headers = {}, token = person.token) =>
    callJson<T>('GET', `/api/v1/partners/portal${path}`, { token, headers })

  it('shows the partner, its tenants and what they used', async () => {
    const more = await makeWorld()
    await ask('PUT', `/${partner.id}/tenants/${more.tenant.id}`, { role: 'viewer' })
    await renew(person)
    expect((await portal<object>()).data).toEqual({
      partner: { id: partner.id, name: 'Integrators' },
      tenants: 2,
      users: 1,
      active_tenant: null,
    })
    const tenants = await portal<{ tenant_id: string }[]>('/tenants')
    expect(tenants.data.map(({ tenant_id }) => tenant_id)).toEqual([customer.tenant.id, more.tenant.id])
    for (let i = 0; i < 3; i++) await call('GET', '/api/v1/webhooks', { token: customer.admin.token })
    await call('GET', '/api/v1/agents/none', { token: customer.admin.token })
    const usage = await eventually(async () => {
      const { data } = await portal<{ tenant_id: string; requests: number; errors: number }[]>('/usage')
      return (data[0]?.requests ?? 0) >= 4 ? data : null
    })
    expect(usage).toMatchObject([
      { tenant_id: customer.tenant.id, name: customer.tenant.name, requests: 4, errors: 1 },
      { tenant_id: more.tenant.id, requests: 0, errors: 0 },
    ])
  })

  it('shows the tenant that is acted in alone', async () => {
    const more = await makeWorld()
    await ask('PUT', `/${partner.id}/tenants/${more.tenant.id}`, { role: 'viewer' })
    await renew(person)
    const headers = { 'X-Active-Tenant-Id': more.tenant.id }
    expect((await portal<object>('', headers)).data).toMatchObject({
      tenants: 2,
      active_tenant: { tenant_id: more.tenant.id, role: 'viewer' },
    })
    for (const list of ['/tenants', '/usage'])
      expect((await portal<object[]>(list, headers)).data).toMatchObject([{ tenant_id: more.tenant.id }])
  })

  it('is for partners’ users', async () => {
    for (const path of ['', '/tenants', '/usage'])
      for (const token of [home.admin.token, platform.token])
        expect((await portal(path, {}, token)).error.code).toBe('partner_required')
    await ask('PATCH', `/${partner.id}`, { status: 'suspended' })
    await renew(person)
    expect((await portal()).error.code).toBe('partner_required')
  })
})
