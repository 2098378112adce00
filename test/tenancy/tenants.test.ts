import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { call, callJson, makePlatformAdmin, makeWorld } from '../world'

type Tenant = { id: string; name: string; settings: Record<string, unknown> }

const current = (token: string) => callJson<Tenant>('GET', '/api/v1/tenants/current', { token })
const change = (token: string, body: object) =>
  callJson<Tenant>('PATCH', '/api/v1/tenants/current', { token, body })

describe('the tenant', () => {
  it('is read by everyone in it, and changed by its admin', async () => {
    const world = await makeWorld()
    for (const { token } of [world.viewer, world.member, world.developer, world.admin])
      expect((await current(token)).data.id).toBe(world.tenant.id)
    for (const { token } of [world.viewer, world.member, world.developer])
      expect((await change(token, { name: 'Mine' })).error.code).toBe('insufficient_scope')
    const answer = await change(world.admin.token, { name: ' New ', settings: { payload_retention_days: 7 } })
    expect(answer.data).toMatchObject({ name: 'New', settings: { payload_retention_days: 7, max_users: 10 } })
    expect((await current(world.viewer.token)).data).toEqual(answer.data)
  })

  it('keeps the settings that are not sent, and records what changed', async () => {
    const { tenant, admin } = await makeWorld({ settings: { max_users: 3, open_registration: true } })
    await change(admin.token, { settings: { max_users: 4 } })
    const { data } = await change(admin.token, { settings: { service_enabled: false } })
    expect(data.settings).toMatchObject({ max_users: 4, open_registration: true, service_enabled: false })
    const audit = await env.DB.prepare(
      "select before, after, actor_id from audit_log where tenant_id = ? and action = 'tenant.update' order by seq",
    )
      .bind(tenant.id)
      .all<{ before: string; after: string; actor_id: string }>()
    expect(audit.results).toHaveLength(2)
    expect(JSON.parse(audit.results[0]?.before ?? '').settings.max_users).toBe(3)
    expect(JSON.parse(audit.results[0]?.after ?? '').settings.max_users).toBe(4)
    expect(audit.results[0]?.actor_id).toBe(admin.user.id)
  })

  it('is as it was, and nothing is on record, where what is sent changes nothing', async () => {
    const { admin, member, tenant } = await makeWorld()
    const { token } = admin
    const platform = { token: (await makePlatformAdmin()).token }
    const set = { name: 'Kept', settings: { max_users: 3 } }
    const paths = { own: '/api/v1/tenants/current', platform: `/api/platform/tenants/${tenant.id}` }
    const changed = await callJson('PATCH', paths.own, { token, body: set })
    const team = (await callJson<{ id: string }>('POST', '/api/v1/teams', { token, body: { name: 'T' } }))
      .data
    const standing = () =>
      env.DB.prepare(
        `select (select count(*) from audit_log where tenant_id = ?1) as recorded,
          (select count(*) from events where tenant_id = ?1) as events,
          (select version from tenants where id = ?1) as tenant`,
      )
        .bind(tenant.id)
        .first()
    const before = await standing()
    for (const [path, who, body] of [
      [paths.own, { token }, {}],
      [paths.own, { token }, set],
      [paths.own, { token }, { settings: {} }],
      [paths.platform, platform, { name: 'Kept', status: 'active' }],
      [paths.platform, platform, { rate_limits: {} }],
      [`/api/v1/users/${member.user.id}`, { token }, { role: 'member', status: 'active' }],
      [`/api/v1/teams/${team.id}`, { token }, { name: 'T' }],
    ] as const) {
      const answer = await callJson('PATCH', path, { ...who, body })
      expect([path, body, answer.status]).toEqual([path, body, 200])
      expect([path, body, await standing()]).toEqual([path, body, before])
      if (path === paths.own) expect(answer.data).toEqual(changed.data)
      if (path === paths.own) expect(answer.headers.get('ETag')).toBe(changed.headers.get('ETag'))
    }
    const stale = { 'If-Match': '"v99"' }
    expect((await callJson('PATCH', paths.own, { token, body: set, headers: stale })).status).toBe(412)
  })

  it('takes what several change at the same moment, all of it', async () => {
    const { tenant, admin } = await makeWorld()
    const platform = await makePlatformAdmin()
    const patch = (body: object) =>
      callJson('PATCH', `/api/platform/tenants/${tenant.id}`, { token: platform.token, body })
    const answers = await Promise.all([
      change(admin.token, { settings: { payload_retention_days: 3 } }),
      change(admin.token, { settings: { conversation_window_minutes: 5 } }),
      patch({ name: 'Of both' }),
      patch({ rate_limits: { requests_per_minute: 77 } }),
    ])
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect((await current(admin.token)).data).toMatchObject({
      name: 'Of both',
      settings: { payload_retention_days: 3, conversation_window_minutes: 5 },
      rate_limits: { requests_per_minute: 77 },
    })
    const seqs = await env.DB.prepare(
      `select count(*) as n from audit_log where tenant_id = ? and action = 'tenant.update'`,
    )
      .bind(tenant.id)
      .first<number>('n')
    expect(seqs).toBe(4)
  })

  it('is changed once more where another was faster, unless the version was named', async () => {
    const { tenant, admin } = await makeWorld()
    /** Another changes the tenant between what is read and what is written, the first time. */
    const patch = async (headers: Record<string, string>) => {
      let raced = 0
      const withSession = (from: string) => {
        const session = env.DB.withSession(from)
        return {
          prepare: (sql: string) => session.prepare(sql),
          getBookmark: () => session.getBookmark(),
          batch: async (statements: D1PreparedStatement[]) => {
            if (raced++ === 0)
              await env.DB.prepare(`update tenants set name = 'Faster', version = version + 1 where id = ?`)
                .bind(tenant.id)
                .run()
            return session.batch(statements)
          },
        }
      }
      const DB = new Proxy(env.DB, {
        get: (target, key) => {
          const value = Reflect.get(target, key) as unknown
          if (key === 'withSession') return withSession
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
      return serviceWith({ DB })('PATCH', 'http://localhost:8787/api/v1/tenants/current', {
        token: admin.token,
        headers: { 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify({ settings: { payload_retention_days: 3 } }),
      })
    }
    const { status } = await patch({})
    expect(status).toBe(200)
    expect((await current(admin.token)).data).toMatchObject({
      name: 'Faster',
      settings: { payload_retention_days: 3 },
    })
    await expectError(patch({ 'If-Match': '"3"' }), 'precondition_failed')
  })

  it('takes no field that is not the tenant’s to set', async () => {
    const { admin, tenant } = await makeWorld()
    const answer = await change(admin.token, {
      ...{
        id: tenant.id,
        slug: 'other',
        plan: 'enterprise',
        status: 'active',
        region: 'eu',
        is_platform: 1,
        version: 9,
      },
      name: '',
      settings: {
        is_platform: true,
        max_users: 1.5,
        payload_retention_days: 31,
        conversation_window_minutes: 0,
      },
    })
    expect(Object.keys(answer.error.details.fields ?? {}).sort()).toEqual(
      [
        ...['id', 'slug', 'plan', 'status', 'region', 'is_platform', 'version', 'name'],
        ...['is_platform', 'max_users', 'payload_retention_days', 'conversation_window_minutes'].map(
          (k) => `settings.${k}`,
        ),
      ].sort(),
    )
    const row = await env.DB.prepare('select plan, is_platform, version from tenants where id = ?')
      .bind(tenant.id)
      .first()
    expect(row).toEqual({ plan: 'starter', is_platform: 0, version: 1 })
  })

  it('shows settings at their defaults until they are set', async () => {
    const { admin, tenant } = await makeWorld()
    await env.DB.prepare("update tenants set plan = 'pro' where id = ?").bind(tenant.id).run()
    expect((await current(admin.token)).data.settings).toMatchObject({
      max_users: 100,
      service_enabled: true,
    })
  })

  it('at work: a setting counts for the next request', async () => {
    const { admin, member } = await makeWorld()
    const say = () => call('POST', '/api/v1/interactions', { token: member.token, body: { text: 'a' } })
    expect((await say()).status).toBe(201)
    await change(admin.token, { settings: { service_enabled: false } })
    await expectError(say(), 'service_disabled')
    await change(admin.token, { settings: { service_enabled: true } })
    expect((await say()).status).toBe(201)
  })
})
