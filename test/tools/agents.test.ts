import { abortAllDurableObjects } from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { DefaultChatTransport, readUIMessageStream, type UIMessage } from 'ai'
import OpenAI from 'openai'
import { describe, expect, it } from 'vitest'
import { upstreamOf } from '../../src/domains/chat/agents/upstreams/choose'
import { LIMITS } from '../../src/domains/chat/agents/upstreams/limits'
import type { AnsweringAgent, UpstreamEvent } from '../../src/domains/chat/agents/upstreams/upstream'
import { functionsOf } from '../../src/domains/tools/for-agents'
import { type Bindings, settingsOf } from '../../src/env'
import { chatWith, EventReader, eventually, type TestChat, textOf } from '../chat/kit'
import type { Turn } from '../receiver/models'
import { outputOf, ran } from '../workflows/kit'
import { call, callJson, makeWorld, newAddress, type World } from '../world'
import { type Asked, keepSecret, Model, toolOf } from './kit'

const ORDER = {
  type: 'object',
  properties: { order_id: { type: 'string', description: 'As on the invoice.' } },
  required: ['order_id'],
}
const calling = (args: string | object, name = 'look_up', id = 'call_1') => ({
  ...{ id, name, arguments: typeof args === 'string' ? args : JSON.stringify(args) },
})
const order = (order_id: string, id = 'call_1') => calling({ order_id }, 'look_up', id)

/** A chat with a model that has the tool `look_up`, and says what is planned. */
async function chatting(
  turns: Turn[],
  more: { world?: World; config?: object; tool?: Record<string, unknown>; path?: string } = {},
): Promise<{ chat: TestChat; model: Model; world: World; toolId: string }> {
  const world = more.world ?? (await makeWorld())
  const model = await new Model().plan(...turns)
  const tool = await toolOf(world, {
    ...{ name: 'look_up', description: 'Where an order is.', parameters: ORDER },
    ...{ url: `${model.api}/orders${more.path ?? ''}`, ...more.tool },
  })
  const chat = await chatWith(world, {
    ...{ name: 'Model', kind: 'openai', base_url: model.base_url, tools: [tool.id] },
    config: { model: 'm-1', ...more.config },
  })
  return { chat, model, world, toolId: tool.id }
}

const toolsIn = (events: { type: string; data: Record<string, unknown> }[]) =>
  events.filter(({ type }) => type === 'tool').map(({ data }) => data)

/** The chat’s answer, and the tools that its log tells of. */
async function answered(chat: TestChat, content = 'Where is it?') {
  const sent = await chat.exchange(content)
  return { text: textOf(sent), end: sent.at(-1), sent, tools: toolsIn(await chat.log()) }
}

/** What the model was told of its calls in its last turn. */
const toldIn = (asked: Asked | undefined) =>
  (asked?.messages ?? []).filter(({ role }) => role === 'tool').map(({ content }) => String(content))

describe('an agent with tools', { timeout: 60_000 }, () => {
  it('has its model call them, as often as it likes, and answer with what came of it', async () => {
    const world = await makeWorld()
    await keepSecret(world, 'orders', 's3cret-of-the-orders')
    const { chat, model } = await chatting(
      [
        {
          text: 'Let me see.',
          calls: [order('A-1'), order('A-2', 'call_2')],
          usage: { prompt_tokens: 10, completion_tokens: 4 },
        },
        { calls: [order('A-3')], usage: { prompt_tokens: 30, completion_tokens: 3 } },
        { text: 'In Köln.', usage: { prompt_tokens: 50, completion_tokens: 2 } },
      ],
      { world, tool: { headers: { Authorization: 'Bearer {{secrets.orders}}' } } },
    )
    const { text, end, sent, tools } = await answered(chat)
    expect(text).toBe('Let me see.\n\nIn Köln.')
    expect(end).toMatchObject({
      type: 'done',
      data: { finish: 'stop', usage: { prompt_tokens: 90, completion_tokens: 9 } },
    })
    expect(sent.filter(({ type }) => type === 'status').map(({ data }) => data.description)).toEqual([
      'Sending request to the model…',
      ...['Calling look_up…', 'Calling look_up…', 'Calling look_up…'],
    ])
    const ids = ['call_1', 'call_2', 'call_1_2']
    const calls = tools.filter(({ status }) => status === 'call')
    expect(calls.map(({ id, name, arguments: args }) => [id, name, args])).toEqual([
      ['call_1', 'look_up', { order_id: 'A-1' }],
      ['call_2', 'look_up', { order_id: 'A-2' }],
      ['call_1_2', 'look_up', { order_id: 'A-3' }],
    ])
    const results = tools.filter(({ status }) => status === 'result')
    expect(results.map(({ id }) => id).sort()).toEqual([...ids].sort())
    expect(JSON.stringify(tools)).not.toContain('s3cret')
    const called = await model.called()
    expect(called.map(({ body }) => JSON.parse(body).order_id).sort()).toEqual(['A-1', 'A-2', 'A-3'])
    expect(called.every(({ headers }) => headers.authorization === 'Bearer s3cret-of-the-orders')).toBe(true)
    expect(new Set(called.map(({ headers }) => headers['idempotency-key'])).size).toBe(3)

    const asked = await model.seen()
    const definition = { name: 'look_up', description: 'Where an order is.', parameters: ORDER }
    expect(asked.map((one) => one.tools)).toEqual(Array(3).fill([{ type: 'function', function: definition }]))
    const last = asked[2]?.messages ?? []
    expect(last.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'tool', 'assistant', 'tool'])
    expect(last[1]).toEqual({
      ...{ role: 'assistant', content: 'Let me see.' },
      tool_calls: ['A-1', 'A-2'].map((id, i) => ({
        ...{ id: ids[i], type: 'function' },
        function: { name: 'look_up', arguments: JSON.stringify({ order_id: id }) },
      })),
    })
    expect(last[4]).toMatchObject({ content: null, tool_calls: [{ id: 'call_1_2' }] })
    const told = last.filter(({ role }) => role === 'tool')
    expect(told.map(({ tool_call_id, name }) => [tool_call_id, name])).toEqual(
      ids.map((id) => [id, 'look_up']),
    )
    const bodies = told.map(({ content }) => JSON.parse(JSON.parse(String(content)).body).order_id)
    expect(bodies).toEqual(['A-1', 'A-2', 'A-3'])
    expect(JSON.stringify(asked)).not.toContain('s3cret')
  })

  it('tells its model what is wrong with a call, and what failed', async () => {
    const { chat, model } = await chatting([
      {
        calls: [
          calling('{"order_id": 4711}', 'look_up', 'a'),
          calling('{"order_id": ', 'look_up', 'b'),
          calling('[1]', 'look_up', 'c'),
          calling({}, 'lookUp', 'd'),
          calling('', 'look_up', 'e'),
        ],
      },
      { text: 'Sorry.' },
    ])
    const { text, tools } = await answered(chat)
    expect(text).toBe('Sorry.')
    const errors = {
      a: 'it was not called, since arguments.order_id must be string',
      b: 'its arguments must be a JSON object; they were {"order_id": ',
      c: 'its arguments must be a JSON object',
      d: 'there is no tool called lookUp; there are look_up',
      e: 'it was not called, since arguments.order_id is required by the schema',
    }
    const failed = tools.filter(({ status }) => status === 'error')
    expect(Object.fromEntries(failed.map(({ id, result }) => [id, result]))).toEqual(errors)
    const [, second] = await model.seen()
    expect(toldIn(second)).toEqual(Object.values(errors).map((error) => JSON.stringify({ error })))
    // What is no JSON is not sent back as if it were some.
    const said = second?.messages[1]?.tool_calls as { function: { arguments: string } }[]
    expect(said.map((one) => one.function.arguments)).toEqual(['{"order_id":4711}', '{}', '[1]', '{}', '{}'])
    expect(await model.called()).toEqual([])

    const failing = await chatting([{ calls: [order('A-1')] }, { text: 'No.' }], { path: '?code=404' })
    const outcome = await answered(failing.chat)
    const error = 'it was answered 404: {"error":"no such order"}'
    expect(outcome.tools.at(-1)).toMatchObject({ status: 'error', result: error })
    expect(toldIn((await failing.model.seen())[1])).toEqual([JSON.stringify({ error })])
  })

  it('takes nothing of a call that could not be told of', async () => {
    const deep = `{"order_id":${'['.repeat(20_000)}${']'.repeat(20_000)}}`
    const long = 'x'.repeat(10_000)
    const { chat, model } = await chatting([
      {
        calls: [calling(deep, 'look_up', 'a'), calling({}, long, 'b'), calling({ order_id: long.repeat(9) })],
      },
      { text: 'Sorry.' },
    ])
    const { text, tools, sent } = await answered(chat)
    expect(text).toBe('Sorry.')
    const large = 'more than 64 KiB, or nested more than 32 deep'
    expect(tools.filter(({ status }) => status === 'call').map((one) => one.arguments)).toEqual([
      large,
      {},
      large,
    ])
    expect(sent.map(({ data }) => String(data.description)).filter((said) => said.length > 100)).toEqual([])
    const none = `there is no tool called ${'x'.repeat(64)}; there are look_up`
    const told = toldIn((await model.seen())[1])
    expect(told.map((one) => JSON.parse(one).error)).toEqual([
      `its arguments must be a JSON object; they were ${large}`,
      none,
      `its arguments must be a JSON object; they were ${large}`,
    ])
    expect(await model.called()).toEqual([])
  })

  it('tells its model of a tool without arguments, or a description, what servers of the protocol want', async () => {
    const parameters = { type: 'object', $schema: 'https://json-schema.org/draft/2020-12/schema' }
    const { chat, model } = await chatting([{ text: 'Hm.' }], { tool: { description: '', parameters } })
    await answered(chat)
    expect((await model.seen())[0]?.tools).toEqual([
      { type: 'function', function: { name: 'look_up', parameters: { type: 'object', properties: {} } } },
    ])
  })

  it('asks D1 for its tools no more often than for itself, and once for a call', async () => {
    const { chat } = await chatting([
      { text: 'One.' },
      { text: 'Two.' },
      { calls: [order('A-1')] },
      { text: 'In Köln.' },
    ])
    const reads = async () => {
      const asked: string[] = []
      const undo = [env.DB, env.DB.withSession()].map((d1) => {
        const prototype = Object.getPrototypeOf(d1) as { prepare: (sql: string) => unknown }
        const { prepare } = prototype
        prototype.prepare = function heard(this: unknown, sql: string) {
          if (/from "tools"/.test(sql)) asked.push(sql)
          return prepare.call(this, sql)
        }
        return () => Object.assign(prototype, { prepare })
      })
      try {
        await answered(chat)
      } finally {
        for (const one of undo) one()
      }
      return asked.length
    }
    expect([await reads(), await reads(), await reads()]).toEqual([1, 0, 1])
  })

  it('gives calls ids where the model gave none, also where it does not stream', async () => {
    const nameless = { name: 'look_up', arguments: '{"order_id":"A-1"}' }
    const { chat, model } = await chatting(
      [{ calls: [nameless, nameless] }, { calls: [nameless] }, { text: 'Here.' }],
      { config: { stream: false } },
    )
    const { text, tools } = await answered(chat)
    expect(text).toBe('Here.')
    const ids = tools.filter(({ status }) => status === 'call').map(({ id }) => id)
    expect(ids).toEqual(['call_1', 'call_2', 'call_1_2'])
    const last = (await model.seen()).at(-1)?.messages ?? []
    expect(last.filter(({ role }) => role === 'tool').map((one) => one.tool_call_id)).toEqual(ids)
    // The same call is made anew, and is another to who looks at its key.
    const keys = (await model.called()).map(({ headers }) => headers['idempotency-key'])
    expect(new Set(keys).size).toBe(3)
  })

  it('calls no more at once than there are connections, and each of them', async () => {
    const many = Array.from({ length: 18 }, (_, i) => order(`A-${i}`, `call_${i}`))
    const { chat, model } = await chatting([{ calls: many }, { text: 'All.' }])
    const { tools } = await answered(chat)
    expect(tools.filter(({ status }) => status === 'result')).toHaveLength(16)
    const [, second] = await model.seen()
    const told = toldIn(second)
    expect(told.slice(0, 16).map((one) => JSON.parse(JSON.parse(one).body).order_id)).toEqual(
      many.slice(0, 16).map((one) => JSON.parse(one.arguments).order_id),
    )
    const error = 'at most 16 tools are called at once; call it again'
    expect(told.slice(16)).toEqual([JSON.stringify({ error }), JSON.stringify({ error })])
    expect(await model.called()).toHaveLength(16)
  })

  it('ends an answer whose model never stops calling', async () => {
    const { chat, model } = await chatting([{ calls: [order('A-1')] }], {
      config: { tool_choice: 'required' },
    })
    const { end } = await answered(chat)
    expect(end).toMatchObject({
      type: 'error',
      data: { code: 'upstream_error', retryable: false, message: expect.stringMatching(/more than 8 times/) },
    })
    const asked = await model.seen()
    // It is made to call once, then free to, and at last must not.
    expect(asked.map(({ tool_choice }) => tool_choice)).toEqual(['required', ...Array(7), 'none'])
    expect(await model.called()).toHaveLength(8)
  })

  it('is stopped in the middle of a call, which is broken off', async () => {
    const { chat, model } = await chatting(
      [{ text: 'Let me see.', calls: [order('A-1')] }, { text: 'Never.' }],
      {
        path: '?hang=1',
      },
    )
    const sender = await chat.send('Where is it?')
    await eventually(async () => (await model.called()).length === 1)
    expect((await chat.stop()).data.stopped).toBe(true)
    const rest = await sender.rest()
    expect(rest.at(-1)).toMatchObject({ type: 'done', data: { finish: 'stopped' } })
    await eventually(async () => (await model.called())[0]?.left)
    expect((await chat.read()).data.messages[1]).toMatchObject({ content: 'Let me see.', status: 'stopped' })
    expect(await model.seen()).toHaveLength(1)
  })

  it('is killed in the middle of a call: the answer is interrupted, and nothing is called again', async () => {
    const { chat, model } = await chatting([{ calls: [order('A-1')] }, { text: 'Fresh.' }], {
      path: '?hang=1',
    })
    void (await chat.send('Where is it?')).rest().catch(() => {})
    await eventually(async () => (await model.called()).length === 1)
    await abortAllDurableObjects()
    expect((await chat.read()).data.messages[1]).toMatchObject({ status: 'interrupted' })
    expect(toolsIn(await chat.log()).map(({ status }) => status)).toEqual(['call'])
    expect((await answered(chat, 'Again')).text).toBe('Fresh.')
    expect(await model.called()).toHaveLength(1)
  })

  it('goes by a tool as it is, and on without one that was deleted', async () => {
    const turns = [{ text: 'One.' }, { text: 'Two.' }, { calls: [order('A-1')] }, { text: 'Three.' }]
    const { chat, model, world, toolId } = await chatting(turns)
    const as = { token: world.developer.token }
    await answered(chat)
    await callJson('PATCH', `/api/v1/tools/${toolId}`, { ...as, body: { description: 'Else.' } })
    await answered(chat, 'And now?')
    expect((await model.seen())[1]?.tools?.[0]?.function.description).toBe('Else.')
    await call('DELETE', `/api/v1/tools/${toolId}`, as)
    const agent = await callJson<{ tools: string[] }>('GET', `/api/v1/agents/${chat.agentId}`, as)
    expect(agent.data.tools).toEqual([])
    await answered(chat, 'And then?')
    expect((await model.seen())[2]).not.toHaveProperty('tools')
    expect(await model.called()).toEqual([])
  })

  it('does not call one that went after its model was told of it', async () => {
    const { model, world, toolId } = await chatting([{ text: 'Hm.' }])
    const [known] = await functionsOf(world.ctx, [toolId])
    await call('DELETE', `/api/v1/tools/${toolId}`, { token: world.developer.token })
    expect(await known?.call({ order_id: 'A-1' }, { key: 'k' })).toMatchObject({
      ...{ ok: false, error: 'there is no such tool any more' },
    })
    expect(await model.called()).toEqual([])
  })

  it('is read by the AI SDK, its calls as parts of the message', async () => {
    const { chat } = await chatting([
      { text: 'Let me see.', calls: [order('A-1')] },
      { calls: [calling('{}', 'look_up', 'b')] },
      { text: 'In Köln.' },
    ])
    const transport = new DefaultChatTransport<UIMessage>({
      api: `${chat.path}/messages?format=ui`,
      fetch: (url, init) =>
        call('POST', String(url), {
          token: chat.person.token,
          headers: Object.fromEntries(new Headers(init?.headers)),
          raw: String(init?.body),
        }),
    })
    const stream = await transport.sendMessages({
      ...{ chatId: chat.id, trigger: 'submit-message', messageId: undefined, abortSignal: undefined },
      messages: [{ id: 'm1', role: 'user', parts: [{ type: 'text', text: 'Where is it?' }] }],
    })
    let last: UIMessage | undefined
    for await (const message of readUIMessageStream({ stream })) last = message
    expect(last?.parts.filter(({ type }) => type !== 'step-start')).toMatchObject([
      { type: 'text', text: 'Let me see.' },
      { type: 'dynamic-tool', toolName: 'look_up', state: 'output-available', input: { order_id: 'A-1' } },
      {
        type: 'dynamic-tool',
        state: 'output-error',
        errorText: expect.stringMatching(/order_id is required/),
      },
      { type: 'text', text: expect.stringMatching(/^\s*In Köln\.$/) },
    ])
  })

  it('shows its calls to who tests it', async () => {
    const { chat, world } = await chatting([{ calls: [order('A-1')] }, { text: 'Here.' }])
    const path = `/api/v1/agents/${chat.agentId}/test`
    const answer = await call('POST', path, { token: world.admin.token, body: { content: 'Where?' } })
    const events = await new EventReader(answer.body).rest()
    expect(events.map(({ type }) => type)).toEqual(['status', 'status', 'tool', 'tool', 'message', 'done'])
  })
})

describe('a workflow', { timeout: 60_000 }, () => {
  it('that asks its agent again has the same calls made under the same keys', async () => {
    const turns = [
      { calls: [order('A-1')] },
      { calls: [order('A-2')] },
      { status: 503 },
      { calls: [order('A-1')] },
      { text: 'In Köln.' },
    ]
    const { chat, model, world } = await chatting(turns)
    const step = { name: 'ask', type: 'agent', agent_id: chat.agentId, prompt: 'Where?', attempts: 2 }
    const run = await ran(world, [step])
    expect(outputOf<{ text: string }>(run, 'ask').text).toBe('In Köln.')
    const keys = (await model.called()).map(({ headers }) => headers['idempotency-key'])
    expect(keys).toHaveLength(3)
    expect(keys[2]).toBe(keys[0])
    expect(keys[1]).not.toBe(keys[0])
  })
})

describe('an agent on calls', () => {
  it('has its provider told of the tools that changed, and of those that went', async () => {
    const world = await makeWorld()
    const as = { token: world.developer.token }
    const tool = await toolOf(world, { name: 'look_up', url: 'https://api.example.com', parameters: ORDER })
    const made = await callJson<{ id: string }>('POST', '/api/v1/agents', {
      ...as,
      body: { name: 'Caller', kind: 'ultravox', tools: [tool.id] },
    })
    const { id } = made.data
    // What a provider that has it all leaves; nobody is to look at it meanwhile.
    const settle = () =>
      env.DB.batch([
        env.DB.prepare("update agents set sync_status = 'synced' where id = ?").bind(id),
        env.DB.prepare(
          "update agent_syncs set asked = 1, claim = 'x', due_at = '9999' where agent_id = ?",
        ).bind(id),
      ])
    const standing = () =>
      env.DB.prepare(
        'select sync_status, tools, asked from agents join agent_syncs on agent_id = id where id = ?',
      )
        .bind(id)
        .first()
    await settle()
    await callJson('PATCH', `/api/v1/tools/${tool.id}`, { ...as, body: { url: 'https://api.example.com/b' } })
    expect(await standing()).toMatchObject({ sync_status: 'synced', asked: 1 })
    await callJson('PATCH', `/api/v1/tools/${tool.id}`, { ...as, body: { description: 'Else.' } })
    expect(await standing()).toMatchObject({ sync_status: 'pending', asked: 2 })
    await settle()
    await call('DELETE', `/api/v1/tools/${tool.id}`, as)
    expect(await standing()).toEqual({ sync_status: 'pending', asked: 2, tools: '[]' })
  })
})

describe('a client of OpenAI’s that brings tools of its own', { timeout: 30_000 }, () => {
  const weather = { type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }
  type Completion = {
    choices: {
      message: { content: string | null; tool_calls?: { function: { name: string } }[] }
      finish_reason: string
    }[]
    usage?: { total_tokens: number }
    error?: { message: string; param: string }
  }
  const complete = async (world: World, model: string, more: object = {}) => {
    const body = { model, messages: [{ role: 'user', content: 'Well?' }], ...more }
    const answer = await call('POST', '/api/v1/openai/chat/completions', { key: world.apiKey, body })
    return { status: answer.status, ...(await answer.json<Completion>()) }
  }

  it('is asked to carry out those alone; the agent’s own are carried out here', async () => {
    const { chat, model, world } = await chatting([
      { calls: [order('A-1')], usage: { prompt_tokens: 10, completion_tokens: 1 } },
      { calls: [calling({}, 'weather', 'w')], usage: { prompt_tokens: 20, completion_tokens: 2 } },
    ])
    const { choices, usage } = await complete(world, chat.agentId, { tools: [weather] })
    expect(choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: { tool_calls: [{ id: 'w', function: { name: 'weather' } }] },
    })
    expect(choices[0]?.message.tool_calls).toHaveLength(1)
    expect(usage?.total_tokens).toBe(33)
    expect((await model.seen())[0]?.tools?.map((one) => one.function.name)).toEqual(['weather', 'look_up'])
    expect(await model.called()).toHaveLength(1)
  })

  it('gets its calls where a turn has both; the agent’s own are not made for nothing', async () => {
    const { chat, model, world } = await chatting([{ calls: [order('A-1'), calling({}, 'weather', 'w')] }])
    const { choices } = await complete(world, chat.agentId, { tools: [weather] })
    expect(choices[0]?.message.tool_calls?.map((one) => one.function.name)).toEqual(['weather'])
    expect(await model.called()).toEqual([])
  })

  it('goes on with OpenAI’s own client, which carries its tools out by itself', async () => {
    const { chat, model, world } = await chatting([
      { calls: [order('A-1')] },
      { text: 'Let me look outside.', calls: [calling({ city: 'Köln' }, 'weather', 'w')] },
      { calls: [order('A-2')] },
      { text: 'It is on its way, under the sun.' },
    ])
    const client = new OpenAI({
      ...{ apiKey: world.apiKey, baseURL: 'http://localhost:8787/api/v1/openai', maxRetries: 0 },
      defaultHeaders: { 'CF-Connecting-IP': newAddress() },
      fetch: (url, init) => exports.default.fetch(new Request(url as string, init as RequestInit)),
    })
    const asked: unknown[] = []
    const carryOut = (args: unknown) => {
      asked.push(args)
      return 'sunny'
    }
    const runner = client.chat.completions.runTools({
      ...{ model: chat.agentId, stream: true, messages: [{ role: 'user', content: 'Well?' }] },
      tools: [
        {
          type: 'function',
          function: { ...weather.function, description: '', parse: JSON.parse, function: carryOut },
        },
      ],
    })
    expect(await runner.finalContent()).toBe('It is on its way, under the sun.')
    expect(asked).toEqual([{ city: 'Köln' }])
    expect(await model.called()).toHaveLength(2)
    const [, , third] = await model.seen()
    expect(third?.messages).toMatchObject([
      { role: 'user' },
      { role: 'assistant', content: 'Let me look outside.', tool_calls: [{ id: 'w' }] },
      { role: 'tool', tool_call_id: 'w', content: 'sunny' },
    ])
  })

  it('gets the answer alone where it brings none, and may not name one as the agent’s', async () => {
    const { chat, world } = await chatting([{ calls: [order('A-1')] }, { text: 'In Köln.' }])
    const { choices } = await complete(world, chat.agentId)
    expect(choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'In Köln.' } })
    expect(choices[0]?.message).not.toHaveProperty('tool_calls')
    const own = { type: 'function', function: { name: 'look_up', parameters: { type: 'object' } } }
    const refused = await complete(world, chat.agentId, { tools: [weather, own] })
    expect([refused.status, refused.error]).toMatchObject([
      422,
      { param: 'tools.1.function.name', message: expect.stringMatching(/agent’s own/) },
    ])
  })
})

describe('a model of Workers AI', () => {
  it('has its tools called in the same way', async () => {
    const world = await makeWorld()
    const model = new Model()
    const tool = await toolOf(world, { name: 'look_up', url: model.api, parameters: ORDER })
    const inputs: Asked[] = []
    const AI = {
      run: async (_: string, input: Record<string, unknown>) => {
        inputs.push(structuredClone(input) as unknown as Asked)
        return inputs.length === 1
          ? { response: '', tool_calls: [{ name: 'look_up', arguments: { order_id: 'A-1' } }] }
          : { response: 'In Köln.', usage: { prompt_tokens: 5, completion_tokens: 6 } }
      },
    }
    const agent: AnsweringAgent = {
      ...{ id: 'a1', kind: 'workers_ai', system_prompt: null, config: { model: '@cf/m' }, webhook_url: null },
      ...{ webhook_token: null, webhook_header: null, signing_secret: null, base_url: null, api_key: null },
      ...{ idempotent: false, knowledge_base_ids: [], functions: await functionsOf(world.ctx, [tool.id]) },
    }
    const request = {
      ...{ tenant_id: world.tenant.id, chat_id: 'c1', run_id: 'r1', signal: new AbortController().signal },
      messages: [{ role: 'user' as const, content: 'Where?', timestamp: '2026-01-31T10:00:00.000Z' }],
      traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
    }
    const bindings = { ...(env as unknown as Bindings), AI }
    const events: UpstreamEvent[] = []
    for await (const event of upstreamOf('workers_ai', LIMITS)(
      agent,
      request,
      settingsOf(bindings),
      bindings,
    ))
      events.push(event)
    expect(events.map(({ kind }) => kind)).toEqual(['status', 'status', 'tool', 'tool', 'delta', 'usage'])
    expect(inputs[1]?.messages.slice(1)).toMatchObject([
      { role: 'assistant', content: '', tool_calls: [{ function: { name: 'look_up' } }] },
      { role: 'tool', name: 'look_up', tool_call_id: 'call_1' },
    ])
    expect((await model.called())[0]?.headers.traceparent).toBe(request.traceparent)
  })
})
