import { env } from 'cloudflare:workers'
import { beforeAll, describe, expect, it } from 'vitest'
import { isAdministrative, scopesOf } from '../../src/domains/tenancy/scopes'
import { expectError } from '../http/expect-error'
import { serviceWith } from '../http/service'
import { someone } from '../identity/kit'
import { call, callJson, makePlatformAdmin, makeWorld, type Person } from '../world'

type Tenant = { id: string; slug: string; plan: string; status: string }

let platform: Person
beforeAll(async () => {
  platform = await makePlatformAdmin()
})

const newSlug = () => `p-${crypto.randomUUID().slice(0, 8)}`
const ask = <T = Tenant>(method: string, path: string, body?: object) =>
  callJson<T>(method, path, { token: platform.token, ...(body ? { body } : {}) })
const make = (body: object = {}) =>
  ask('POST', '/api/platform/tenants', { name: 'Made', slug: newSlug(), ...body })

describe('the platform’s tenants', () => {
  it('are made, read, listed and changed, by either name of the path', async () => {
    const slug = newSlug()
    const made = await make({ slug, plan: 'pro' })
    expect([made.status, made.headers.get('Location')]).toEqual([
      201,
      `/api/platform/tenants/${made.data.id}`,
    ])
    expect(made.data).toMatchObject({ slug, plan: 'pro', status: 'active' })
    for (const root of ['/api/platform', '/api/admin']) {
      expect((await ask('GET', `${root}/tenants/${made.data.id}`)).data).toMatchObject({
        id: made.data.id,
        slug,
      })
      const list = await ask<Tenant[]>('GET', `${root}/tenants?q=${slug}`)
      expect(list.data.map((tenant) => tenant.id)).toEqual([made.data.id])
      expect((await ask('PATCH', `${root}/tenants/${made.data.id}`, { name: root })).data).toMatchObject({
        name: root,
      })
    }
    const viaAdmin = await ask('POST', '/api/admin/tenants', { name: 'Made', slug: newSlug() })
    expect(viaAdmin.headers.get('Location')).toBe(`/api/admin/tenants/${viaAdmin.data.id}`)
  })

  it('are found by how their slug begins, however long that is', async () => {
    const slug = `${'a-long-beginning-'.repeat(3)}${crypto.randomUUID().slice(0, 8)}`
    const { data } = await make({ slug })
    for (const q of [slug, slug.slice(0, 55), slug.slice(0, 50)])
      expect((await ask<Tenant[]>('GET', `/api/platform/tenants?q=${q}`)).data.map((t) => t.id)).toEqual([
        data.id,
      ])
    for (const q of ['%25', '_', `${slug.slice(0, 10)}%25`])
      expect((await ask<Tenant[]>('GET', `/api/platform/tenants?q=${q}`)).data).toEqual([])
  })

  it('are filtered by status, page by page', async () => {
    const { data } = await make()
    await ask('PATCH', `/api/platform/tenants/${data.id}`, { status: 'suspended' })
    const found = await ask<Tenant[]>('GET', '/api/platform/tenants?status=suspended&limit=1')
    expect(found.data).toMatchObject([{ id: data.id, status: 'suspended' }])
    await expectError(
      call('GET', `/api/platform/tenants?limit=1&cursor=${found.meta.next_cursor}`, {
        token: platform.token,
      }),
      'validation_failed',
    )
  })

  it('invite their first admin by mail', async () => {
    const email = someone()
    const { data } = await make({ admin_email: email.toUpperCase() })
    const mails = await env.DB.prepare('select tenant_id from mails where "to" = ?').bind(email).all()
    expect(mails.results).toEqual([{ tenant_id: data.id }])
    const after = await env.DB.prepare('select after from audit_log where tenant_id = ?')
      .bind(data.id)
      .first<string>('after')
    expect(JSON.parse(after ?? '')).toMatchObject({ admin_email: email })
  })

  it('are on record in their own log, with who did it', async () => {
    const { data } = await make()
    await ask('PATCH', `/api/platform/tenants/${data.id}`, { status: 'suspended' })
    const audit = await env.DB.prepare(
      'select action, actor_id from audit_log where tenant_id = ? order by seq',
    )
      .bind(data.id)
      .all()
    expect(audit.results).toEqual([
      { action: 'tenant.create', actor_id: platform.user.id },
      { action: 'tenant.suspend', actor_id: platform.user.id },
    ])
  })

  it('stay cancelled', async () => {
    const { data } = await make()
    await env.DB.prepare("update tenants set status = 'cancelled' where id = ?").bind(data.id).run()
    const refused = await ask('PATCH', `/api/platform/tenants/${data.id}`, { status: 'active' })
    expect([refused.status, refused.error.code]).toEqual([409, 'conflict'])
    expect((await ask('GET', `/api/platform/tenants/${data.id}`)).data.status).toBe('cancelled')
  })

  it('are guarded by their version', async () => {
    const { data } = await make()
    const path = `/api/platform/tenants/${data.id}`
    const headers = { 'If-Match': '"v1"' }
    const patch = () => call('PATCH', path, { token: platform.token, headers, body: { name: 'Once' } })
    expect((await patch()).status).toBe(200)
    await expectError(patch(), 'precondition_failed')
  })

  it('are the platform’s own too, which can’t be suspended', async () => {
    const own = `/api/platform/tenants/${platform.user.tenant_id}`
    expect((await ask('GET', own)).status).toBe(200)
    expect((await ask('PATCH', own, { status: 'suspended' })).status).toBe(422)
    expect((await ask('GET', own)).data.status).toBe('active')
  })

  it('need every field right', async () => {
    const wrong = await make({ name: ' ', slug: 'No', plan: 'gold', admin_email: 'x', status: 'active' })
    expect(Object.keys(wrong.error.details.fields ?? {}).sort()).toEqual([
      'admin_email',
      'name',
      'plan',
      'slug',
      'status',
    ])
    const unknown = '/api/platform/tenants/0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d'
    expect((await ask('GET', unknown)).error.code).toBe('not_found')
    expect((await ask('PATCH', unknown, { name: 'x' })).error.code).toBe('not_found')
    const { data } = await make()
    expect((await ask('PATCH', `/api/platform/tenants/${data.id}`, { status: 'cancelled' })).status).toBe(422)
  })
})

describe('keys that the platform makes', () => {
  it('work in the tenant they name, with the scopes they name', async () => {
    const { tenant } = await makeWorld()
    type Made = { key: string; scopes: string[]; created_by: string | null }
    const narrow = await ask<Made>('POST', '/api/platform/api-keys', {
      tenant_id: tenant.id,
      name: 'narrow',
      scopes: ['interactions:read'],
    })
    expect(narrow.status).toBe(201)
    expect(narrow.data).toMatchObject({ scopes: ['interactions:read'], created_by: null })
    expect((await call('GET', '/api/v1/interactions', { key: narrow.data.key })).status).toBe(200)
    await expectError(call('GET', '/api/v1/tenants/current', { key: narrow.data.key }), 'insufficient_scope')
    const me = await expectError(call('GET', '/api/v1/auth/me', { key: narrow.data.key }), 'user_required')
    expect(me.message).toMatch(/no user/)

    const wide = await ask<Made>('POST', '/api/admin/api-keys', { tenant_id: tenant.id, name: 'wide' })
    expect(wide.data.scopes.sort()).toEqual(
      scopesOf('admin')
        .filter((scope) => !isAdministrative(scope))
        .sort(),
    )
    const current = await callJson<Tenant>('GET', '/api/v1/tenants/current', { key: wide.data.key })
    expect(current.data.id).toBe(tenant.id)
    const short = await ask<Made>('POST', '/api/platform/api-keys', {
      tenant_id: tenant.id,
      name: 'short',
      permissions: ['read'],
    })
    expect(short.data.scopes.every((scope) => scope.endsWith(':read'))).toBe(true)
  })

  it('are never the platform’s, and never of a tenant that there is not', async () => {
    const { tenant } = await makeWorld()
    const refused = await ask('POST', '/api/platform/api-keys', {
      tenant_id: tenant.id,
      name: 'x',
      scopes: ['platform:*'],
    })
    expect(refused.status).toBe(422)
    const nowhere = { tenant_id: '0197b3c2-8f4e-7c1a-9d2b-3e4f5a6b7c8d', name: 'x' }
    expect((await ask('POST', '/api/platform/api-keys', nowhere)).error.code).toBe('not_found')
  })

  it('are never of a tenant that was cancelled, be it meanwhile', async () => {
    const { data } = await make()
    const wanted = { tenant_id: data.id, name: 'late' }
    const made = () => env.DB.prepare('select id from api_keys where tenant_id = ?').bind(data.id).all()
    expect((await ask('DELETE', `/api/platform/tenants/${data.id}`)).status).toBe(204)
    expect((await ask('POST', '/api/platform/api-keys', wanted)).error.code).toBe('conflict')
    expect((await made()).results).toEqual([])
    await ask('PATCH', `/api/platform/tenants/${data.id}`, { status: 'suspended' })
    expect((await ask('POST', '/api/platform/api-keys', wanted)).status).toBe(201)
    // Read while it stood, written when it does not.
    const DB = new Proxy(env.DB, {
      get: (target, key) => {
        const value = Reflect.get(target, key) as unknown
        if (key !== 'withSession') return typeof value === 'function' ? value.bind(target) : value
        return (from: string) => {
          const session = target.withSession(from)
          return {
            prepare: (sql: string) => session.prepare(sql),
            getBookmark: () => session.getBookmark(),
            batch: async (statements: D1PreparedStatement[]) => {
              await env.DB.prepare(`update tenants set status = 'cancelled' where id = ?`).bind(data.id).run()
              return session.batch(statements)
            },
          }
        }
      },
    })
    const answer = await serviceWith({ DB })('POST', 'http://localhost:8787/api/platform/api-keys', {
      token: platform.token,
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(wanted),
    })
    await expectError(answer, 'conflict')
    expect((await made()).results).toHaveLength(1)
  })
})

describe('the boundary between platform and tenants', () => {
  it('a tenant’s credential is no platform credential, by token or key', async () => {
    const { admin, apiKey, tenant } = await makeWorld()
    for (const [method, path] of [
      ['GET', '/api/platform/tenants'],
      ['POST', '/api/platform/tenants'],
      ['GET', `/api/admin/tenants/${tenant.id}`],
      ['PATCH', `/api/platform/tenants/${tenant.id}`],
      ['POST', '/api/admin/api-keys'],
    ] as const) {
      const body = method === 'GET' ? {} : { body: {} }
      await expectError(call(method, path, { token: admin.token, ...body }), 'platform_only')
      await expectError(call(method, path, { key: apiKey, ...body }), 'platform_only')
    }
  })

  it('a platform credential has no tenant, but is somebody', async () => {
    const { token } = platform
    for (const path of [
      '/api/v1/interactions',
      '/api/v1/tenants/current',
      '/api/v1/webhooks',
      '/api/v1/agents',
    ])
      await expectError(call('GET', path, { token }), 'target_tenant_required')
    await expectError(
      call('POST', '/api/v1/interactions', { token, body: { text: 'a' } }),
      'target_tenant_required',
    )
    expect((await call('GET', '/api/v1/auth/me', { token })).status).toBe(200)
    expect((await call('GET', '/api/v1/auth/sessions', { token })).status).toBe(200)
    await expectError(
      call('POST', '/api/v1/auth/api-keys', { token, body: { name: 'x' } }),
      'insufficient_scope',
    )
  })

  it('an admin of the platform’s tenant is not the platform', async () => {
    const { admin } = await makeWorld({ platform: true })
    await expectError(call('GET', '/api/platform/tenants', { token: admin.token }), 'platform_only')
  })
})

describe('a service of one tenant', () => {
  it('takes that tenant’s credentials and no other', async () => {
    const only = await makeWorld()
    const other = await makeWorld()
    const service = serviceWith({ SINGLE_TENANT_ID: only.tenant.id })
    const me = (headers: Record<string, string>) =>
      service('GET', 'http://localhost:8787/api/v1/auth/me', { headers })
    expect((await me({ Authorization: `Bearer ${only.member.token}` })).status).toBe(200)
    expect((await me({ 'X-API-Key': only.apiKey })).status).toBe(200)
    await expectError(me({ Authorization: `Bearer ${other.member.token}` }), 'tenant_mismatch')
    await expectError(me({ 'X-API-Key': other.apiKey }), 'tenant_mismatch')
    await expectError(me({ Cookie: `access_token=${other.member.token}` }), 'tenant_mismatch')
  })
})
