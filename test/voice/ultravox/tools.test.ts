import { env } from 'cloudflare:workers'
import { describe, expect, it } from 'vitest'
import type { AgentRow } from '../../../src/domains/chat/agents/table'
import type { ToolRow } from '../../../src/domains/tools/table'
import { agentBody } from '../../../src/domains/voice/ultravox/template'
import { makeCallToken, openCallToken } from '../../../src/domains/voice/ultravox/token'
import { contextFor, filledIn, variablesIn } from '../../../src/domains/voice/ultravox/variables'
import type { VoiceRow } from '../../../src/domains/voice/voices/table'
import { type Bindings, settingsOf } from '../../../src/env'
import { makeReceiver } from '../../webhooks/receiver'
import { callJson, makeWorld, type World } from '../../world'
import { type Asked, askedOf, atTelnyx, type Json, makeVoice, placedCall, telnyxTells } from './kit'

const settings = settingsOf(env as unknown as Bindings)

const make = async (world: World, path: string, body: object) => {
  const made = await callJson<{ id: string }>('POST', path, { token: world.admin.token, body })
  if (made.status !== 201) throw new Error(`${path}: ${made.status} ${JSON.stringify(made.error)}`)
  return made.data.id
}

type Tool = {
  temporaryTool: {
    modelToolName: string
    http: { baseUrlPattern: string }
    staticParameters: Json[]
    dynamicParameters: Json[]
  }
}

/** A voice whose agent has a tool and a knowledge base, and a call of it. */
async function calling(answer: object = { status: 200 }) {
  const receiver = await makeReceiver(answer)
  const first = await makeVoice()
  const tool = await make(first.world, '/api/v1/tools', {
    ...{ name: 'look_up_order', description: 'Says where an order is.', url: receiver.url },
    parameters: { type: 'object', properties: { order_id: { type: 'string' } }, required: ['order_id'] },
  })
  const base = await make(first.world, '/api/v1/kb', { name: 'Returns' })
  const agent = await make(first.world, '/api/v1/agents', {
    ...{ name: 'With tools', kind: 'ultravox', tools: [tool], knowledge_base_ids: [base] },
    ...{ system_prompt: 'You call {{name}} of {{company.name}}.', greeting: 'Hello {{name}}!' },
  })
  const voice = { ...first, agent }
  const call = await placedCall(voice, { metadata: { name: 'Ada', company: { name: 'Example' } } })
  const [made] = (await askedOf(voice, 'ultravox', 'POST /api/agents')).filter(({ body }) =>
    String(body.name).includes(agent),
  )
  const [started] = await askedOf(voice, 'ultravox', 'POST /api/agents/')
  const template = made?.body.callTemplate as { selectedTools: Tool[] }
  const context = started?.body.templateContext as Record<string, unknown>
  return { voice, receiver, tool, call, started, template, context }
}

/** As Ultravox would: at the URL that it was told, with what it was told to fill in. */
const asUltravox = (tool: Tool | undefined, context: Record<string, unknown>, body: Json, key?: string) => {
  const [header] = tool?.temporaryTool.staticParameters ?? []
  const url = new URL(tool?.temporaryTool.http.baseUrlPattern ?? '')
  expect(header).toMatchObject({ location: 'PARAMETER_LOCATION_HEADER', value: '{{causeway_call_token}}' })
  return callJson<Json>('POST', url.pathname, {
    headers: {
      [String(header?.name)]: String(context.causeway_call_token),
      ...(key === undefined ? {} : { 'Idempotency-Key': key }),
    },
    body,
  })
}

describe('the tools of an agent on a call', () => {
  it('are called through us, under the token of the call', async () => {
    const { template, context, receiver, tool } = await calling()
    const [own, knowledge] = template.selectedTools
    expect(own?.temporaryTool).toMatchObject({
      modelToolName: 'look_up_order',
      dynamicParameters: [
        { name: 'order_id', location: 'PARAMETER_LOCATION_BODY', required: true, schema: { type: 'string' } },
      ],
      http: { baseUrlPattern: `http://localhost:8787/api/v1/calls/tools/${tool}` },
    })
    expect(knowledge?.temporaryTool.modelToolName).toBe('search_knowledge')
    const { status, data } = await asUltravox(own, context, { order_id: 'A-1' })
    expect([status, data.ok, data.status]).toEqual([200, true, 200])
    expect((await receiver.seen()).map(({ body }) => JSON.parse(body))).toEqual([{ order_id: 'A-1' }])
  })

  it('a model hears what it gave wrongly', async () => {
    const { template, context, receiver } = await calling()
    const { status, data } = await asUltravox(template.selectedTools[0], context, { order_id: 1 })
    expect([status, data.ok]).toEqual([200, false])
    expect(data.error).toContain('arguments.order_id')
    expect(await receiver.seen()).toEqual([])
  })

  it('what the agent knows is looked up', async () => {
    const { template, context } = await calling()
    const { status, data } = await asUltravox(template.selectedTools[1], context, { query: 'parcels' })
    expect([status, data]).toEqual([200, { results: [] }])
  })

  it('need the token of a call that goes on, of an agent that has the tool', async () => {
    const { template, context, voice, call, tool } = await calling()
    const other = await calling()
    const path = `/api/v1/calls/tools/${tool}`
    const ask = (token?: unknown) =>
      callJson('POST', path, {
        headers: token ? { 'X-Causeway-Call-Token': String(token) } : {},
        body: { order_id: 'A-1' },
      })
    for (const token of [
      undefined,
      'cct_',
      `${context.causeway_call_token}x`,
      `crt_${String(context.causeway_call_token).slice(4)}`,
    ])
      expect((await ask(token)).error.code).toBe('invalid_call_token')
    expect((await ask(other.context.causeway_call_token)).status).toBe(404)
    await telnyxTells(await atTelnyx(voice, call, { event: 'call.hangup', hangup_cause: 'timeout' }))
    const { status, error } = await asUltravox(template.selectedTools[0], context, { order_id: 'A-1' })
    expect([status, error.code]).toEqual([409, 'conflict'])
  })

  it('are called once for an idempotency key of the call', async () => {
    const { template, context, receiver, voice } = await calling({ status: 200, delay_ms: 300 })
    const [own, knowledge] = template.selectedTools
    const key = crypto.randomUUID()
    const ask = (order_id: string) => asUltravox(own, context, { order_id }, key)
    const many = await Promise.all(Array.from({ length: 10 }, () => ask('A-1')))
    const first = many.find(({ status }) => status === 200)
    for (const { status, data, error } of many)
      if (status === 200) expect(data).toEqual(first?.data)
      else expect([status, error.code]).toEqual([409, 'idempotency_in_progress'])
    const again = await ask('A-1')
    expect([again.status, again.headers.get('Idempotency-Replayed')]).toEqual([200, 'true'])
    expect(again.data).toEqual(first?.data)
    expect(await receiver.seen()).toHaveLength(1)
    expect((await ask('A-2')).error.code).toBe('idempotency_key_reused')
    // Another call has keys of its own.
    const other = await calling()
    const theirs = await asUltravox(other.template.selectedTools[0], other.context, { order_id: 'A-1' }, key)
    expect([theirs.status, theirs.headers.get('Idempotency-Replayed')]).toEqual([200, null])
    const asked = () => asUltravox(knowledge, context, { query: 'parcels' }, `${key}k`)
    expect((await asked()).headers.get('Idempotency-Replayed')).toBeNull()
    expect((await asked()).headers.get('Idempotency-Replayed')).toBe('true')
    // Its receiver knows the call again by a key that is the same after a crash.
    const keys = (await receiver.seen()).map(({ headers }) => headers['idempotency-key'])
    expect(keys).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)])
    // Who may not ask any more is given nothing again.
    await callJson('PATCH', `/api/v1/agents/${voice.agent}`, {
      token: voice.world.admin.token,
      body: { tools: [] },
    })
    expect((await ask('A-1')).error.code).toBe('not_found')
    await env.DB.prepare("update tenants set status = 'suspended' where id = ?")
      .bind(voice.world.tenant.id)
      .run()
    expect((await ask('A-1')).error.code).toBe('tenant_suspended')
  })

  it('are those of a tenant that is active', async () => {
    const { template, context, voice, receiver } = await calling()
    for (const status of ['suspended', 'cancelled']) {
      await env.DB.prepare('update tenants set status = ? where id = ?')
        .bind(status, voice.world.tenant.id)
        .run()
      for (const [tool, body] of [
        [template.selectedTools[0], { order_id: 'A-1' }],
        [template.selectedTools[1], { query: 'parcels' }],
      ] as const) {
        const answer = await asUltravox(tool, context, body)
        expect([answer.status, answer.error.code]).toEqual([403, `tenant_${status}`])
      }
    }
    expect(await receiver.seen()).toEqual([])
  })

  it('the token says nothing to who reads it, and no other secret opens as one', async () => {
    const world = await makeWorld()
    const named = { tenant_id: world.tenant.id, id: crypto.randomUUID() as string }
    const token = await makeCallToken(settings, named)
    expect(token).not.toContain(named.id)
    expect(await openCallToken(settings, token)).toEqual(named)
    const elsewhere = {
      ...settings,
      MASTER_KEY: 'another_master_key_of_the_tests_0123456789',
      MASTER_KEY_PREVIOUS: [],
    }
    expect(await openCallToken(elsewhere, token)).toBeNull()
  })
})

describe('an agent as Ultravox is told of it', () => {
  const row = {
    ...{ id: crypto.randomUUID(), name: 'Shop', system_prompt: null, language: null, greeting: null },
    ...{ config: {}, knowledge_base_ids: [crypto.randomUUID()] },
  }
  const tool = (name: string, more: object = {}) => ({
    ...{ id: crypto.randomUUID(), name, description: '', parameters: { type: 'object' }, ...more },
  })
  const templateOf = (agent: object, tools: object[] = [], voice: object | null = null, own = true) =>
    agentBody({ ...row, ...agent } as AgentRow, {
      ...{ tools: tools as ToolRow[], voice: voice as VoiceRow | null, publicUrl: 'https://api.test', own },
    }).callTemplate as Json & { selectedTools: Tool[] }
  const namesOf = (template: { selectedTools: Tool[] }) =>
    template.selectedTools.map((one) => one.temporaryTool?.modelToolName ?? one)

  it('has no two tools of one name, whatever a tenant calls its own', () => {
    const template = templateOf({}, [tool('search_knowledge'), tool('search_knowledge_2')])
    expect(namesOf(template)).toEqual(['search_knowledge', 'search_knowledge_2', 'search_knowledge_3'])
  })

  it('has the tools of its config beside its own', () => {
    const config = { selectedTools: [{ toolName: 'hangUp' }], temperature: 0.2 }
    const template = templateOf({ config, knowledge_base_ids: [] }, [tool('look_up')])
    expect(namesOf(template)).toEqual([{ toolName: 'hangUp' }, 'look_up'])
    expect(template.temperature).toBe(0.2)
  })

  it('has of its config nothing that could reach what is the operator’s, in the operator’s account', () => {
    const config = {
      ...{ temperature: 0.2, voice: 'a-private-clone', externalVoice: { elevenLabs: { voiceId: 'v-1' } } },
      ...{ callbacks: { joined: { url: 'https://elsewhere.test' } }, dataConnection: {}, model: 'another' },
      selectedTools: [
        { toolName: 'hangUp', toolId: 'x' },
        { toolId: 'of-the-operator' },
        { toolName: 'theirs' },
      ],
    }
    const template = templateOf({ config, knowledge_base_ids: [] }, [], null, false)
    expect(template).toEqual({
      ...{ recordingEnabled: true, temperature: 0.2, systemPrompt: '', firstSpeakerSettings: { user: {} } },
      selectedTools: [{ toolName: 'hangUp' }],
    })
    expect(templateOf({ config }).callbacks).toEqual(config.callbacks)
  })

  it('names nothing in its tools that a call would have to fill in', () => {
    const properties = { a: { type: 'string', description: 'As {{{causeway_call_token}}}' } }
    const said = { description: 'Says {{name}}.', parameters: { type: 'object', properties } }
    const told = JSON.stringify(templateOf({ knowledge_base_ids: [] }, [tool('look_up', said)]))
    expect(variablesIn(told)).toEqual(['causeway_call_token'])
    expect(told).toContain('Says { {name}}.')
  })

  it('speaks with one voice: its own, or that of its config', () => {
    const config = { voice: 'Mark' }
    const own = { status: 'ready', provider: 'elevenlabs', provider_voice_id: 'v-1' }
    expect(templateOf({ config }).voice).toBe('Mark')
    const template = templateOf({ config }, [], own)
    expect([template.voice, template.externalVoice]).toEqual([undefined, { elevenLabs: { voiceId: 'v-1' } }])
    expect(templateOf({ config }, [], { ...own, status: 'pending' }).voice).toBe('Mark')
  })
})

describe('names in braces', () => {
  it('are filled in from the metadata of the call', async () => {
    const { context, started } = await calling()
    expect(context).toMatchObject({ name: 'Ada', company: { name: 'Example' } })
    expect((started as Asked).body.firstSpeakerSettings).toEqual({ agent: { text: 'Hello Ada!' } })
  })

  it('are empty where there is no such value, and never more than names', () => {
    expect(variablesIn('{{a}} {{ b.c }} {{a}} {{1}} {{}} {x} {{__proto__}}')).toEqual([
      'a',
      'b.c',
      '__proto__',
    ])
    expect(filledIn('Hello {{name}}{{ missing }}!', { name: 'Ada' })).toBe('Hello Ada!')
    expect(filledIn('{{a.b}} {{list}} {{n}}', { a: { b: 'c' }, list: [1], n: 2 })).toBe('c [1] 2')
    expect(filledIn('{{toString}}{{constructor.name}}', {})).toBe('')
    const context = contextFor(['a', 'b.c', 'b.d.e', '__proto__.x', 'b'], { a: 1, b: { c: 'd' } })
    expect(JSON.parse(JSON.stringify(context))).toMatchObject({ a: '1', b: { c: 'd', d: { e: '' } } })
    expect(Object.prototype).not.toHaveProperty('x')
  })
})
