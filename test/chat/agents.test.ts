import { env } from 'cloudflare:workers'
import { and, eq } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { auditLog } from '../../src/domains/audit/table'
import { createAgent, getAnsweringAgent } from '../../src/domains/chat/agents/service'
import { agents as table } from '../../src/domains/chat/agents/table'
import { call, callJson, makeWorld, type World } from '../world'

type Agent = Record<string, unknown> & { id: string; signing_secret: string | null }
const at = (path: string) => `${env.RECEIVER_URL}/upstream/${path}`
const SECRET = `whsec_${btoa('0123456789abcdef0123456789abcdef')}`
const PATH = '/api/v1/agents'

let world: World
beforeAll(async () => {
  world = await makeWorld()
})

const send = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
  callJson<Agent>(method, path, { token: world.developer.token, body, headers })
const make = async (body: unknown = { name: 'Echo' }) => (await send('POST', PATH, body)).data
const rowOf = (id: string) =>
  world.ctx.db
    .select()
    .from(table)
    .where(and(eq(table.tenant_id, world.tenant.id), eq(table.id, id)))
    .get()
const auditOf = (id: string) =>
  world.ctx.db
    .select()
    .from(auditLog)
    .where(and(eq(auditLog.tenant_id, world.tenant.id), eq(auditLog.resource_id, id)))
    .orderBy(auditLog.seq)
    .all()

describe('creating', () => {
  it('makes the webhook agent of the chat guide, whose body names no kind', async () => {
    const body = {
      name: 'Support Bot',
      description: 'Customer support assistant',
      webhook_url: 'https://n8n.example.com/webhook/support-bot',
      webhook_token: 'secret_token_123',
      system_prompt: 'You are a helpful customer support assistant.',
      config: { model: 'gpt-4', temperature: 0.7, max_tokens: 2000 },
    }
    const made = await send('POST', PATH, body)
    expect(made.status).toBe(201)
    expect(made.headers.get('Location')).toBe(`${PATH}/${made.data.id}`)
    expect(made.data).toEqual({
      ...body,
      id: expect.any(String),
      tenant_id: world.tenant.id,
      kind: 'webhook',
      avatar: null,
      is_active: true,
      webhook_token: '********',
      webhook_header: null,
      signing_secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/),
      base_url: null,
      api_key: null,
      idempotent: false,
      voice_id: null,
      language: null,
      greeting: null,
      tools: [],
      knowledge_base_ids: [],
      provider_agent_id: null,
      sync_status: null,
      sync_error: null,
      created_by: world.developer.user.id,
      created_at: expect.stringMatching(/Z$/),
      updated_at: expect.stringMatching(/Z$/),
    })
    const read = await send('GET', `${PATH}/${made.data.id}`)
    expect(read.data).toEqual({ ...made.data, signing_secret: '********' })
    expect(read.headers.get('ETag')).toBe('"v1"')
    expect(await getAnsweringAgent(world.ctx, made.data.id)).toMatchObject({
      kind: 'webhook',
      is_active: true,
      version: 1,
      webhook_token: 'secret_token_123',
      signing_secret: made.data.signing_secret,
      api_key: null,
    })
  })

  it('makes an echo of a name alone, and an openai agent with OpenAI’s own address', async () => {
    expect(await make()).toMatchObject({ kind: 'echo', signing_secret: null, config: {}, description: null })
    expect(
      await make({ name: 'GPT', kind: 'openai', api_key: 'sk-1', config: { model: 'gpt-5' } }),
    ).toMatchObject({
      kind: 'openai',
      base_url: 'https://api.openai.com/v1',
      api_key: '********',
      signing_secret: null,
    })
  })

  it('keeps secrets sealed, also in the audit log and in a stored answer', async () => {
    const headers = { 'X-Idempotency-Key': crypto.randomUUID() }
    const body = { name: 'S', webhook_url: at('sse'), webhook_token: 'tok-secret', signing_secret: SECRET }
    const first = await send('POST', PATH, body, headers)
    const again = await send('POST', PATH, body, headers)
    expect(again.headers.get('Idempotency-Replayed')).toBe('true')
    expect(again.data).toEqual(first.data)
    expect(again.data.signing_secret).toBe(SECRET)
    const kept = JSON.stringify([
      await rowOf(first.data.id),
      await auditOf(first.data.id),
      await env.DB.prepare('select * from idempotency_keys where tenant_id = ?').bind(world.tenant.id).all(),
    ])
    expect(kept).toContain(first.data.id)
    expect(kept).not.toContain('tok-secret')
    expect(kept).not.toContain(SECRET)
  })

  it('makes a workers_ai agent where the service has Workers AI, and says so where it has none', async () => {
    const body = { name: 'Llama', kind: 'workers_ai', config: { model: '@cf/meta/llama' }, idempotent: true }
    const refused = await send('POST', PATH, body)
    expect(refused).toMatchObject({ status: 409, error: { code: 'workers_ai_not_bound' } })
    const AI = { run: async () => ({ response: 'Hi' }) }
    const ctx = { ...world.ctx, env: { ...world.ctx.env, AI } }
    const { id } = await createAgent(ctx, body as Parameters<typeof createAgent>[1])
    expect((await send('GET', `${PATH}/${id}`)).data).toMatchObject({ ...body, signing_secret: null })
    // It can be changed and asked, though there is none any more.
    expect((await send('PATCH', `${PATH}/${id}`, { name: 'Old' })).status).toBe(200)
    const answer = await call('POST', `${PATH}/${id}/test`, {
      token: world.developer.token,
      body: { content: 'Hello' },
    })
    expect(await answer.text()).toContain('"code":"workers_ai_not_bound"')
    expect((await send('GET', `${PATH}?kind=workers_ai`)).data).toMatchObject([{ id }])
  })

  it('names every field that is wrong', async () => {
    const refused = async (body: unknown) => {
      const { status, error } = await send('POST', PATH, body)
      expect(status, JSON.stringify(body)).toBe(422)
      return Object.keys(error.details.fields ?? {}).sort()
    }
    expect(await refused({})).toEqual(['name'])
    expect(await refused({ name: ' ', kind: 'telepathy', is_active: 'yes', colour: 1 })).toEqual([
      'colour',
      'is_active',
      'kind',
      'name',
    ])
    expect(await refused({ name: 'x', kind: 'workers_ai' })).toEqual(['config.model'])
    expect(await refused({ name: 'x', kind: 'webhook' })).toEqual(['webhook_url'])
    expect(await refused({ name: 'x', kind: 'openai' })).toEqual(['config.model'])
    expect(
      await refused({ name: 'x', kind: 'echo', webhook_url: at('sse'), api_key: 'k', idempotent: true }),
    ).toEqual(['api_key', 'idempotent', 'webhook_url'])
    expect(await refused({ name: 'x', config: { temperature: 3, max_tokens: 0 } })).toEqual([
      'config.max_tokens',
      'config.temperature',
    ])
    expect(await refused({ name: 'x', config: { big: 'x'.repeat(17_000) } })).toEqual(['config'])
    const hook = { name: 'x', webhook_url: at('sse') }
    expect(
      await refused({
        ...hook,
        webhook_token: 'a\nb',
        webhook_header: 'Host',
        signing_secret: 'whsec_short',
      }),
    ).toEqual(['signing_secret', 'webhook_header', 'webhook_token'])
    expect(await refused({ ...hook, webhook_token: '********' })).toEqual(['webhook_token'])
    expect(await refused({ ...hook, webhook_header: 'webhook-signature' })).toEqual(['webhook_header'])
    expect(await refused({ ...hook, webhook_header: 'X Key' })).toEqual(['webhook_header'])
  })

  it('refuses addresses that must not be called', async () => {
    for (const url of [
      'http://169.254.169.254/latest/meta-data/',
      'http://metadata.google.internal/',
      'http://[::ffff:169.254.169.254]/',
      'http://localhost:8787/api/v1/agents',
      'http://127.0.0.1:6379/',
      'https://user:pass@example.com/',
      'file:///etc/passwd',
      'not a url',
    ]) {
      const { status, error } = await send('POST', PATH, { name: 'x', webhook_url: url })
      expect(status, url).toBe(422)
      expect(error.details.fields?.webhook_url, url).toMatch(/^must /)
      const openai = { name: 'x', kind: 'openai', config: { model: 'm' }, base_url: url }
      expect((await send('POST', PATH, openai)).error.details.fields?.base_url, url).toMatch(/^must /)
    }
    expect((await send('GET', `${PATH}?q=not-made`)).data).toEqual([])
  })
})

describe('changing', () => {
  it('merges, by PATCH as by PUT, with a version as its condition', async () => {
    const agent = await make({ name: 'A', webhook_url: at('sse'), description: 'one' })
    for (const [method, name, version] of [
      ['PUT', 'B', 2],
      ['PATCH', 'C', 3],
    ] as const) {
      const changed = await send(method, `${PATH}/${agent.id}`, { name, is_active: false })
      expect(changed.status).toBe(200)
      expect(changed.data).toMatchObject({
        name,
        is_active: false,
        description: 'one',
        webhook_url: at('sse'),
      })
      expect(changed.headers.get('ETag')).toBe(`"v${version}"`)
    }
    const stale = await send('PATCH', `${PATH}/${agent.id}`, { name: 'D' }, { 'If-Match': '"v1"' })
    expect(stale).toMatchObject({ status: 412, error: { code: 'precondition_failed' } })
    expect(
      (await send('PATCH', `${PATH}/${agent.id}`, { description: null }, { 'If-Match': '"v3"' })).data,
    ).toMatchObject({
      name: 'C',
      description: null,
    })
    expect(
      (await auditOf(agent.id)).map(({ action, before, after }) => [action, before, after]).slice(1),
    ).toEqual([
      ['agent.update', { name: 'A', is_active: true }, { name: 'B', is_active: false }],
      ['agent.update', { name: 'B' }, { name: 'C' }],
      ['agent.update', { description: 'one' }, { description: null }],
    ])
  })

  it('leaves a secret that comes back masked, replaces one that is sent, empties one that is null', async () => {
    const agent = await make({
      name: 'A',
      webhook_url: at('sse'),
      webhook_token: 'one',
      webhook_header: 'X-Key',
    })
    const opened = async () => getAnsweringAgent(world.ctx, agent.id)
    await send('PUT', `${PATH}/${agent.id}`, { webhook_token: '********', signing_secret: '********' })
    expect(await opened()).toMatchObject({ webhook_token: 'one', signing_secret: agent.signing_secret })
    const answer = await send('PATCH', `${PATH}/${agent.id}`, {
      webhook_token: 'two',
      signing_secret: SECRET,
    })
    expect(answer.data).toMatchObject({ webhook_token: '********', signing_secret: '********' })
    expect(await opened()).toMatchObject({ webhook_token: 'two', signing_secret: SECRET })
    await send('PATCH', `${PATH}/${agent.id}`, { webhook_token: null, webhook_header: null })
    expect(await opened()).toMatchObject({
      webhook_token: null,
      webhook_header: null,
      signing_secret: SECRET,
    })
    expect((await send('GET', `${PATH}/${agent.id}`)).data.webhook_token).toBeNull()
    const none = await send('PATCH', `${PATH}/${agent.id}`, { webhook_token: '********' })
    expect(none.error.details.fields).toHaveProperty('webhook_token')
  })

  it('does not lead a kept secret to another host', async () => {
    const agent = await make({ name: 'A', webhook_url: 'https://a.example.com/x', webhook_token: 'one' })
    const path = `${PATH}/${agent.id}`
    const moved = await send('PATCH', path, {
      webhook_url: 'https://evil.example.com/x',
      webhook_token: '********',
    })
    expect(moved).toMatchObject({
      status: 422,
      error: { details: { fields: { webhook_token: expect.any(String) } } },
    })
    expect((await send('PATCH', path, { webhook_url: 'https://a.example.com/y' })).status).toBe(200)
    expect(
      (await send('PATCH', path, { webhook_url: 'https://b.example.com/', webhook_token: 'two' })).status,
    ).toBe(200)
    expect(
      (await send('PATCH', path, { webhook_url: 'https://c.example.com/', webhook_token: null })).status,
    ).toBe(200)
    expect((await send('PATCH', path, { webhook_url: 'https://d.example.com/' })).status).toBe(200)
  })

  it('refuses another kind and an address that must not be called, and changes nothing then', async () => {
    const agent = await make({ name: 'A', webhook_url: at('sse') })
    const refused = await send('PATCH', `${PATH}/${agent.id}`, {
      kind: 'echo',
      name: 'B',
      webhook_url: 'http://169.254.169.254/',
    })
    expect(Object.keys(refused.error.details.fields ?? {}).sort()).toEqual(['kind', 'webhook_url'])
    expect((await send('PATCH', `${PATH}/${agent.id}`, { kind: 'webhook', name: 'A2' })).status).toBe(200)
    expect(await rowOf(agent.id)).toMatchObject({ name: 'A2', webhook_url: at('sse'), version: 2 })
  })

  it('lets an agent be switched off whose address is no longer allowed', async () => {
    const agent = await make({ name: 'A', webhook_url: at('sse') })
    await world.ctx.db
      .update(table)
      .set({ webhook_url: 'http://169.254.169.254/' })
      .where(and(eq(table.tenant_id, world.tenant.id), eq(table.id, agent.id)))
    expect((await send('PATCH', `${PATH}/${agent.id}`, { is_active: false })).status).toBe(200)
  })
})

describe('listing', () => {
  it('goes newest first by pages, without inactive ones unless asked, by kind and words', async () => {
    world = await makeWorld()
    const names = ['Alpha support', 'Beta Sales', 'Ärger', 'Delta']
    const ids: string[] = []
    for (const name of names) ids.unshift((await make({ name, description: `The ${name}` })).id)
    const hook = await make({ name: 'Hook', webhook_url: at('sse'), is_active: false })
    const list = async (query: string) => (await send('GET', `${PATH}${query}`)).data as unknown as Agent[]
    expect((await list('')).map(({ id }) => id)).toEqual(ids)
    expect((await list('?include_inactive=true')).map(({ id }) => id)).toEqual([hook.id, ...ids])
    expect((await list('?include_inactive=true&kind=webhook')).map(({ id }) => id)).toEqual([hook.id])
    expect((await list('?q=support%20ALPHA')).map(({ name }) => name)).toEqual(['Alpha support'])
    expect((await list('?q=Ärger')).map(({ name }) => name)).toEqual(['Ärger'])
    expect(await list('?q=100%25')).toEqual([])
    const first = await send('GET', `${PATH}?limit=3`)
    const rest = await send('GET', `${PATH}?limit=3&cursor=${first.meta.next_cursor}`)
    expect([first.data, rest.data].flat().map(({ id }) => id)).toEqual(ids)
    expect(rest.meta.next_cursor).toBeNull()
    for (const query of [
      `?cursor=${first.meta.next_cursor}&kind=echo`,
      '?include_inactive=maybe',
      '?colour=1',
      '?limit=0',
    ])
      expect((await send('GET', `${PATH}${query}`)).status, query).toBe(422)
  })
})

describe('deleting', () => {
  it('removes the agent and its secrets', async () => {
    const agent = await make({ name: 'A', webhook_url: at('sse'), webhook_token: 'x' })
    expect((await send('DELETE', `${PATH}/${agent.id}`, undefined, { 'If-Match': '"v9"' })).status).toBe(412)
    expect((await send('DELETE', `${PATH}/${agent.id}`)).status).toBe(204)
    expect((await send('GET', `${PATH}/${agent.id}`)).status).toBe(404)
    expect((await send('DELETE', `${PATH}/${agent.id}`)).status).toBe(404)
    expect(await rowOf(agent.id)).toBeUndefined()
    expect(await getAnsweringAgent(world.ctx, agent.id)).toBeNull()
    expect((await auditOf(agent.id)).map(({ action }) => action)).toEqual(['agent.create', 'agent.delete'])
  })
})

describe('rights', () => {
  const routes = (id: string): [string, string, unknown?][] => [
    ['POST', PATH, { name: 'x' }],
    ['PATCH', `${PATH}/${id}`, { name: 'x' }],
    ['PUT', `${PATH}/${id}`, { name: 'x' }],
    ['DELETE', `${PATH}/${id}`],
    ['POST', `${PATH}/${id}/avatar`],
    ['POST', `${PATH}/${id}/test`, { content: 'x' }],
  ]

  it('to write are a developer’s, to read a viewer’s', async () => {
    const { id } = await make()
    for (const [method, path, body] of routes(id)) {
      expect((await call(method, path, { body })).status, `${method} ${path}`).toBe(401)
      const refused = await callJson(method, path, { body, token: world.member.token })
      expect(refused, `${method} ${path}`).toMatchObject({
        status: 403,
        error: { code: 'insufficient_scope' },
      })
    }
    for (const path of [PATH, `${PATH}/${id}`]) {
      expect((await call('GET', path, { token: world.viewer.token })).status).toBe(200)
      expect((await call('GET', path)).status).toBe(401)
    }
  })

  it('end at the tenant: another’s agent is a 404', async () => {
    const { id } = await make()
    const { token } = (await makeWorld()).admin
    for (const [method, path, body] of [
      ...routes(id).slice(1),
      ['GET', `${PATH}/${id}`] as const,
      ['GET', `${PATH}/${id}/avatar`] as const,
    ]) {
      const raw = path.endsWith('avatar') && method === 'POST' ? pictureForm() : undefined
      const answer = await callJson(method, path, { token, body, ...(raw ?? {}) })
      expect(answer, `${method} ${path}`).toMatchObject({ status: 404, error: { code: 'not_found' } })
    }
    expect(await rowOf(id)).toMatchObject({ name: 'Echo', version: 1 })
    expect((await send('GET', `${PATH}/not-an-id`)).status).toBe(422)
  })
})

function pictureForm(): { raw: string; headers: Record<string, string> } {
  const raw =
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a.gif"\r\n\r\nGIF89a;\r\n--b--\r\n'
  return {
    raw,
    headers: { 'Content-Type': 'multipart/form-data; boundary=b', 'Content-Length': String(raw.length) },
  }
}
