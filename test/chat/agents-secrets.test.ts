import { env } from 'cloudflare:workers'
import { and, eq } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { auditLog } from '../../src/domains/audit/table'
import { keepSecret } from '../tools/kit'
import { outputOf, ran } from '../workflows/kit'
import { call, callJson, makeWorld, type World } from '../world'
import { chatWith, Gate, textOf } from './kit'

const VALUE = 'k3y-of-the-model'
const at = (path: string) => `${env.RECEIVER_URL}/upstream/${path}`
const seen = async (key: string) =>
  (await fetch(at(`requests/${key}`))).json<{ headers: Record<string, string> }[]>()

const make = (world: World, body: object, token = world.developer.token) =>
  callJson<{ id: string; api_key: string | null }>('POST', '/api/v1/agents', {
    token,
    body: { name: 'Named', ...body },
  })
const keyOf = async (world: World, scopes: string[]) => {
  const body = { name: 'Limited', scopes }
  const made = await callJson<{ key: string }>('POST', '/api/v1/auth/api-keys', {
    ...{ token: world.admin.token, body },
  })
  return { 'X-API-Key': made.data.key }
}
const model = (key: string, more: object = {}) => ({
  ...{ kind: 'openai', base_url: at(`openai?key=${key}`), config: { model: 'm' } },
  ...{ api_key: '{{secrets.models}}', ...more },
})

describe('a credential of an agent that names a secret', { timeout: 60_000 }, () => {
  it('is sent with the secret as it is then, and never shown', async () => {
    const world = await makeWorld()
    await keepSecret(world, 'models', VALUE)
    const key = crypto.randomUUID()
    const chat = await chatWith(world, { name: 'Model', ...model(key) })
    await chat.exchange('Hello')
    await keepSecret(world, 'models', 'an0ther-of-the-model')
    await chat.exchange('And now?')
    expect((await seen(key)).map(({ headers }) => headers.authorization)).toEqual([
      `Bearer ${VALUE}`,
      'Bearer an0ther-of-the-model',
    ])
    const { token } = world.developer
    const { data } = await callJson<{ api_key: string }>('GET', `/api/v1/agents/${chat.agentId}`, { token })
    expect(data.api_key).toBe('********')
    const audit = await world.ctx.db
      .select()
      .from(auditLog)
      .where(and(eq(auditLog.tenant_id, world.tenant.id), eq(auditLog.resource_id, chat.agentId)))
    expect(audit).not.toHaveLength(0)
    expect(JSON.stringify(audit)).not.toMatch(/k3y|models/)
  })

  it('is asked for by a workflow as well, within a header of its own', async () => {
    const world = await makeWorld()
    await keepSecret(world, 'flows', VALUE)
    const key = crypto.randomUUID()
    const made = await make(world, {
      ...{ webhook_url: at(`json?key=${key}`), webhook_header: 'X-Key' },
      webhook_token: 'v1 {{secrets.flows}}',
    })
    const run = await ran(world, [{ name: 'ask', type: 'agent', agent_id: made.data.id, prompt: 'Hello' }])
    expect(outputOf(run, 'ask')).toMatchObject({ text: expect.stringContaining('Hi there!') })
    expect((await seen(key)).map(({ headers }) => headers['x-key'])).toEqual([`v1 ${VALUE}`])
  })

  it('needs secrets:use, a secret that is there, and one that may go to the host', async () => {
    const world = await makeWorld()
    await keepSecret(world, 'models', VALUE, ['api.example.com'])
    const key = crypto.randomUUID()
    const refused = async (more: object, token?: string) => (await make(world, model(key, more), token)).error
    expect((await refused({})).details.fields).toEqual({
      api_key: expect.stringContaining('may not go to 127.0.0.1'),
    })
    expect((await refused({ api_key: '{{secrets.none}}' })).details.fields).toEqual({
      api_key: expect.stringContaining('is not there'),
    })
    expect((await refused({ api_key: '{{secrets.no such}}' })).details.fields).toEqual({
      api_key: expect.stringContaining('{{secrets.name}}'),
    })
    const without = await callJson('POST', '/api/v1/agents', {
      headers: await keyOf(world, ['agents:read', 'agents:write']),
      body: { name: 'Named', ...model(key, { base_url: 'https://api.example.com/v1' }) },
    })
    expect([without.status, without.error.code]).toEqual([403, 'insufficient_scope'])
    expect(without.error.details.missing).toBe('secrets:use')
    expect(await seen(key)).toEqual([])
  })

  it('is led to no other host, and fails by its name where the secret is gone', async () => {
    const world = await makeWorld()
    const { token } = world.developer
    await keepSecret(world, 'models', VALUE)
    const key = crypto.randomUUID()
    const chat = await chatWith(world, { name: 'Model', ...model(key) })
    const path = `/api/v1/agents/${chat.agentId}`
    const moved = await callJson('PATCH', path, { token, body: { base_url: 'https://evil.example.com/v1' } })
    expect(moved.error.details.fields).toHaveProperty('api_key')
    const limited = await keyOf(world, ['agents:read', 'agents:write'])
    const elsewhere = (headers: Record<string, string>, more: object = {}) =>
      callJson('PATCH', path, { headers, body: { base_url: at('openai?key=other'), ...more } })
    expect((await elsewhere(limited)).error.details.missing).toBe('secrets:use')
    expect((await elsewhere(limited, { api_key: '********' })).status).toBe(403)
    expect((await callJson('PATCH', path, { headers: limited, body: { name: 'Renamed' } })).status).toBe(200)
    await keepSecret(world, 'models', VALUE, ['api.example.com'])
    const failure = async () =>
      (await chat.exchange('Hello')).find(({ type }) => type === 'error')?.data.message
    expect(await failure()).toContain('may not go to 127.0.0.1')
    await call('DELETE', '/api/v1/secrets/models', { token: world.admin.token })
    expect(await failure()).toBe(
      'The agent’s credential uses {{secrets.models}}, which is not there any more',
    )
    expect(await seen(key)).toEqual([])
  })

  it('is not shown where the agent quotes it, however it is cut', async () => {
    const world = await makeWorld()
    await keepSecret(world, 'flows', VALUE)
    const gate = new Gate()
    const chat = await chatWith(world, {
      name: 'Gate',
      webhook_url: gate.url,
      webhook_token: 'v1 {{secrets.flows}}',
    })
    const asked = chat.exchange('What were you sent?')
    await gate.say('I was sent v1 k3y-of', '-the-', 'model, and k3y-of-the-other. k3y')
    await gate.end()
    const events = await asked
    expect(textOf(events)).toBe('I was sent ********, and k3y-of-the-other. k3y')
    expect(JSON.stringify([events, await chat.log()])).not.toContain(VALUE)
  })

  it('is not shown where it is short and stands alone, nor are words of a credential in clear hidden', async () => {
    const world = await makeWorld()
    await keepSecret(world, 'pin', '4711')
    const gate = new Gate()
    const chat = await chatWith(world, {
      ...{ name: 'Gate', webhook_url: gate.url, webhook_token: 'Bearer {{secrets.pin}}' },
    })
    const asked = chat.exchange('What were you sent?')
    await gate.say('Bearer 47', '11: the Bearer is 47', '11', ', not B4711 nor 4711')
    await gate.say('5, but 4711')
    await gate.end()
    const events = await asked
    expect(textOf(events)).toBe('********: the Bearer is ********, not B4711 nor 47115, but ********')
  })
})
