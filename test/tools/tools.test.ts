import { describe, expect, it } from 'vitest'
import { expectError } from '../http/expect-error'
import { call, callJson, makePlatformAdmin, makeWorld } from '../world'
import { keepSecret, type MadeTool, makeTool, toolOf } from './kit'

const LOOK_UP = {
  name: 'look_up',
  url: 'https://api.example.com/orders/{order_id}?lang={lang}',
  method: 'GET',
  description: 'Where an order is.',
  headers: { 'X-Team': 'support' },
  parameters: {
    type: 'object',
    properties: {
      order_id: { type: 'string', description: 'As on the invoice.' },
      lang: { type: 'string' },
      deep: { type: 'boolean' },
    },
    required: ['order_id', 'lang'],
  },
}
const SECRET = { Authorization: 'Bearer {{secrets.orders}}' }

describe('a tool', () => {
  it('is made, listed, read, changed and deleted, and each change is on record', async () => {
    const world = await makeWorld()
    const as = { token: world.developer.token }
    const tool = await toolOf(world, LOOK_UP)
    expect(tool).toMatchObject({
      ...LOOK_UP,
      tenant_id: world.tenant.id,
      created_by: world.developer.user.id,
    })
    const plain = await toolOf(world, { name: 'plain', url: 'https://api.example.com' })
    expect(plain).toMatchObject({
      ...{ description: '', method: 'POST', headers: {} },
      parameters: { type: 'object', properties: {} },
    })
    const list = async (query = '') =>
      (await callJson<MadeTool[]>('GET', `/api/v1/tools${query}`, { token: world.viewer.token })).data.map(
        ({ name }) => name,
      )
    expect(await list()).toEqual(['plain', 'look_up'])
    expect(await list('?name=look_up')).toEqual(['look_up'])
    expect(await list('?name=other')).toEqual([])
    const path = `/api/v1/tools/${tool.id}`
    const read = await callJson<MadeTool>('GET', path, { token: world.viewer.token })
    expect([read.data, read.headers.get('ETag')]).toEqual([tool, '"v1"'])
    const changed = await callJson<MadeTool>('PATCH', path, { ...as, body: { description: 'Else.' } })
    expect(changed.data).toMatchObject({ ...LOOK_UP, description: 'Else.' })
    await expectError(
      call('PATCH', path, { ...as, headers: { 'If-Match': '"v1"' }, body: { name: 'x' } }),
      'precondition_failed',
    )
    expect((await call('DELETE', path, as)).status).toBe(204)
    await expectError(call('GET', path, as), 'not_found')
    const log = await callJson<{ action: string; changes: unknown }[]>('GET', '/api/v1/audit?resource=tool', {
      token: world.admin.token,
    })
    expect(log.data.map(({ action }) => action)).toEqual([
      'tool.delete',
      'tool.update',
      'tool.create',
      'tool.create',
    ])
  })

  it('has a name that no other has', async () => {
    const world = await makeWorld()
    await toolOf(world, LOOK_UP)
    const other = await toolOf(world, { ...LOOK_UP, name: 'Look_up' })
    const { status, error } = await makeTool(world, LOOK_UP)
    expect([status, error.code, error.message]).toEqual([
      409,
      'already_exists',
      'There is a tool called look_up; take another name',
    ])
    const as = { token: world.developer.token }
    await expectError(
      call('PATCH', `/api/v1/tools/${other.id}`, { ...as, body: { name: 'look_up' } }),
      'already_exists',
    )
    await toolOf(await makeWorld(), LOOK_UP)
  })

  it('is made by developers, and read by all', async () => {
    const world = await makeWorld()
    const { error } = await makeTool(world, LOOK_UP, world.member.token)
    expect(error).toMatchObject({ code: 'insufficient_scope', details: { missing: 'tools:write' } })
  })

  it.each([
    ['a name that models can’t call it by', { name: 'look up' }, 'name', /A-Z a-z 0-9/],
    ['no URL', { url: 'orders' }, 'url', /absolute https URL/],
    ['an address that may not be called', { url: 'http://169.254.169.254/x' }, 'url', /metadata/],
    ['arguments in the host', { url: 'https://{order_id}.example.com/{lang}' }, 'url', /path and query/],
    ['a place that is half open', { url: 'https://example.com/{order_id' }, 'url', /as \{name\}/],
    ['a secret in the URL', { url: 'https://example.com/?k={{secrets.a}}' }, 'url', /send it in a header/],
    ['a fragment', { url: 'https://example.com/#x' }, 'url', /fragment/],
    ['a place that is no parameter', { url: 'https://example.com/{other}' }, 'url', /names \{other\}/],
    ['a place that may be left out', { url: 'https://example.com/{deep}' }, 'url', /required/],
    [
      'a place for a list',
      {
        parameters: {
          type: 'object',
          properties: { order_id: { type: 'array' }, lang: {} },
          required: ['order_id', 'lang'],
        },
      },
      'parameters.properties.order_id.type',
      /stands in the URL/,
    ],
    [
      'arguments without names',
      { url: 'https://e.example.com', parameters: { type: 'string' } },
      'parameters.type',
      /object/,
    ],
    [
      'a schema that is none',
      { parameters: { ...LOOK_UP.parameters, required: 'order_id' } },
      'parameters.required',
      /list of names/,
    ],
    [
      'a keyword that nobody knows',
      { parameters: { ...LOOK_UP.parameters, propertys: {} } },
      'parameters.propertys',
      /not a keyword/,
    ],
    [
      'a pattern that takes for ever',
      {
        parameters: {
          ...LOOK_UP.parameters,
          properties: { ...LOOK_UP.parameters.properties, z: { pattern: '(a+)+$' } },
        },
      },
      'parameters.properties.z.pattern',
      /./,
    ],
    [
      'a credential in clear',
      { headers: { Authorization: 'Bearer abc' } },
      'headers.Authorization',
      /secrets/,
    ],
    ['a header of the connection', { headers: { Host: 'a' } }, 'headers.Host', /connection/],
    [
      'a header of ours',
      { headers: { 'idempotency-key': 'a' } },
      'headers.idempotency-key',
      /set by the service/,
    ],
    ['a header twice', { headers: { 'X-A': 'a', 'x-a': 'b' } }, 'headers.x-a', /twice/],
    ['no template', { headers: { 'X-A': '{{secret.a}}' } }, 'headers.X-A', /\{\{secrets\.name\}\}/],
    [
      'a body that is neither JSON nor a form',
      { headers: { 'Content-Type': 'text/xml' } },
      'headers.Content-Type',
      /JSON/,
    ],
    [
      'a secret that is not there',
      { headers: SECRET },
      'headers.Authorization',
      /PUT \/api\/v1\/secrets\/orders/,
    ],
    ['a field that there is not', { timeout: 3 }, 'timeout', /./],
  ])('is refused with %s', async (_, body, field, message) => {
    const world = await makeWorld()
    const { status, error } = await makeTool(world, { ...LOOK_UP, ...body })
    expect([status, error.code]).toEqual([422, 'validation_failed'])
    expect(error.details.fields).toEqual({ [field]: expect.stringMatching(message) })
  })
})

describe('the secrets of a tool', () => {
  const url = 'https://api.example.com/orders'
  const body = { name: 'orders', url, headers: SECRET }

  it('go to their own hosts, and are used by who may use them', async () => {
    const world = await makeWorld()
    await keepSecret(world, 'orders', 's3cret-of-the-orders', ['api.example.com'])
    const tool = await toolOf(world, body)
    expect(tool.headers).toEqual(SECRET)
    const as = { token: world.developer.token }
    const path = `/api/v1/tools/${tool.id}`
    const led = await callJson('PATCH', path, { ...as, body: { url: 'https://evil.example.net' } })
    expect(led.error.details.fields).toEqual({ 'headers.Authorization': expect.stringMatching(/evil/) })
    const key = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
      token: world.admin.token,
      body: { name: 'x', scopes: ['tools:read', 'tools:write', 'agents:write'] },
    })
    const without = (method: string, at: string, sent: object) =>
      callJson<{ id: string }>(method, at, { key: key.data.key, body: sent })
    const lacking = { code: 'insufficient_scope', details: { missing: 'secrets:use' } }
    expect((await without('POST', '/api/v1/tools', { ...body, name: 'b' })).error).toMatchObject(lacking)
    expect((await without('POST', `${path}/test`, {})).error).toMatchObject(lacking)
    const headers = { 'X-Other': '{{secrets.orders}}' }
    expect((await without('PATCH', path, { headers })).error).toMatchObject(lacking)
    expect((await without('PATCH', path, { method: 'DELETE' })).error).toMatchObject(lacking)
    const agent = { name: 'With it', tools: [tool.id] }
    expect((await without('POST', '/api/v1/agents', agent)).error).toMatchObject(lacking)
    const bare = await toolOf(world, { name: 'bare', url })
    const made = await without('POST', '/api/v1/agents', { ...agent, tools: [bare.id] })
    expect(made.status).toBe(201)
    const at = `/api/v1/agents/${made.data.id}`
    expect((await without('PATCH', at, { tools: [bare.id, tool.id] })).error).toMatchObject(lacking)
    expect((await callJson('PATCH', at, { ...as, body: { tools: [bare.id, tool.id] } })).status).toBe(200)
    expect((await without('PATCH', at, { tools: [tool.id] })).status).toBe(200)
    // What was there before stays as it is.
    expect((await without('PATCH', path, { description: 'Orders.' })).status).toBe(200)
  })

  it('are not for who acts in a tenant of others', async () => {
    const world = await makeWorld()
    await keepSecret(world, 'orders', 's3cret-of-the-orders', ['api.example.com'])
    const tool = await toolOf(world, body)
    const platform = await makePlatformAdmin()
    const acting = { token: platform.token, headers: { 'X-Target-Tenant-ID': world.tenant.id } }
    const path = `/api/v1/tools/${tool.id}`
    await expectError(
      call('POST', '/api/v1/tools', { ...acting, body: { ...body, name: 'b' } }),
      'forbidden_while_acting',
    )
    await expectError(call('POST', `${path}/test`, { ...acting, body: {} }), 'forbidden_while_acting')
    await expectError(
      call('PATCH', path, { ...acting, body: { url: 'https://api.example.com/other' } }),
      'forbidden_while_acting',
    )
    await expectError(
      call('POST', '/api/v1/agents', { ...acting, body: { name: 'a', tools: [tool.id] } }),
      'forbidden_while_acting',
    )
    expect((await call('PATCH', path, { ...acting, body: { description: 'x' } })).status).toBe(200)
    expect((await call('POST', '/api/v1/tools', { ...acting, body: { name: 'b', url } })).status).toBe(201)
  })
})
