import { env, exports } from 'cloudflare:workers'
import OpenAI, { APIError } from 'openai'
import { describe, expect, it } from 'vitest'
import { begun } from '../../src/domains/chat/openai/answer'
import { newId } from '../../src/lib/ids'
import { call, callJson, makeWorld, newAddress, type World } from '../world'
import { chatWith, eventually, Gate, gatedChat, openChat, sleep } from './kit'

// OpenAI’s own client, unchanged: a base URL, and an API key as the bearer.

function clientOf(apiKey: string, more: { headers?: Record<string, string> } = {}) {
  const requests: { headers: Headers; body: unknown }[] = []
  const client = new OpenAI({
    apiKey,
    baseURL: 'http://localhost:8787/api/v1/openai',
    maxRetries: 0,
    defaultHeaders: { 'CF-Connecting-IP': newAddress(), ...more.headers },
    fetch: async (url, init) => {
      const request = new Request(url as string, init as RequestInit)
      requests.push({ headers: request.headers, body: init?.body ? JSON.parse(String(init.body)) : null })
      return exports.default.fetch(request)
    },
  })
  return Object.assign(client, { requests })
}

async function agentIn(world: World, body: Record<string, unknown>): Promise<string> {
  const made = await callJson<{ id: string }>('POST', '/api/v1/agents', { token: world.admin.token, body })
  if (made.status !== 201) throw new Error(JSON.stringify(made.error))
  return made.data.id
}

const echo = { name: 'Echo', kind: 'echo' }
const hello = [{ role: 'user' as const, content: 'Hello, are you there?' }]

/** A model’s server that says these chunks, and remembers what it was asked. */
function modelSaying(chunks: object[], key = newId(Date.now())) {
  const said = `${chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')}data: [DONE]\n\n`
  const body = btoa(said).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
  const base_url = `${env.RECEIVER_URL}/upstream/raw?type=text/event-stream&key=${key}&body=${body}`
  const asked = async () => {
    const seen = await (await fetch(`${env.RECEIVER_URL}/upstream/requests/${key}`)).json<
      { body: string }[]
    >()
    return seen.map((one) => JSON.parse(one.body))
  }
  return { agent: { name: 'Model', kind: 'openai', base_url, config: { model: 'm-1' } }, asked }
}

const chunk = (delta: object, finish_reason: string | null = null) => ({
  choices: [{ index: 0, delta, finish_reason }],
})

const tools = [
  {
    type: 'function' as const,
    function: { name: 'weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
  },
]

const calling = [
  chunk({ role: 'assistant', content: null }),
  chunk({
    tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'weather', arguments: '' } }],
  }),
  chunk({ tool_calls: [{ index: 0, function: { arguments: '{"city":' } }] }),
  chunk({ tool_calls: [{ index: 0, function: { arguments: '"Oslo"}' } }] }),
  chunk({
    tool_calls: [
      {
        index: 1,
        id: 'call_2',
        type: 'function',
        function: { name: 'weather', arguments: '{"city":"Bergen"}' },
      },
    ],
  }),
  chunk({}, 'tool_calls'),
  { choices: [], usage: { prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 } },
]

describe('models', () => {
  it('are the agents that answer', async () => {
    const world = await makeWorld()
    const first = await agentIn(world, echo)
    const second = await agentIn(world, { ...echo, name: 'Second' })
    const off = await agentIn(world, { ...echo, name: 'Off', is_active: false })
    const client = clientOf(world.apiKey)
    const ids: string[] = []
    for await (const model of client.models.list()) ids.push(model.id)
    expect(ids).toEqual([second, first])
    const model = await client.models.retrieve(second)
    expect(model).toEqual({
      id: second,
      object: 'model',
      created: expect.any(Number),
      owned_by: 'causeway',
      name: 'Second',
    })
    expect(Math.abs(model.created - Date.now() / 1000)).toBeLessThan(60)
    for (const id of [off, crypto.randomUUID(), 'gpt-4']) {
      const error = await client.models.retrieve(id).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(OpenAI.NotFoundError)
      expect(error).toMatchObject({ code: 'model_not_found', param: 'model', type: 'invalid_request_error' })
    }
  })

  it('are all of many', async () => {
    const world = await makeWorld()
    const rows = Array.from({ length: 230 }, () => newId(Date.now()))
    const agent = await agentIn(world, echo)
    const { results } = await env.DB.prepare('select * from agents where tenant_id = ? and id = ?')
      .bind(world.tenant.id, agent)
      .all<Record<string, unknown>>()
    const names = Object.keys(results[0] ?? {})
    const insert = `insert into agents (${names.join()}) select ${names.map((name) => (name === 'id' ? '?' : name)).join()}
      from agents where tenant_id = ? and id = ?`
    await env.DB.batch(rows.map((id) => env.DB.prepare(insert).bind(id, world.tenant.id, agent)))
    const { data } = await clientOf(world.apiKey).models.list()
    expect(new Set(data.map(({ id }) => id))).toEqual(new Set([agent, ...rows]))
    expect(data).toHaveLength(231)
  })
})

describe('a completion', () => {
  it('is the agent’s whole answer', async () => {
    const world = await makeWorld()
    const model = await agentIn(world, echo)
    const answer = await clientOf(world.apiKey).chat.completions.create({ model, messages: hello })
    expect(answer).toEqual({
      id: expect.stringMatching(/^chatcmpl-[0-9a-f-]{36}$/),
      object: 'chat.completion',
      created: expect.any(Number),
      model,
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Hello, are you there?', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
    })
    const { data } = await callJson<unknown[]>('GET', '/api/v1/chats', { token: world.member.token })
    expect(data).toEqual([])
  })

  it('streams word by word', async () => {
    const world = await makeWorld()
    const model = await agentIn(world, echo)
    const stream = await clientOf(world.apiKey).chat.completions.create({
      model,
      messages: [{ role: 'user', content: 'one two "three" \u{1f980}\n' }],
      stream: true,
    })
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const one of stream) chunks.push(one)
    expect(chunks.length).toBeGreaterThan(4)
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: 'assistant', content: '', refusal: null })
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(
      'one two "three" \u{1f980}\n',
    )
    expect(chunks.at(-1)?.choices[0]).toEqual({ index: 0, delta: {}, logprobs: null, finish_reason: 'stop' })
    expect(
      new Set(chunks.map(({ id, model, created, object }) => `${id} ${model} ${created} ${object}`)).size,
    ).toBe(1)
    // Nobody asked for the tokens.
    expect(chunks.every((one) => !('usage' in one))).toBe(true)
  })

  it('is passed on to a model with what the caller wants of it, and tells the tokens', async () => {
    const world = await makeWorld()
    const { agent, asked } = modelSaying([
      chunk({ content: 'Hi' }),
      chunk({}, 'length'),
      { choices: [], usage: { prompt_tokens: 5, completion_tokens: 1 } },
    ])
    const model = await agentIn(world, {
      ...agent,
      system_prompt: 'Be brief.',
      config: { model: 'm-1', temperature: 0.1, max_tokens: 50 },
    })
    const picture = { type: 'image_url' as const, image_url: { url: 'data:image/png;base64,AA==' } }
    const messages: OpenAI.ChatCompletionMessageParam[] = [
      { role: 'developer', content: 'Be kind.' },
      { role: 'user', content: [{ type: 'text', text: 'What is this?' }, picture] },
    ]
    const client = clientOf(world.member.token)
    const answer = await client.chat.completions.create({
      model,
      messages,
      temperature: 1.5,
      max_completion_tokens: 9000,
      top_p: 0.5,
      stop: ['\n'],
      seed: 7,
      user: 'somebody',
    })
    expect(answer.usage).toEqual({ prompt_tokens: 5, completion_tokens: 1, total_tokens: 6 })
    expect(answer.choices[0]).toMatchObject({ finish_reason: 'length', message: { content: 'Hi' } })
    const [body] = await asked()
    // What the agent’s own config says stands.
    expect(body).toEqual({
      ...{ model: 'm-1', temperature: 0.1, max_tokens: 50, top_p: 0.5, stop: ['\n'], seed: 7 },
      ...{ stream: true, stream_options: { include_usage: true } },
      messages: [{ role: 'system', content: 'Be brief.' }, ...messages],
    })
    const stream = await client.chat.completions.create({
      model,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const one of stream) chunks.push(one)
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true)
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 5, completion_tokens: 1, total_tokens: 6 },
    })
  })

  it('asks the caller to use its tools, and takes what came of that', async () => {
    const world = await makeWorld()
    const { agent, asked } = modelSaying(calling)
    const model = await agentIn(world, agent)
    const client = clientOf(world.apiKey)
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Oslo or Bergen?' }]
    const answer = await client.chat.completions.create({ model, messages, tools, tool_choice: 'auto' })
    const [choice] = answer.choices
    expect(choice?.finish_reason).toBe('tool_calls')
    expect(choice?.message).toEqual({
      role: 'assistant',
      content: null,
      refusal: null,
      tool_calls: [
        { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } },
        { id: 'call_2', type: 'function', function: { name: 'weather', arguments: '{"city":"Bergen"}' } },
      ],
    })
    expect((await asked())[0]).toMatchObject({ tools, tool_choice: 'auto', messages })
    const results = (choice?.message.tool_calls ?? []).map(({ id }) => ({
      role: 'tool' as const,
      tool_call_id: id,
      content: '7 degrees',
    }))
    const next = [...messages, choice?.message as OpenAI.ChatCompletionMessageParam, ...results]
    await client.chat.completions.create({ model, messages: next, tools })
    expect((await asked())[1].messages).toEqual(next)
  })

  it('streams the calls so that the client’s own helper puts them together', async () => {
    const world = await makeWorld()
    const { agent } = modelSaying([chunk({ content: 'Let me look. ' }), ...calling])
    const model = await agentIn(world, agent)
    const stream = clientOf(world.apiKey).chat.completions.stream({
      model,
      messages: hello,
      tools,
      stream_options: { include_usage: true },
    })
    const { choices, usage } = await stream.finalChatCompletion()
    expect(choices[0]?.finish_reason).toBe('tool_calls')
    expect(choices[0]?.message.content).toBe('Let me look. ')
    expect(choices[0]?.message.tool_calls).toMatchObject([
      { id: 'call_1', function: { name: 'weather', arguments: '{"city":"Oslo"}' } },
      { id: 'call_2', function: { name: 'weather', arguments: '{"city":"Bergen"}' } },
    ])
    expect(usage).toEqual({ prompt_tokens: 11, completion_tokens: 7, total_tokens: 18 })
  })

  it('runs the client’s own tools to their end', async () => {
    const world = await makeWorld()
    const gate = new Gate()
    const model = await agentIn(world, { name: 'Agent', kind: 'webhook', webhook_url: gate.url })
    const part = (value: object) => gate.raw(`data: ${JSON.stringify(value)}\n\n`)
    const cities: string[] = []
    const weather = {
      type: 'function' as const,
      function: {
        name: 'weather',
        description: 'How warm it is.',
        parameters: { type: 'object' as const },
        parse: (text: string) => JSON.parse(text) as { city: string },
        function: ({ city }: { city: string }) => {
          cities.push(city)
          return '7 degrees'
        },
      },
    }
    const runner = clientOf(world.apiKey).chat.completions.runTools({
      model,
      messages: hello,
      tools: [weather],
    })
    await part(
      chunk({
        tool_calls: [
          {
            index: 0,
            id: 'c',
            type: 'function',
            function: { name: 'weather', arguments: '{"city":"Oslo"}' },
          },
        ],
      }),
    )
    await part(chunk({}, 'tool_calls'))
    await gate.end()
    await sleep(50)
    await gate.say('It is 7 degrees.')
    await gate.end()
    expect(await runner.finalContent()).toBe('It is 7 degrees.')
    expect(cities).toEqual(['Oslo'])
  })

  it('keeps to itself the tools that the agent uses on its own', async () => {
    const world = await makeWorld()
    const gate = new Gate()
    const model = await agentIn(world, { name: 'Agent', kind: 'webhook', webhook_url: gate.url })
    const asked = clientOf(world.apiKey).chat.completions.create({ model, messages: hello, tools })
    const part = (value: object) => gate.raw(`data: ${JSON.stringify(value)}\n\n`)
    await part({ type: 'tool-input-available', toolCallId: 'c1', toolName: 'search', input: {} })
    await part({ type: 'tool-output-available', toolCallId: 'c1', output: 'found' })
    await part({ type: 'text-delta', id: '0', delta: 'Found it.' })
    await gate.end()
    const { choices } = await asked
    expect(choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'Found it.' } })
    expect(choices[0]?.message).not.toHaveProperty('tool_calls')
  })
})

describe('a page of another origin', () => {
  it('may send whatever the client sends of itself', async () => {
    const world = await makeWorld()
    const model = await agentIn(world, echo)
    const client = clientOf(world.apiKey, { headers: { 'X-Causeway-Chat-Id': '' } })
    await client.chat.completions.create({ model, messages: hello }).catch(() => {})
    await client.chat.completions
      .stream({ model, messages: hello })
      .done()
      .catch(() => {})
    const sent = new Set(client.requests.flatMap(({ headers }) => [...headers.keys()]))
    sent.delete('cf-connecting-ip')
    expect([...sent].filter((name) => name.startsWith('x-stainless-')).length).toBeGreaterThan(7)
    const preflight = await call('OPTIONS', '/api/v1/openai/chat/completions', {
      headers: {
        Origin: 'http://localhost:5173',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': [...sent].join(','),
      },
    })
    const allowed = preflight.headers.get('Access-Control-Allow-Headers')?.toLowerCase().split(',')
    expect([...sent].filter((name) => !allowed?.includes(name))).toEqual([])
  })
})

describe('what goes wrong', () => {
  const refused = async (made: Promise<unknown>) => {
    const error = await made.catch((thrown: unknown) => thrown)
    if (!(error instanceof APIError)) throw new Error(`no refusal: ${JSON.stringify(error)}`)
    return error
  }

  it('is told by the client’s own errors', async () => {
    const world = await makeWorld()
    const model = await agentIn(world, echo)
    const other = await makeWorld()
    const foreign = await agentIn(other, echo)
    const ask = (client: OpenAI, body: object) =>
      refused(client.chat.completions.create({ model, messages: hello, ...body } as never))
    const client = clientOf(world.apiKey)
    expect(await ask(clientOf('sk-wrong'), {})).toBeInstanceOf(OpenAI.AuthenticationError)
    expect(await ask(clientOf(world.viewer.token), {})).toBeInstanceOf(OpenAI.PermissionDeniedError)
    for (const id of ['gpt-4', crypto.randomUUID(), foreign])
      expect(await ask(client, { model: id })).toMatchObject({
        status: 404,
        code: 'model_not_found',
        param: 'model',
      })
    expect(await ask(client, { messages: [] })).toMatchObject({ status: 422, param: 'messages' })
    expect(await ask(client, { messages: [{ role: 'robot', content: 'x' }] })).toMatchObject({
      param: 'messages.0.role',
      type: 'invalid_request_error',
    })
    expect(await ask(client, { n: 2 })).toMatchObject({
      param: 'n',
      message: '422 n: must be 1: an agent gives one answer',
    })
    expect(await ask(client, { temperature: 'hot' })).toMatchObject({ param: 'temperature' })
    expect(await ask(client, { tools: { weather: 1 } })).toMatchObject({ param: 'tools' })
    const off = await agentIn(world, { ...echo, is_active: false })
    expect(await ask(client, { model: off })).toMatchObject({ status: 409, code: 'agent_inactive' })
  })

  it('before the first word it is the status, streamed or not', async () => {
    const world = await makeWorld()
    const url = `${env.RECEIVER_URL}/upstream/status?code=500&message=broken`
    const model = await agentIn(world, { name: 'Agent', kind: 'webhook', webhook_url: url })
    const client = clientOf(world.apiKey)
    for (const stream of [false, true]) {
      const body = { model, messages: hello, stream }
      const error = await refused(client.chat.completions.create(body, { maxRetries: 2 }))
      expect(error).toBeInstanceOf(OpenAI.InternalServerError)
      expect(error).toMatchObject({ status: 502, code: 'upstream_failed', type: 'server_error' })
      expect(error.message).toContain('The agent answered 500: broken')
    }
    // An agent that was asked may have acted: the client does not ask it again by itself.
    expect(client.requests.length).toBe(2)
    const chat = await openChat(world, world.member, model)
    const metadata = { chat_id: chat.id }
    const own = clientOf(chat.person.token)
    await refused(own.chat.completions.create({ model, messages: hello, metadata }, { maxRetries: 2 }))
    expect((await chat.read()).data.messages.map(({ role }) => role)).toEqual(['user', 'assistant'])
  })

  it('after it, it is thrown to who reads the stream', async () => {
    const world = await makeWorld()
    const gate = new Gate()
    const model = await agentIn(world, { name: 'Agent', kind: 'webhook', webhook_url: gate.url })
    const asked = clientOf(world.apiKey).chat.completions.create({ model, messages: hello, stream: true })
    await gate.say('Half')
    const words: string[] = []
    const reading = (async () => {
      for await (const one of await asked) {
        const word = one.choices[0]?.delta.content
        if (word) words.push(word)
        if (word) await gate.reset()
      }
    })()
    expect(await refused(reading)).toMatchObject({ code: 'upstream_reset', type: 'server_error' })
    expect(words).toEqual(['Half'])
  })

  it('is nothing more once the client has gone: the agent’s call ends', async () => {
    const world = await makeWorld()
    const gate = new Gate()
    const model = await agentIn(world, { name: 'Agent', kind: 'webhook', webhook_url: gate.url })
    const body = { model, messages: hello, stream: true } as const
    const asked = clientOf(world.apiKey).chat.completions.create(body).asResponse()
    await gate.say('Half')
    const reader = (await asked).body?.getReader()
    await reader?.read()
    await reader?.cancel()
    const seen = async () => {
      const all = await fetch(`${env.RECEIVER_URL}/upstream/requests/${gate.key}`)
      if ((await all.json<{ aborted: boolean }[]>())[0]?.aborted) return true
      // That nobody is there any more shows by what is written to him; the call may have ended just now.
      await gate.say('more').catch(() => null)
      return false
    }
    expect(await eventually(seen, 50_000)).toBe(true)
  }, 60_000)
})

describe('a repeat with an idempotency key', () => {
  it('is the same answer again', async () => {
    const world = await makeWorld()
    const { agent, asked } = modelSaying([chunk({ content: 'Hi' }), chunk({}, 'stop')])
    const model = await agentIn(world, agent)
    const client = clientOf(world.apiKey)
    for (const stream of [false, true]) {
      const options = { headers: { 'Idempotency-Key': crypto.randomUUID() } }
      const before = (await asked()).length
      const answers: string[] = []
      for (let i = 0; i < 2; i++) {
        const response = await client.chat.completions
          .create({ model, messages: hello, stream }, options)
          .asResponse()
        answers.push(await response.text())
      }
      expect(answers[1]).toBe(answers[0])
      expect(await asked()).toHaveLength(before + 1)
    }
  })
})

describe('in a chat', () => {
  it('the last message is sent to it, and the chat has both', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const client = clientOf(chat.person.token)
    const messages = [
      { role: 'system' as const, content: 'Ignored: the agent has its own.' },
      { role: 'user' as const, content: 'one two' },
    ]
    const follower = await chat.follow()
    const answer = await client.chat.completions.create({
      model: chat.agentId,
      messages,
      metadata: { chat_id: chat.id },
    })
    expect(answer.choices[0]?.message.content).toBe('one two')
    await follower.until('done')
    const stream = await clientOf(chat.person.token, {
      headers: { 'X-Causeway-Chat-Id': chat.id },
    }).chat.completions.create({
      model: chat.agentId,
      messages: [{ role: 'user', content: 'three "four" \u{1f980}' }],
      stream: true,
      stream_options: { include_usage: true },
    })
    let text = ''
    const ends: unknown[] = []
    for await (const one of stream) {
      text += one.choices[0]?.delta.content ?? ''
      if (one.choices[0]?.finish_reason) ends.push(one.choices[0].finish_reason)
    }
    expect([text, ends]).toEqual(['three "four" \u{1f980}', ['stop']])
    const { data } = await chat.read()
    expect(data.messages.map(({ role, content }) => `${role}: ${content}`)).toEqual([
      ...['user: one two', 'assistant: one two'],
      ...['user: three "four" \u{1f980}', 'assistant: three "four" \u{1f980}'],
    ])
    expect(answer.id).toBe(`chatcmpl-${data.messages[1]?.run_id}`)
  })

  it('the run goes on when the client leaves, and its tokens are told at the end', async () => {
    const world = await makeWorld()
    const { agent } = modelSaying([
      chunk({ content: 'Hi' }),
      chunk({}, 'length'),
      { choices: [], usage: { prompt_tokens: 5, completion_tokens: 1 } },
    ])
    const chat = await openChat(world, world.member, await agentIn(world, agent))
    const stream = await clientOf(chat.person.token).chat.completions.create({
      model: chat.agentId,
      messages: hello,
      metadata: { chat_id: chat.id },
      stream: true,
      stream_options: { include_usage: true },
    })
    const chunks: OpenAI.ChatCompletionChunk[] = []
    for await (const one of stream) chunks.push(one)
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('length')
    expect(chunks.at(-1)?.usage).toEqual({ prompt_tokens: 5, completion_tokens: 1, total_tokens: 6 })
    const gated = await gatedChat()
    const left = await clientOf(gated.chat.person.token).chat.completions.create({
      model: gated.chat.agentId,
      messages: hello,
      metadata: { chat_id: gated.chat.id },
      stream: true,
    })
    await gated.gate.say('one ')
    for await (const one of left) if (one.choices[0]?.delta.content) break
    await gated.gate.say('two')
    await gated.gate.end()
    await sleep(100)
    expect((await gated.chat.read()).data.messages[1]).toMatchObject({
      content: 'one two',
      status: 'complete',
    })
  })

  it('the key of a repeat stands for the message', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const client = clientOf(chat.person.token)
    const body = {
      model: chat.agentId,
      messages: hello,
      metadata: { chat_id: chat.id },
      stream: true,
    } as const
    const texts: string[] = []
    for (let i = 0; i < 2; i++) {
      const options = { headers: { 'Idempotency-Key': 'again' } }
      texts.push(await (await client.chat.completions.create(body, options).asResponse()).text())
    }
    expect(texts[1]).toBe(texts[0])
    expect((await chat.read()).data.messages).toHaveLength(2)
  })

  it('a key with another chat in the header is another request', async () => {
    const chat = await chatWith(await makeWorld(), echo)
    const client = clientOf(chat.person.token)
    const ask = (header: string) =>
      client.chat.completions
        .create(
          { model: chat.agentId, messages: hello },
          { headers: { 'Idempotency-Key': 'one', 'X-Causeway-Chat-Id': header }, maxRetries: 0 },
        )
        .asResponse()
    const first = await ask(chat.id)
    expect((await ask(chat.id)).headers.get('Idempotency-Replayed')).toBe('true')
    expect(first.headers.get('Idempotency-Replayed')).toBeNull()
    await expect(ask(crypto.randomUUID())).rejects.toMatchObject({ status: 422 })
  })

  it('what does not fit it is refused, and the chat unharmed', async () => {
    const world = await makeWorld()
    const chat = await chatWith(world, echo)
    const ask = async (token: string, more: object) => {
      const body = { model: chat.agentId, messages: hello, metadata: { chat_id: chat.id }, ...more }
      const made = clientOf(token).chat.completions.create(body as never)
      return made.then(
        () => null,
        ({ status, code, param }: APIError) => ({ status, code, param }),
      )
    }
    const { token } = chat.person
    const agent = await agentIn(world, echo)
    expect(await ask(token, { model: agent })).toEqual({
      status: 422,
      code: 'validation_failed',
      param: 'model',
    })
    expect(await ask(token, { tools })).toMatchObject({ status: 422, param: 'tools' })
    expect(await ask(token, { metadata: { chat_id: 'x' } })).toMatchObject({ param: 'metadata.chat_id' })
    expect(await ask(token, { messages: [{ role: 'assistant', content: 'x' }] })).toMatchObject({
      param: 'messages.0.role',
    })
    expect(await ask(token, { messages: [{ role: 'user', content: ' ' }] })).toMatchObject({
      param: 'messages.0.content',
    })
    // To who may not enter, neither the chat nor its agent is there.
    const stranger = await makeWorld()
    for (const other of [world.developer.token, stranger.admin.token])
      expect(await ask(other, { model: agent })).toMatchObject({ status: 404, code: 'not_found' })
    expect((await chat.read()).data.messages).toEqual([])
  })
})

describe('the first word', () => {
  async function* saying(ms: number, what: string | Error): AsyncGenerator<string, void> {
    await sleep(ms)
    if (what instanceof Error) throw what
    yield what
    yield 'more'
  }
  const all = async (source: AsyncIterable<string>) => {
    const said: string[] = []
    for await (const one of source) said.push(one)
    return said
  }

  it('is waited for a while, and comes later too', async () => {
    expect(await all(await begun(saying(0, 'soon'), 1000))).toEqual(['soon', 'more'])
    const started = Date.now()
    const late = await begun(saying(300, 'late'), 20)
    expect(Date.now() - started).toBeLessThan(250)
    expect(await all(late)).toEqual(['late', 'more'])
  })

  it('may be a failure: at once, or told to who reads on', async () => {
    await expect(begun(saying(0, new Error('at once')), 1000)).rejects.toThrow('at once')
    const late = await begun(saying(100, new Error('later')), 10)
    await expect(all(late)).rejects.toThrow('later')
  })
})

type Row = {
  endpoint: string
  requests: number
  response_size_bytes: number
  answers?: { runs: number; prompt_tokens: number; completion_tokens: number }
}

it('what streams is in usage, byte by byte, of the route that was asked', async () => {
  const chat = await chatWith(await makeWorld(), echo)
  const body = { model: chat.agentId, messages: hello, stream: true } as const
  let bytes = 0
  for (const more of [{}, { metadata: { chat_id: chat.id } }]) {
    const client = clientOf(chat.person.token)
    const answer = await client.chat.completions.create({ ...body, ...more }).asResponse()
    bytes += (await answer.arrayBuffer()).byteLength
  }
  const row = await eventually(async () => {
    const { token } = chat.world.viewer
    const { data } = await callJson<Row[]>('GET', '/api/v1/usage?group_by=endpoint', { token })
    const of = (endpoint: string) => data.filter((one) => one.endpoint === endpoint)
    for (const other of of('/api/v1/chats/:id/messages'))
      expect(other).toMatchObject({ response_size_bytes: 0 })
    await sleep(400)
    const [found] = of('/api/v1/openai/chat/completions')
    return found?.response_size_bytes === bytes ? found : null
  }, 20_000)
  expect(row.requests).toBe(2)
  // The other was a run of the chat, which is counted there.
  expect(row.answers).toMatchObject({ runs: 1, time_to_first_token_ms: { p50: expect.any(Number) } })
}, 40_000)

it('what an answer costs is in usage, failed ones too', async () => {
  const world = await makeWorld()
  const { agent } = modelSaying([
    chunk({ content: 'Hi' }),
    { choices: [], usage: { prompt_tokens: 5, completion_tokens: 2 } },
  ])
  const url = `${env.RECEIVER_URL}/upstream/status?code=500`
  const client = clientOf(world.apiKey)
  const model = await agentIn(world, agent)
  await client.chat.completions.create({ model, messages: hello })
  await (await client.chat.completions.create({ model, messages: hello, stream: true }).asResponse()).text()
  const broken = await agentIn(world, { name: 'Broken', kind: 'webhook', webhook_url: url })
  await expect(client.chat.completions.create({ model: broken, messages: hello })).rejects.toThrow('502')
  const answers = await eventually(async () => {
    const { token } = world.viewer
    const { data } = await callJson<Row[]>('GET', '/api/v1/usage?group_by=endpoint', { token })
    await sleep(400)
    const rows = data.filter(({ endpoint }) => endpoint === '/api/v1/openai/chat/completions')
    const runs = rows.reduce((sum, { answers }) => sum + (answers?.runs ?? 0), 0)
    return runs === 3 ? rows.flatMap((one) => one.answers ?? []) : null
  }, 20_000)
  const sum = (name: 'prompt_tokens' | 'completion_tokens') =>
    answers.reduce((all, one) => all + one[name], 0)
  expect([sum('prompt_tokens'), sum('completion_tokens')]).toEqual([10, 4])
}, 40_000)

it('counts as a message', async () => {
  const world = await makeWorld({ rate_limits: { messages_per_minute: 2 } })
  const model = await agentIn(world, echo)
  const client = clientOf(world.apiKey)
  for (let i = 0; i < 2; i++) await client.chat.completions.create({ model, messages: hello })
  const error = await client.chat.completions
    .create({ model, messages: hello })
    .catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(OpenAI.RateLimitError)
  expect(error).toMatchObject({ code: 'rate_limit_exceeded' })
  expect((error as APIError).headers?.get('Retry-After')).toMatch(/^\d+$/)
  const listed = await call('GET', '/api/v1/openai/models', { key: world.apiKey })
  expect(listed.status).toBe(200)
})
