import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { makeRunToken } from '../../src/domains/chat/runs/token'
import { makeCallToken } from '../../src/domains/voice/ultravox/token'
import { type Bindings, settingsOf } from '../../src/env'
import { chatWith } from '../chat/kit'
import { pathOf, upload } from '../files/kit'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { PASSWORD, someone, tenantOf } from '../identity/kit'
import { Browser, isolateWith, makeIdp, oidc, person } from '../identity/oauth-kit'
import { Client } from '../realtime/socket'
import { makeSource, ofGithub } from '../webhooks/incoming/kit'
import { type call, callJson, type World } from '../world'

// A service pinned by SINGLE_TENANT_ID: what needs no credential is that tenant's as well.

const json = { 'Content-Type': 'application/json' }
const email = someone()
let only: World
let other: World
let service: ReturnType<typeof serviceWith>
beforeAll(async () => {
  only = await tenantOf(email, { settings: { open_registration: true } })
  other = await tenantOf(email, { settings: { open_registration: true } })
  // As people write it: upper case is the same id.
  service = serviceWith({ SINGLE_TENANT_ID: only.tenant.id.toUpperCase() })
})

const post = (path: string, body: unknown, headers = {}) =>
  service('POST', `http://localhost:8787${path}`, {
    headers: { ...json, ...headers },
    body: JSON.stringify(body),
  })

const tenantsNow = async () =>
  (await env.DB.prepare('select count(*) as n from tenants').first<{ n: number }>())?.n

describe('a service for one tenant', () => {
  it('takes the tenant’s own credential', async () => {
    const me = await service('GET', 'http://localhost:8787/api/v1/auth/me', { token: only.admin.token })
    expect(me.status).toBe(200)
  })

  it('logs people in to that tenant without their naming it, and to no other', async () => {
    const answer = await post('/api/v1/auth/login', { email, password: PASSWORD })
    expect(answer.status).toBe(200)
    const { data } = (await answer.json()) as { data: { access_token: string; refresh_token: string } }
    const me = await service('GET', 'http://localhost:8787/api/v1/auth/me', { token: data.access_token })
    expect(((await me.json()) as { data: { tenant_id: string } }).data.tenant_id).toBe(only.tenant.id)
    for (const tenant of [only.tenant.id, only.tenant.id.toUpperCase(), only.tenant.slug])
      expect((await post('/api/v1/auth/login', { email, password: PASSWORD, tenant })).status).toBe(200)
    for (const tenant of [other.tenant.id, other.tenant.slug, 'nobody-has-this'])
      await expectError(post('/api/v1/auth/login', { email, password: PASSWORD, tenant }), 'tenant_mismatch')
  })

  it('refuses another tenant’s refresh token', async () => {
    const elsewhere = await serviceWith({})('POST', 'http://localhost:8787/api/v1/auth/login', {
      headers: json,
      body: JSON.stringify({ email, password: PASSWORD, tenant: other.tenant.id }),
    })
    const { data } = (await elsewhere.json()) as { data: { refresh_token: string } }
    await expectError(post('/api/v1/auth/refresh', { refresh_token: data.refresh_token }), 'tenant_mismatch')
  })

  it('takes no login of a provider to another tenant, though the login names it', async () => {
    const [address, idp] = [someone(), makeIdp()]
    const [mine, theirs] = [
      await tenantOf(address, { verified: true }),
      await tenantOf(address, { verified: true }),
    ]
    const open = new Browser(isolateWith({ acme: oidc(idp.url) }))
    const pinned = () =>
      new Browser(isolateWith({ acme: oidc(idp.url) }, { SINGLE_TENANT_ID: mine.tenant.id }))
    const standing = async () => {
      const tables = ['oauth_accounts', 'sessions', 'audit_log']
      const counts = tables.map((table) =>
        env.DB.prepare(`select count(*) as n from ${table} where tenant_id = ?`).bind(theirs.tenant.id),
      )
      return (await env.DB.batch<{ n: number }>(counts)).map(({ results }) => results[0]?.n)
    }
    for (const linked of [false, true]) {
      const query = { tenant: theirs.tenant.id }
      if (linked) expect((await open.login('acme', person(address), { query })).status).toBe(200)
      const before = await standing()
      const refused = await pinned().login('acme', person(address), { query })
      expect([linked, refused.status, refused.error?.code]).toEqual([linked, 404, 'not_found'])
      expect(await standing()).toEqual(before)
    }
    const own = await pinned().login('acme', person(address))
    expect(own.status).toBe(200)
  })

  it('opens sockets for that tenant alone, by whatever they say who they are for', async () => {
    const ask: typeof call = (method, path, init) =>
      service(method, `http://localhost:8787${path}`, { headers: init?.headers ?? {} })
    const ways: ((world: World) => Promise<[headers: Record<string, string>, frame: object]>)[] = [
      async ({ admin }) => [{}, { token: `Bearer ${admin.token}` }],
      async ({ apiKey }) => [{}, { token: `Bearer ${apiKey}` }],
      async ({ admin }) => [{ Authorization: `Bearer ${admin.token}` }, {}],
      async ({ admin }) => {
        const made = await callJson<{ ticket: string }>('POST', '/api/v1/realtime/ticket', admin)
        return [{}, { ticket: made.data.ticket }]
      },
    ]
    for (const way of ways)
      for (const world of [only, other]) {
        const [headers, frame] = await way(world)
        const client = await Client.open(headers, ask)
        client.send({ type: 'auth', ...frame })
        if (world === only) expect((await client.next('ready')).tenant_id).toBe(only.tenant.id)
        else {
          expect((await client.next('error')).code).toBe('tenant_mismatch')
          expect(await client.end()).toBe(4401)
        }
      }
  })

  it('shows no link or file of another tenant', async () => {
    const paths = async (world: World) => {
      const chat = await chatWith(world, { name: 'Echo', kind: 'echo' })
      const shared = await callJson<{ token: string }>('PUT', `${chat.path}/shares`, {
        ...{ token: chat.person.token, body: { scope: 'public' } },
      })
      const said = { filename: 'a.txt', content_type: 'text/plain', purpose: 'attachment' } as const
      const file = await upload(world.member, 'of its own', said)
      const signed = await callJson<{ url: string }>('POST', `/api/v1/files/${file.id}/url`, {
        token: world.member.token,
      })
      return [`/api/v1/shared/${shared.data.token}`, pathOf(signed.data.url)]
    }
    const at = (path: string) => service('GET', `http://localhost:8787${path}`)
    for (const path of await paths(only)) expect((await at(path)).status).toBe(200)
    for (const path of await paths(other)) await expectError(at(path), 'tenant_mismatch')
  })

  it('takes no token of another tenant’s run or call, and no webhook of its source', async () => {
    const settings = settingsOf(env as unknown as Bindings)
    const asked = async ({ tenant, ...world }: World) => {
      const ids = { tenant_id: tenant.id, chat_id: crypto.randomUUID(), run_id: crypto.randomUUID() }
      const call = {
        'X-Causeway-Call-Token': await makeCallToken(settings, { ...ids, id: crypto.randomUUID() }),
      }
      const run = { 'X-Causeway-Run-Token': await makeRunToken(settings, ids) }
      const source = await makeSource({ tenant, ...world }, { kind: 'github' })
      const event = { sequence: 1, events: [{ type: 'done', data: {} }] }
      const answers = [
        await post(`/api/v1/runs/${ids.run_id}/events`, event, run),
        await post('/api/v1/calls/tools/knowledge', { query: 'x' }, call),
        await post(`/api/v1/calls/tools/${crypto.randomUUID()}`, {}, call),
        await post(`/api/v1/webhooks/in/${source}`, {}, ofGithub('{}').headers),
      ]
      return Promise.all(
        answers.map(async (answer) => ((await answer.json()) as { error?: { code: string } }).error?.code),
      )
    }
    expect(await asked(only)).toEqual(['not_found', 'not_found', 'not_found', undefined])
    expect(await asked(other)).toEqual(Array(4).fill('tenant_mismatch'))
    const keys = ({ tenant }: World) =>
      service('GET', `http://localhost:8787/.well-known/webhooks/${tenant.id}/jwks.json`)
    expect((await keys(only)).status).toBe(200)
    await expectError(keys(other), 'tenant_mismatch')
  })

  it('registers people into that tenant, and makes no other', async () => {
    const before = await tenantsNow()
    const joined = await post('/api/v1/auth/register', { email: someone(), password: PASSWORD })
    expect(joined.status).toBe(201)
    expect(((await joined.json()) as { data: { tenant_id: string } }).data.tenant_id).toBe(only.tenant.id)
    await expectError(
      post('/api/v1/auth/register', { email: someone(), password: PASSWORD, team_id: other.tenant.id }),
      'tenant_mismatch',
    )
    await expectError(
      post('/api/v1/tenants/onboarding/public', {
        name: 'Another',
        slug: `another-${crypto.randomUUID().slice(0, 8)}`,
        email: someone(),
        password: PASSWORD,
      }),
      'tenant_mismatch',
    )
    expect(await tenantsNow()).toBe(before)
  })
})
