import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import { resealAll } from '../../src/data/sealed'
import { insertKey } from '../../src/domains/identity/api-keys/service'
import { fill, hostNamed, mayGoTo, namesIn, refusalOfTemplate } from '../../src/domains/secrets/template'
import { scopesOf } from '../../src/domains/tenancy/scopes'
import type { Endpoint, TestResult } from '../../src/domains/webhooks/endpoints/schema'
import type { Bindings } from '../../src/env'
import { callJson, makeWorld, requestContext, type World } from '../world'
import { connect, makeEndpoint, send, settled } from './deliver'

type Kept = { name: string; hosts: string[]; description: string; created_at: string; updated_at: string }

const VALUE = 'very-hidden-0123456789'
const put = (world: World, name: string, body: unknown, headers = {}) =>
  callJson<Kept>('PUT', `/api/v1/secrets/${name}`, { token: world.admin.token, body, headers })
const here = ['127.0.0.1']

const patch = (world: World, id: string, body: unknown, token = world.developer.token) =>
  callJson<Endpoint>('PATCH', `/api/v1/webhooks/${id}`, { token, body })

/** All that D1 holds of a tenant, and what its endpoint's object does. */
async function everything(world: World, endpointId?: string): Promise<string> {
  const tables = ['secrets', 'endpoints', 'deliveries', 'events', 'audit_log', 'idempotency_keys']
  const rows = await Promise.all(
    tables.map((table) =>
      env.DB.prepare(`select * from ${table} where tenant_id = ?`).bind(world.tenant.id).all(),
    ),
  )
  const deliveries = (rows[2]?.results ?? []) as { id: string; endpoint_id: string }[]
  const attempts = await Promise.all(
    deliveries
      .filter(({ endpoint_id }) => endpoint_id === endpointId)
      .map(({ id }) => env.ENDPOINTS.getByName(`${world.tenant.id}/${endpointId}`).attempts(id)),
  )
  return JSON.stringify([rows.map(({ results }) => results), attempts])
}

describe('a secret', { timeout: 20_000 }, () => {
  it('is set, shown without its value, replaced and deleted', async () => {
    const world = await makeWorld()
    const set = await put(world, 'billing', { value: VALUE, hosts: ['API.Example.com', '*.example.org'] })
    expect(set.status).toBe(200)
    expect(set.data).toMatchObject({
      name: 'billing',
      hosts: ['api.example.com', '*.example.org'],
      description: '',
    })
    expect(Object.keys(set.data)).not.toContain('value')
    const token = world.viewer.token
    const read = await callJson<Kept>('GET', '/api/v1/secrets/billing', { token })
    expect(read.data).toEqual(set.data)
    expect(read.headers.get('ETag')).toBe('"v1"')
    expect((await callJson<Kept[]>('GET', '/api/v1/secrets', { token })).data).toEqual([set.data])
    const stale = await put(world, 'billing', { value: 'xxxx', hosts: here }, { 'If-Match': '"v7"' })
    expect(stale.status).toBe(412)
    const again = await put(
      world,
      'billing',
      { value: 'another', hosts: here, description: 'New' },
      { 'If-Match': '"v1"' },
    )
    expect(again.data).toMatchObject({ hosts: here, description: 'New', created_at: set.data.created_at })
    expect(await everything(world)).not.toContain(VALUE)
    const gone = await callJson('DELETE', '/api/v1/secrets/billing', { token: world.admin.token })
    expect(gone.status).toBe(204)
    expect((await callJson('GET', '/api/v1/secrets/billing', { token })).status).toBe(404)
    expect((await callJson('DELETE', '/api/v1/secrets/billing', { token: world.admin.token })).status).toBe(
      404,
    )
    const { results } = await env.DB.prepare(
      "select action from audit_log where tenant_id = ? and resource = 'secret' order by seq",
    )
      .bind(world.tenant.id)
      .all<{ action: string }>()
    expect(results.map(({ action }) => action)).toEqual(['secret.create', 'secret.replace', 'secret.delete'])
  })

  it('is one, however many set it at once', async () => {
    const world = await makeWorld()
    const answers = await Promise.all(
      Array.from({ length: 5 }, (_, i) => put(world, 'racing', { value: `value-${i}`, hosts: here })),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array(5).fill(200))
    const listed = await callJson<Kept[]>('GET', '/api/v1/secrets', { token: world.admin.token })
    expect(listed.data).toHaveLength(1)
  })

  it('is not set by a developer, who may only use it, and is no member’s matter at all', async () => {
    const world = await makeWorld()
    const refused = await callJson('PUT', '/api/v1/secrets/x', {
      ...{ token: world.developer.token, body: { value: 'xxxx', hosts: here } },
    })
    expect(refused.error).toMatchObject({ code: 'insufficient_scope', details: { missing: 'secrets:write' } })
    expect(scopesOf('developer')).toContain('secrets:use')
    expect(scopesOf('member')).not.toContain('secrets:use')
  })

  it.each([
    ['no value', { hosts: here }, 'value'],
    ['an empty value', { value: '', hosts: here }, 'value'],
    ['a value of three characters', { value: 'abc', hosts: here }, 'value'],
    ['a value of two lines', { value: 'a\r\nX-B: b', hosts: here }, 'value'],
    ['a space at its end', { value: 'aaaa ', hosts: here }, 'value'],
    ['a value beyond ASCII', { value: 'schlüssel', hosts: here }, 'value'],
    ['a value that is too long', { value: 'x'.repeat(4097), hosts: here }, 'value'],
    ['no hosts', { value: 'xxxx', hosts: [] }, 'hosts'],
    ['a host with a path', { value: 'xxxx', hosts: ['a.com', 'a.com/b'] }, 'hosts.1'],
    ['a URL', { value: 'xxxx', hosts: ['https://a.com'] }, 'hosts.0'],
    ['every host', { value: 'xxxx', hosts: ['*'] }, 'hosts.0'],
    ['a whole top level', { value: 'xxxx', hosts: ['*.com'] }, 'hosts.0'],
    ['a star in the middle', { value: 'xxxx', hosts: ['a.*.com'] }, 'hosts.0'],
    ['a port', { value: 'xxxx', hosts: ['a.com:8443'] }, 'hosts.0'],
  ])('is refused with %s', async (_, body, field) => {
    const world = await makeWorld()
    const refused = await put(world, 'x', body)
    expect([refused.status, Object.keys(refused.error.details.fields ?? {})]).toEqual([422, [field]])
  })

  it('goes on as it is under another master key, which wraps the key that it is encrypted under', async () => {
    const world = await makeWorld()
    await put(world, 'billing', { value: VALUE, hosts: here })
    const { endpoint, receiver } = await connect(world, [{}], { headers: { 'X-Key': '{{secrets.billing}}' } })
    const { settings } = requestContext()
    const MASTER_KEY = 'another master key, of thirty-two characters and more'
    const kept = () =>
      env.DB.prepare(
        'select value, wrapped from secrets join data_keys using (tenant_id) where secrets.tenant_id = ?',
      )
        .bind(world.tenant.id)
        .first<{ value: string; wrapped: string }>()
    const before = await kept()
    const done = await resealAll(env as unknown as Bindings, {
      MASTER_KEY,
      MASTER_KEY_PREVIOUS: [settings.MASTER_KEY],
    })
    expect(done.resealed).toBeGreaterThan(0)
    const after = await kept()
    expect(after?.value).toBe(before?.value)
    expect(after?.wrapped).not.toBe(before?.wrapped)
    // Back again, for the tests beside this one.
    await resealAll(env as unknown as Bindings, {
      MASTER_KEY: settings.MASTER_KEY,
      MASTER_KEY_PREVIOUS: [MASTER_KEY],
    })
    await send(world)
    await settled(world, endpoint.id)
    expect((await receiver.seen())[0]?.headers['x-key']).toBe(VALUE)
  })
})

describe('a header that uses a secret', { timeout: 20_000 }, () => {
  it('is sent with it, as it is at that moment, and shown as it was written everywhere', async () => {
    const world = await makeWorld()
    await put(world, 'billing', { value: VALUE, hosts: here })
    const headers = {
      Authorization: 'Bearer {{secrets.billing}}',
      'X-Both': '{{ secrets.billing }}-{{secrets.billing}}',
    }
    const echo = (value: string) => ({ status: 200, body: `you sent Bearer ${value} and ${value}` })
    const { receiver, endpoint } = await connect(world, [echo(VALUE), echo('next-value-0123456789'), {}], {
      headers,
    })
    expect(endpoint.headers).toEqual(headers)
    const next = async (count: number) => {
      const sent = await send(world)
      const isDone = (one: { event_id: string; status: string }) =>
        one.event_id === sent && one.status === 'delivered'
      const done = await settled(world, endpoint.id, isDone)
      const seen = await receiver.seen()
      expect(seen).toHaveLength(count)
      return { sent: seen[count - 1]?.headers, attempt: done.attempts[0] }
    }
    const first = await next(1)
    expect(first.sent).toMatchObject({ authorization: `Bearer ${VALUE}`, 'x-both': `${VALUE}-${VALUE}` })
    expect(first.attempt?.request_headers).toMatchObject(headers)
    expect(JSON.stringify(first.attempt)).not.toContain(VALUE)
    // The endpoint itself does not change.
    await put(world, 'billing', { value: 'next-value-0123456789', hosts: here })
    const second = await next(2)
    expect(second.sent).toMatchObject({ authorization: 'Bearer next-value-0123456789' })
    const all = await everything(world, endpoint.id)
    expect(all).not.toContain(VALUE)
    expect(all).not.toContain('next-value-0123456789')
    const tested = await callJson<TestResult>('POST', `/api/v1/webhooks/${endpoint.id}/test`, {
      ...{ token: world.developer.token, body: {} },
    })
    expect(tested.data.attempt.request_headers).toMatchObject(headers)
    expect((await receiver.seen())[2]?.headers.authorization).toBe('Bearer next-value-0123456789')
  })

  it('is shown by no answer that quotes it without what stands around it, or however short it is', async () => {
    const world = await makeWorld()
    await put(world, 'billing', { value: VALUE, hosts: here })
    await put(world, 'pin', { value: '4711', hosts: here })
    // What stands between them in the header stands in one of them too.
    await put(world, 'left', { value: 'le-ft', hosts: here })
    await put(world, 'right', { value: 'ri-ght', hosts: here })
    const answers = { status: 200, body: `the Bearer of ${VALUE} has 4711, not 47110; le-ft, ri-ght` }
    const headers = {
      'X-Key': 'v1:{{secrets.billing}};',
      'X-Both': '{{secrets.left}}-{{secrets.right}}',
      Authorization: 'Bearer {{secrets.pin}}',
    }
    const { endpoint } = await connect(world, [answers], { headers })
    await send(world)
    const { attempts } = await settled(world, endpoint.id)
    expect(attempts[0]?.response_body).toBe(
      'the Bearer of ******** has ********, not 47110; ********, ********',
    )
  })

  it('is not sent where the secret is gone, or may no longer go there; and is when that is set right', async () => {
    const world = await makeWorld()
    await put(world, 'billing', { value: VALUE, hosts: here })
    const { receiver, endpoint } = await connect(world, [{}], { headers: { 'X-Key': '{{secrets.billing}}' } })
    await callJson('DELETE', '/api/v1/secrets/billing', { token: world.admin.token })
    await send(world)
    const failed = await settled(world, endpoint.id)
    expect(failed).toMatchObject({ status: 'pending', attempt_count: 1 })
    expect(failed.attempts[0]?.error).toMatch(
      /^secret: .*\{\{secrets\.billing\}\}, which is not there: set it with PUT/,
    )
    expect(failed.attempts[0]?.response_status).toBe(null)
    await put(world, 'billing', { value: VALUE, hosts: ['elsewhere.example'] })
    const again = (id: string) =>
      callJson('POST', `/api/v1/deliveries/${id}/retry`, { token: world.developer.token })
    await again(failed.id)
    const elsewhere = await settled(world, endpoint.id, ({ attempt_count }) => attempt_count === 2)
    expect(elsewhere.attempts[1]?.error).toMatch(/^secret: .* may not go to 127\.0\.0\.1/)
    expect(await receiver.seen()).toEqual([])
    await put(world, 'billing', { value: VALUE, hosts: here })
    await again(failed.id)
    await settled(world, endpoint.id, ({ status }) => status === 'delivered')
    expect((await receiver.seen())[0]?.headers['x-key']).toBe(VALUE)
  })

  it('is refused where there is no such secret, where it may not go there, and to who may not use it', async () => {
    const world = await makeWorld()
    await put(world, 'billing', { value: VALUE, hosts: ['*.example.com'] })
    const { id } = await makeEndpoint(world, { url: 'https://example.org/' })
    const fields = async (body: unknown) => (await patch(world, id, body)).error?.details.fields ?? {}
    expect(await fields({ headers: { 'X-Key': '{{secrets.other}}' } })).toEqual({
      'headers.X-Key': expect.stringContaining('PUT /api/v1/secrets/other'),
    })
    const headers = { 'X-Key': '{{secrets.billing}}' }
    expect(await fields({ headers })).toEqual({
      'headers.X-Key': expect.stringContaining('may not go to example.org'),
    })
    expect(await fields({ headers: { 'X-Key': '{{secrets.}}' } })).toEqual({
      'headers.X-Key': expect.stringContaining('{{secrets.name}}'),
    })
    expect((await patch(world, id, { headers, url: 'https://api.example.com/' })).status).toBe(200)
    // To another host it goes no more than a new header would.
    expect(await fields({ url: 'https://example.org/' })).toEqual({
      'headers.X-Key': expect.stringContaining('may not go to example.org'),
    })

    const scopes = scopesOf('admin').filter((scope) => scope !== 'secrets:use')
    const { key } = await insertKey(world.ctx, { name: 'no use' }, scopes, world.admin.user.id)
    const as = (body: unknown) => callJson<Endpoint>('PATCH', `/api/v1/webhooks/${id}`, { key, body })
    const refused = { code: 'insufficient_scope', details: { missing: 'secrets:use' } }
    expect((await as({ url: 'https://www.example.com/' })).error).toMatchObject(refused)
    expect((await as({ headers: { ...headers, 'X-More': 'a {{secrets.billing}}' } })).error).toMatchObject(
      refused,
    )
    const made = await callJson('POST', '/api/v1/webhooks', {
      ...{ key, body: { url: 'https://api.example.com/', event_types: ['*'], headers } },
    })
    expect(made.error).toMatchObject(refused)
    // What stands already may be sent back, and all else be changed.
    expect((await as({ headers, description: 'Changed' })).data).toMatchObject({
      headers,
      description: 'Changed',
    })
  })

  it('finds no secret of another tenant', async () => {
    const [mine, theirs] = [await makeWorld(), await makeWorld()]
    await put(theirs, 'billing', { value: VALUE, hosts: here })
    const { id } = await makeEndpoint(mine, { url: 'http://127.0.0.1:1025/' })
    const refused = await patch(mine, id, { headers: { 'X-Key': '{{secrets.billing}}' } })
    expect(refused.error.details.fields).toEqual({ 'headers.X-Key': expect.stringContaining('is not there') })
  })
})

describe('a template', () => {
  it('names its secrets and is filled with them, literally', () => {
    const text = '{{secrets.a}} {{ secrets.b-2 }} {{secrets.a}} {{other}} {{'
    expect(namesIn(text)).toEqual(['a', 'b-2'])
    expect(fill(text, (name) => `$&${name}$1`)).toBe('$&a$1 $&b-2$1 $&a$1 {{other}} {{')
    expect(refusalOfTemplate(text)).toBe(null)
    for (const wrong of [
      '{{secrets}}',
      '{{secrets.}}',
      '{{ secrets.a b }}',
      '{{secrets.a',
      '{{secrets.ü}}',
      '{{secrets.a}} {{secrets.}}',
    ])
      expect([wrong, refusalOfTemplate(wrong)]).toEqual([wrong, expect.stringContaining('{{secrets.name}}')])
  })

  it('goes to the hosts that are named, and below those with a star', () => {
    const hosts = ['a.com', '*.b.com', '127.0.0.1']
    for (const host of ['a.com', 'A.com', 'a.com.', 'x.b.com', 'x.y.b.com', '127.0.0.1'])
      expect([host, mayGoTo(hosts, host)]).toEqual([host, true])
    for (const host of ['b.com', 'xa.com', 'x.a.com', 'a.com.evil.com', 'xb.com', '127.0.0.2'])
      expect([host, mayGoTo(hosts, host)]).toEqual([host, false])
    expect(['bücher.example', 'A.com.', '[::1]', '*.B.com'].map(hostNamed)).toEqual([
      ...['xn--bcher-kva.example', 'a.com', '[::1]', '*.b.com'],
    ])
    for (const none of [
      '',
      '*',
      '*.',
      '*.com',
      'a b',
      'a/b',
      'u@a.com',
      'a.com:1',
      'a..b',
      '**.a.com',
      '%61.com',
    ])
      expect([none, hostNamed(none)]).toEqual([none, null])
  })
})
