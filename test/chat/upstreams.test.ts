import { env } from 'cloudflare:workers'
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { upstreamOf } from '../../src/domains/chat/agents/upstreams/choose'
import { LIMITS, type Limits } from '../../src/domains/chat/agents/upstreams/limits'
import { completionsUrl } from '../../src/domains/chat/agents/upstreams/openai'
import {
  type AnsweringAgent,
  type UpstreamEvent,
  UpstreamFailure,
  type UpstreamRequest,
} from '../../src/domains/chat/agents/upstreams/upstream'
import { openRunToken } from '../../src/domains/chat/runs/token'
import { type Bindings, type Settings, settingsOf, type WorkersAi } from '../../src/env'
import type { Seen } from '../receiver/upstreams'

const bindings = env as unknown as Bindings
const settings = settingsOf(bindings)
const HELLO = 'Hi there! How can I help you?'
const SECRET = `whsec_${btoa('0123456789abcdef0123456789abcdef')}`
const at = (path: string) => `${env.RECEIVER_URL}/upstream/${path}`
const gate = (key: string, act: string, body = '') =>
  fetch(at(`gate/${key}/${act}`), { method: 'POST', body })
const requests = async (key: string) => (await fetch(at(`requests/${key}`))).json<Seen[]>()

const agentOf = (fields: Partial<AnsweringAgent>): AnsweringAgent => ({
  id: 'a1',
  kind: 'webhook',
  system_prompt: 'You are a helpful assistant.',
  config: { model: 'gpt-4', temperature: 0.7 },
  webhook_url: null,
  webhook_token: null,
  webhook_header: null,
  signing_secret: null,
  base_url: null,
  api_key: null,
  idempotent: false,
  knowledge_base_ids: [],
  ...fields,
})

const requestOf = (signal: AbortSignal, content = 'Hello, agent'): UpstreamRequest => ({
  tenant_id: 't1',
  chat_id: 'c1',
  run_id: 'r1',
  messages: [
    { role: 'user', content: 'Before', timestamp: '2025-01-01T10:00:00.000Z' },
    { role: 'assistant', content: 'Yes?', timestamp: '2025-01-01T10:00:01.000Z' },
    { role: 'user', content, timestamp: '2025-01-01T10:00:02.000Z' },
  ],
  traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
  signal,
})

type Outcome = {
  text: string
  events: UpstreamEvent[]
  code: string | null
  message: string
  retryable: boolean | null
}

type Options = {
  limits?: Partial<Limits>
  signal?: AbortSignal
  content?: string
  settings?: Settings
  ai?: WorkersAi
  /** As a chat asks: the agent may answer by callback. */
  callback?: { handedOver: boolean }
  each?: (event: UpstreamEvent) => unknown
}

async function ask(agent: AnsweringAgent, options: Options = {}): Promise<Outcome> {
  const upstream = upstreamOf(agent.kind, { ...LIMITS, ...options.limits })
  const request = {
    ...requestOf(options.signal ?? new AbortController().signal, options.content),
    ...(options.callback ? { callback: options.callback } : {}),
  }
  const events: UpstreamEvent[] = []
  let failure: UpstreamFailure | null = null
  try {
    const { AI: _, ...others } = bindings
    const bound = options.ai ? { ...others, AI: options.ai } : others
    for await (const event of upstream(agent, request, options.settings ?? settings, bound)) {
      events.push(event)
      await options.each?.(event)
    }
  } catch (error) {
    if (!(error instanceof UpstreamFailure)) throw error
    failure = error
  }
  return {
    text: events.map((event) => (event.kind === 'delta' ? event.text : '')).join(''),
    events,
    code: failure?.code ?? null,
    message: failure?.message ?? '',
    retryable: failure?.retryable ?? null,
  }
}

const hook = (path: string, fields: Partial<AnsweringAgent> = {}) =>
  agentOf({ webhook_url: at(path), ...fields })
const unique = () => crypto.randomUUID()

describe('echo', () => {
  it('answers with the message, word by word', async () => {
    const answer = await ask(agentOf({ kind: 'echo' }), { content: ' Hello  wörld,\nthis is 👋 \n' })
    expect(answer.text).toBe(' Hello  wörld,\nthis is 👋 \n')
    expect(answer.events.filter(({ kind }) => kind === 'delta')).toHaveLength(5)
    expect(answer.events.at(-1)).toEqual({ kind: 'finish', reason: 'stop' })
    for (const content of ['x', '  ', 'two  '])
      expect((await ask(agentOf({ kind: 'echo' }), { content })).text).toBe(content)
  })

  it('says a long text faster: nobody waits longer than two seconds for it', async () => {
    const started = Date.now()
    const content = 'word '.repeat(1500)
    expect((await ask(agentOf({ kind: 'echo' }), { content })).text).toBe(content)
    expect(Date.now() - started).toBeLessThan(3000)
  })

  it('stops when it is told to', async () => {
    const stop = new AbortController()
    const answer = ask(agentOf({ kind: 'echo' }), {
      signal: stop.signal,
      each: () => stop.abort(new Error('stopped')),
    })
    await expect(answer).rejects.toThrow('stopped')
  })
})

describe('webhook: what is sent', () => {
  it('is the chat guide’s body, n8n’s keys, the credential, the run and a signature', async () => {
    const key = unique()
    const agent = hook(`sse?key=${key}`, { webhook_token: 'secret_token_123', signing_secret: SECRET })
    expect((await ask(agent)).text).toBe(HELLO)
    const [seen] = await requests(key)
    expect(seen?.method).toBe('POST')
    expect(JSON.parse(seen?.body ?? '')).toEqual({
      messages: requestOf(new AbortController().signal).messages,
      system_prompt: 'You are a helpful assistant.',
      config: { model: 'gpt-4', temperature: 0.7 },
      action: 'sendMessage',
      sessionId: 'c1',
      chatInput: 'Hello, agent',
    })
    expect(seen?.headers).toMatchObject({
      authorization: 'Bearer secret_token_123',
      'content-type': 'application/json',
      'user-agent': 'Causeway-Agents/1',
      'x-causeway-run-id': 'r1',
      traceparent: requestOf(new AbortController().signal).traceparent,
      'webhook-id': 'r1',
      'accept-encoding': 'identity',
    })
    const headers = seen?.headers as Record<string, string>
    expect(new Webhook(SECRET).verify(seen?.body ?? '', headers)).toMatchObject({ action: 'sendMessage' })
  })

  it('carries the token in the header that the agent names, and nothing where there is none', async () => {
    const key = unique()
    await ask(hook(`sse?key=${key}`, { webhook_token: 'abc', webhook_header: 'X-N8N-Key' }))
    await ask(hook(`sse?key=${key}`))
    const [named, bare] = await requests(key)
    expect(named?.headers).toMatchObject({ 'x-n8n-key': 'abc' })
    expect(named?.headers).not.toHaveProperty('authorization')
    expect(bare?.headers).not.toHaveProperty('authorization')
    expect(bare?.headers).not.toHaveProperty('webhook-signature')
  })
})

describe('webhook: what is read', () => {
  it('is every form that an agent answers in', async () => {
    const forms = [
      'content',
      'output',
      'text',
      'message',
      'response',
      'answer',
      'choices',
      'array',
      'string',
      'object',
    ]
    const paths = ['sse', 'n8n', 'ollama', 'ui', 'text', ...forms.map((form) => `json?form=${form}`)]
    for (const path of paths) expect(await ask(hook(path)), path).toMatchObject({ text: HELLO, code: null })
    expect((await ask(hook('n8n?pairs=3&text=Hi%20'))).text).toBe('Hi Hi Hi ')
    expect((await ask(hook('parrot'), { content: 'say it' })).text).toBe('say it')
  })

  it('is whole, however the network cut it', async () => {
    const text = 'Héllo 👋 wörld'
    const body = btoa(
      String.fromCharCode(
        ...new TextEncoder().encode(
          `{"type":"begin"}\n{"type":"item","content":"${text}"}\n\n{"type":"end"}\n`,
        ),
      ),
    )
      .replaceAll('+', '-')
      .replaceAll('/', '_')
    for (const cut of [1, 2, 3, 5, 7, 50])
      expect((await ask(hook(`raw?cut=${cut}&body=${body}`))).text).toBe(text)
  })

  it('comes as it is said: a status before the call, each word before the next is sent', async () => {
    const key = unique()
    const said: string[] = []
    const next = ['data: {"content":"one"}\n\n', 'data: {"content":"two"}\n\n']
    const send = async () => {
      const more = next.shift()
      await gate(key, more === undefined ? 'end' : 'write', more)
    }
    const first = send()
    const answer = await ask(hook(`gate/${key}`), {
      each: (event) => {
        said.push(event.kind === 'delta' ? event.text : event.kind)
        if (event.kind === 'delta') void send()
      },
    })
    await first
    expect(answer.code).toBeNull()
    expect(said).toEqual(['status', 'one', 'two'])
  })

  it('ends with [DONE], though the connection stays open', async () => {
    const key = unique()
    const sent = gate(key, 'write', 'data: {"content":"Hi"}\n\ndata: [DONE]\n\n')
    expect(await ask(hook(`gate/${key}`))).toMatchObject({ text: 'Hi', code: null })
    await sent
    await expect.poll(async () => (await requests(key))[0]?.aborted).toBe(true)
  })
})

describe('webhook: what goes wrong', () => {
  const fails = async (path: string, code: string, fields: Partial<Outcome> = {}, options: Options = {}) => {
    const answer = await ask(hook(path), options)
    expect(answer, path).toMatchObject({ code, text: '', ...fields })
    return answer.message
  }

  it('an error status, with what its JSON says', async () => {
    expect(
      await fails('status?code=404&message=not%20registered', 'upstream_status', { retryable: false }),
    ).toBe('The agent answered 404: not registered')
    for (const [code, retryable] of [
      [400, false],
      [401, false],
      [408, true],
      [429, true],
      [500, true],
      [503, true],
    ] as const)
      await fails(`status?code=${code}`, 'upstream_status', { retryable })
    expect(await fails('nowhere', 'upstream_status')).toBe('The agent answered 404')
  })

  it('an error that quotes the credential', async () => {
    const agent = hook('status?code=401&message=bad%20token%20secret_token_123', {
      webhook_token: 'secret_token_123',
    })
    expect((await ask(agent)).message).toBe('The agent answered 401: bad token ********')
  })

  it('a redirect, which is not followed', async () => {
    const key = unique()
    expect(await fails(`redirect?key=${key}`, 'upstream_redirect', { retryable: false })).toMatch(/302/)
    expect(await requests(key)).toHaveLength(1)
  })

  it('a page, an empty body, an unknown document', async () => {
    await fails('html', 'upstream_html', { retryable: false })
    await fails('empty', 'upstream_empty')
    await fails('json?form=foo', 'upstream_error')
  })

  it('a connection that is refused or breaks, keeping what had come', async () => {
    await fails('reset', 'upstream_unreachable', { retryable: true })
    await fails('reset?after=3', 'upstream_reset', { text: 'Hi there! How', retryable: true })
    expect(await ask(agentOf({ webhook_url: 'http://127.0.0.1:1/' }))).toMatchObject({
      code: 'upstream_refused_address',
    })
    expect(await ask(agentOf({ webhook_url: 'http://127.0.0.1:1025/' }))).toMatchObject({
      code: 'upstream_unreachable',
    })
  })

  it('silence, before the answer and in the middle of it', async () => {
    const limits = { stall_ms: 80 }
    expect(await fails('silent', 'upstream_stalled', {}, { limits })).toBe(
      'The agent sent nothing for 0.08 seconds',
    )
    await fails('stall', 'upstream_stalled', {}, { limits })
    await fails('stall?after=2', 'upstream_stalled', { text: 'Hi there!' }, { limits })
  })

  it('is not silence while anything comes, but there is an end to it', async () => {
    const started = Date.now()
    const answer = await ask(hook('heartbeat'), { limits: { stall_ms: 150, total_ms: 400 } })
    expect(answer).toMatchObject({ code: 'upstream_stalled', text: '', retryable: false })
    expect(Date.now() - started).toBeGreaterThanOrEqual(395)
  })

  it('more than 4 MiB, of which what came within is kept', async () => {
    const answer = await ask(hook('huge'))
    expect(answer).toMatchObject({ code: 'upstream_too_large', retryable: false })
    expect(answer.text.length).toBeGreaterThan(4 * 1024 * 1024 - 70_000)
    expect(answer.text.length).toBeLessThanOrEqual(4 * 1024 * 1024)
  })

  it('an address that must not be called, also when it was saved before that held', async () => {
    for (const url of [
      'http://169.254.169.254/latest/',
      'http://localhost:8787/api',
      'http://127.0.0.1:6379/',
    ])
      expect(await ask(agentOf({ webhook_url: url })), url).toMatchObject({
        code: 'upstream_refused_address',
      })
    const production = { ...settings, ALLOW_PRIVATE_TARGETS: false, ENVIRONMENT: 'production' as const }
    expect(await ask(hook('sse'), { settings: production })).toMatchObject({
      code: 'upstream_refused_address',
      message: expect.stringContaining('must be https'),
    })
    const resolving = { ...settings, ALLOW_PRIVATE_TARGETS: false, DOH_URL: at('json') }
    const named = agentOf({ webhook_url: 'https://hooks.example.com/' })
    expect(await ask(named, { settings: resolving })).toMatchObject({ code: 'upstream_refused_address' })
  })
})

describe('webhook: stopping', () => {
  it('ends the call and throws the reason, in the middle of an answer', async () => {
    const key = unique()
    const stop = new AbortController()
    const answer = ask(hook(`stall?after=2&key=${key}`), {
      signal: stop.signal,
      each: (event) => event.kind === 'delta' && event.text === ' there!' && stop.abort(new Error('stopped')),
    })
    await expect(answer).rejects.toThrow('stopped')
    await expect.poll(async () => (await requests(key))[0]?.aborted).toBe(true)
  })

  it('works before the agent has answered, and before it was asked', async () => {
    const key = unique()
    const stop = new AbortController()
    setTimeout(() => stop.abort(new Error('stopped')), 50)
    await expect(ask(hook(`silent?key=${key}`), { signal: stop.signal })).rejects.toThrow('stopped')
    await expect.poll(async () => (await requests(key))[0]?.aborted).toBe(true)
    await expect(ask(hook('sse'), { signal: stop.signal })).rejects.toThrow('stopped')
  })

  it('ends the call when the reader leaves', async () => {
    const key = unique()
    const upstream = upstreamOf('webhook')
    for await (const event of upstream(
      hook(`stall?after=2&key=${key}`),
      requestOf(new AbortController().signal),
      settings,
      bindings,
    ))
      if (event.kind === 'delta') break
    await expect.poll(async () => (await requests(key))[0]?.aborted).toBe(true)
  })
})

describe('webhook: repeating', () => {
  const limits = { pauses_ms: [10, 20] }

  it('only for agents that allow it, and under the same id', async () => {
    const [key, once] = [unique(), unique()]
    const idempotent = { idempotent: true, signing_secret: SECRET }
    const answer = await ask(hook(`status?code=503&retry=2&key=${key}`, idempotent), { limits })
    expect(answer).toMatchObject({ text: HELLO, code: null })
    expect(answer.events.filter(({ kind }) => kind === 'status').slice(1)).toEqual([
      { kind: 'status', description: 'The agent answered 503: it is broken; trying again', level: 'warning' },
      { kind: 'status', description: 'The agent answered 503: it is broken; trying again', level: 'warning' },
    ])
    expect(new Set((await requests(key)).map(({ headers }) => headers['webhook-id']))).toEqual(
      new Set(['r1']),
    )
    expect(await ask(hook(`status?code=503&retry=1&key=${once}`), { limits })).toMatchObject({
      code: 'upstream_status',
    })
    expect(await requests(once)).toHaveLength(1)
  })

  it('not forever, not after a word was said, not what a repetition can’t mend', async () => {
    for (const [path, times] of [
      ['status?code=503', 3],
      ['reset?after=1', 1],
      ['status?code=404', 1],
      ['html?', 1],
    ] as const) {
      const key = unique()
      expect(
        (await ask(hook(`${path}&key=${key}`, { idempotent: true }), { limits })).code,
        path,
      ).not.toBeNull()
      expect(await requests(key), path).toHaveLength(times)
    }
  })

  it('stops in the pause', async () => {
    const stop = new AbortController()
    setTimeout(() => stop.abort(new Error('stopped')), 50)
    const answer = ask(hook('status?code=503', { idempotent: true }), {
      limits: { pauses_ms: [60_000] },
      signal: stop.signal,
    })
    await expect(answer).rejects.toThrow('stopped')
  })
})

describe('webhook: answering by callback', () => {
  it('is offered where a chat asks: the run’s token and where to post, and a 202 takes it', async () => {
    const key = unique()
    const callback = { handedOver: false }
    const run_id = crypto.randomUUID()
    const request = { ...requestOf(new AbortController().signal), run_id, callback }
    const ids = { tenant_id: crypto.randomUUID(), chat_id: crypto.randomUUID() }
    const events: UpstreamEvent[] = []
    const agent = hook(`status?code=202&key=${key}`, { webhook_token: 'abc' })
    const answer = upstreamOf('webhook')(agent, { ...request, ...ids }, settings, bindings)
    for await (const event of answer) {
      events.push(event)
      if (event.kind === 'callback') break
    }
    expect(events.map(({ kind }) => kind)).toEqual(['status', 'callback'])
    const [seen] = await requests(key)
    expect(seen?.headers).toMatchObject({
      'x-causeway-run-events': `http://localhost:8787/api/v1/runs/${run_id}/events`,
      authorization: 'Bearer abc',
    })
    const token = String(seen?.headers['x-causeway-run-token'])
    expect(await openRunToken(settings, token, run_id)).toEqual(ids)
    expect(await openRunToken(settings, token, crypto.randomUUID())).toBeNull()
    expect(token).not.toContain(ids.tenant_id)
  })

  it('is no answer elsewhere, and not a server’s of the OpenAI protocol', async () => {
    expect(await ask(hook('status?code=202'))).toMatchObject({ code: 'upstream_error', retryable: false })
    const model = agentOf({ kind: 'openai', base_url: at('status?code=202') })
    expect(await ask(model, { callback: { handedOver: false } })).toMatchObject({ text: 'it is broken' })
  })

  it('keeps the token out of what a reader is shown', async () => {
    const callback = { handedOver: false }
    const quoting = hook('quote')
    const answer = await ask(quoting, { callback })
    expect(answer.code).toBe('upstream_status')
    expect(answer.message).toBe('The agent answered 400: no run of ********')
  })
})

describe('workers_ai', () => {
  const model = (fields: Partial<AnsweringAgent> = {}) =>
    agentOf({ kind: 'workers_ai', config: { model: '@cf/meta/llama', temperature: 0.2 }, ...fields })
  const stream = (...parts: (string | object)[]) =>
    new Response(
      parts.map((part) => `data: ${typeof part === 'string' ? part : JSON.stringify(part)}\n\n`).join(''),
    ).body
  const answering = (answer: () => unknown) => {
    const calls: { model: string; input: Record<string, unknown> }[] = []
    const ai: WorkersAi = {
      run: async (name, input) => {
        calls.push({ model: name, input })
        return answer()
      },
    }
    return { ai, calls }
  }

  it('is asked to stream, and read as it says: text, usage, calls of tools', async () => {
    const { ai, calls } = answering(() =>
      stream(
        { response: 'Hi ', p: 'abcdef' },
        { response: 'there', p: 'ab' },
        { response: '', tool_calls: [{ name: 'time', arguments: { zone: 'UTC' } }] },
        { response: '', usage: { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11 } },
        '[DONE]',
      ),
    )
    const answer = await ask(model(), { ai })
    expect(answer).toMatchObject({ text: 'Hi there', code: null })
    expect(answer.events.filter(({ kind }) => kind !== 'delta')).toEqual([
      { kind: 'status', description: 'Sending request to the model…', level: 'info' },
      { kind: 'tool', id: 'call_1', name: 'time', status: 'call', arguments: { zone: 'UTC' } },
      { kind: 'usage', prompt_tokens: 9, completion_tokens: 2 },
    ])
    expect(calls).toEqual([
      {
        model: '@cf/meta/llama',
        input: {
          stream: true,
          temperature: 0.2,
          messages: [
            { role: 'system', content: 'You are a helpful assistant.' },
            { role: 'user', content: 'Before' },
            { role: 'assistant', content: 'Yes?' },
            { role: 'user', content: 'Hello, agent' },
          ],
        },
      },
    ])
  })

  it('is read also where it speaks OpenAI’s chunks, or does not stream', async () => {
    const chunk = { choices: [{ index: 0, delta: { content: 'Hi' }, finish_reason: 'length' }] }
    expect((await ask(model(), { ai: answering(() => stream(chunk, '[DONE]')).ai })).events.slice(1)).toEqual(
      [
        { kind: 'delta', text: 'Hi' },
        { kind: 'finish', reason: 'length' },
      ],
    )
    const whole = { response: 'Hi', usage: { prompt_tokens: 1, completion_tokens: 1 } }
    const { ai, calls } = answering(() => whole)
    const config = { model: 'm', stream: false }
    expect(await ask(model({ config, system_prompt: null }), { ai })).toMatchObject({
      text: 'Hi',
      code: null,
    })
    expect(calls[0]?.input.stream).toBe(false)
    expect((await ask(model(), { ai: answering(() => null).ai })).code).toBe('upstream_error')
  })

  it('says what was refused, and asks again only what a moment may mend', async () => {
    const failing = (message: string) =>
      answering(() => {
        throw new Error(message)
      })
    const limits = { pauses_ms: [1, 1] }
    const gone = failing('5007: No such model @cf/x or task')
    expect(await ask(model({ idempotent: true }), { ai: gone.ai, limits })).toMatchObject({
      code: 'upstream_error',
      message: 'Workers AI refused: 5007: No such model @cf/x or task',
      retryable: false,
    })
    expect(gone.calls).toHaveLength(1)
    const full = failing('3040: Capacity temporarily exceeded, please try again.')
    expect(await ask(model({ idempotent: true }), { ai: full.ai, limits })).toMatchObject({ retryable: true })
    expect(full.calls).toHaveLength(3)
  })

  it('ends with the run, in silence and beyond 4 MiB', async () => {
    const endless = () => new ReadableStream({ pull: () => new Promise(() => {}) })
    expect(await ask(model(), { ai: answering(endless).ai, limits: { stall_ms: 50 } })).toMatchObject({
      code: 'upstream_stalled',
    })
    for (const when of ['status', 'delta']) {
      const stop = new AbortController()
      let cancelled = false
      const open = new ReadableStream({
        pull: (controller) => controller.enqueue(new TextEncoder().encode('data: {"response":"x"}\n\n')),
        cancel: () => {
          cancelled = true
        },
      })
      const stopped = ask(model(), {
        ai: answering(() => open).ai,
        signal: stop.signal,
        each: ({ kind }) => kind === when && stop.abort(new Error('stopped')),
      })
      await expect(stopped).rejects.toThrow('stopped')
      await expect.poll(() => cancelled, { message: when }).toBe(true)
    }
    const huge = () => stream({ response: 'x'.repeat(3_000_000) }, { response: 'y'.repeat(3_000_000) })
    const answer = await ask(model(), { ai: answering(huge).ai })
    expect(answer).toMatchObject({ code: 'upstream_too_large' })
    expect(answer.text).toHaveLength(3_000_000)
  })

  it('fails clearly where the service has none', async () => {
    expect(await ask(model())).toMatchObject({ code: 'workers_ai_not_bound', retryable: false })
  })
})

describe('openai', () => {
  const model = (path = 'openai', fields: Partial<AnsweringAgent> = {}) =>
    agentOf({ kind: 'openai', base_url: at(path), api_key: 'sk-test', ...fields })

  it('asks for a stream with usage and reads it', async () => {
    const key = unique()
    const answer = await ask(model(`openai?key=${key}`))
    expect(answer).toMatchObject({ text: HELLO, code: null })
    expect(answer.events.slice(-2)).toEqual([
      { kind: 'finish', reason: 'stop' },
      { kind: 'usage', prompt_tokens: 9, completion_tokens: 7 },
    ])
    const [seen] = await requests(key)
    expect(seen?.path).toBe('/upstream/openai/chat/completions')
    expect(seen?.headers).toMatchObject({ authorization: 'Bearer sk-test', 'x-causeway-run-id': 'r1' })
    expect(JSON.parse(seen?.body ?? '')).toEqual({
      model: 'gpt-4',
      temperature: 0.7,
      stream: true,
      stream_options: { include_usage: true },
      messages: [
        { role: 'system', content: 'You are a helpful assistant.' },
        { role: 'user', content: 'Before' },
        { role: 'assistant', content: 'Yes?' },
        { role: 'user', content: 'Hello, agent' },
      ],
    })
  })

  it('reads one document where the server does not stream, and asks for it where the agent says so', async () => {
    const key = unique()
    const answer = await ask(
      model(`openai?key=${key}`, {
        config: { model: 'm', stream: false },
        system_prompt: null,
        api_key: null,
      }),
    )
    expect(answer).toMatchObject({ text: HELLO, code: null })
    expect(answer.events.slice(-2)).toEqual([
      { kind: 'usage', prompt_tokens: 9, completion_tokens: 7 },
      { kind: 'finish', reason: 'stop' },
    ])
    const [seen] = await requests(key)
    expect(JSON.parse(seen?.body ?? '')).toMatchObject({ stream: false })
    expect(JSON.parse(seen?.body ?? '')).not.toHaveProperty('stream_options')
    expect(JSON.parse(seen?.body ?? '').messages[0].role).toBe('user')
    expect(seen?.headers).not.toHaveProperty('authorization')
  })

  it('says what the server says is wrong, without the key', async () => {
    expect(await ask(model('status?code=401&message=Incorrect%20key:%20sk-test'))).toMatchObject({
      code: 'upstream_status',
      message: 'The agent answered 401: Incorrect key: ********',
    })
  })

  it('takes a base URL as OpenAI’s clients do, or the whole address', () => {
    for (const base of [
      'https://x.example/v1',
      'https://x.example/v1/',
      'https://x.example/v1/chat/completions',
    ])
      expect(completionsUrl(base)).toBe('https://x.example/v1/chat/completions')
    expect(completionsUrl('https://x.example/o?api-version=1')).toBe(
      'https://x.example/o/chat/completions?api-version=1',
    )
  })
})
