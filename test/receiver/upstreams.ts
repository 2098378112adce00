import { Buffer } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

// Upstreams of chats: an agent that behaves as its URL says. Everywhere `?key=…` remembers the request, to be read at
// GET /upstream/requests/{key}; `?ms=` waits before each part; `?text=` is what is said (by default "Hi there! How can
// I help you?").
//
//   /upstream/sse            data: {"content": …}, one word each, then [DONE]; ?n= says word0 word1 … instead
//   /upstream/slow           the same, ?ms=20&n=50 by default
//   /upstream/n8n            begin, item, …, end as JSON lines, twice with ?pairs=2
//   /upstream/json           {"content": …}; ?form=output, text, message, response, answer, choices, array, string, object
//   /upstream/ollama  /upstream/ui  /upstream/text     Ollama's lines, the AI SDK's stream, plain text
//   /upstream/openai/chat/completions                  streamed with usage, or one document where "stream" is false
//   /upstream/parrot         answers the request's own chatInput
//   /upstream/raw            POST's ?body= (base64url) as ?type=, cut into pieces of ?cut= bytes
//   /upstream/status?code=   that status with a JSON error;  ?retry=2 answers 200 from the third request of its key on
//   /upstream/html  empty  redirect  reset  huge  stall  silent     what goes wrong; ?after=n says n words before
//   /upstream/heartbeat      blank lines for ever
//   /upstream/gate/{key}     says nothing by itself: POST /upstream/gate/{key}/write sends the body on,
//                            …/end ends the answer, …/reset breaks it; each waits until the agent was called

/** What was asked, and how it went: `ended` when the answer was sent whole, `aborted` when the caller left before. */
export type Seen = {
  method: string
  path: string
  headers: IncomingMessage['headers']
  body: string
  ended: boolean
  aborted: boolean
}

const requests = new Map<string, Seen[]>()
const gates = new Map<string, ServerResponse>()

export function upstreams(request: IncomingMessage, response: ServerResponse): void {
  answer(request, response).catch(() => response.destroy())
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://receiver')
  const [, , behaviour = '', ...rest] = url.pathname.split('/')
  if (behaviour === 'requests') return json(response, requests.get(rest[0] ?? '') ?? [])
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  if (behaviour === 'gate' && rest[1]) return operate(rest[0] ?? '', rest[1], body, response)
  const seen = remember(url, request, response, body)
  const act = behaviours[behaviour]
  if (!act) return void response.writeHead(404).end()
  await act({ url, body, response, seen, say: sayer(url) })
}

type Call = {
  url: URL
  body: Buffer
  response: ServerResponse
  /** How often this key was called, this call among them. */
  seen: number
  say: Sayer
}
type Sayer = { words: string[]; text: string; wait: () => Promise<void> }

function remember(url: URL, request: IncomingMessage, response: ServerResponse, body: Buffer): number {
  const gateKey = url.pathname.startsWith('/upstream/gate/') ? url.pathname.split('/')[3] : undefined
  const key = url.searchParams.get('key') ?? gateKey
  if (key === undefined) return 1
  const entry: Seen = {
    method: request.method ?? '',
    path: url.pathname,
    headers: request.headers,
    body: body.toString(),
    ended: false,
    aborted: false,
  }
  response.on('close', () => {
    entry.ended = response.writableFinished
    entry.aborted = !response.writableFinished
  })
  const all = requests.get(key) ?? []
  all.push(entry)
  requests.set(key, all)
  return all.length
}

function sayer(url: URL, ms = 0): Sayer {
  const n = Number(url.searchParams.get('n') ?? 0)
  const counted = Array.from({ length: n }, (_, i) => `word${i} `).join('')
  const text = url.searchParams.get('text') ?? (n > 0 ? counted : 'Hi there! How can I help you?')
  const pause = Number(url.searchParams.get('ms') ?? ms)
  return {
    text,
    words: text.match(/\s*\S+\s*$|\s*\S+/g) ?? [],
    wait: async () => {
      if (pause > 0) await sleep(pause)
    },
  }
}

const json = (response: ServerResponse, value: unknown, status = 200) => {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value))
}

/** Writes the parts with the pauses that the URL asks for; stops when the caller has gone. */
async function stream(call: Call, type: string, parts: string[], end = true): Promise<void> {
  call.response.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-cache' })
  call.response.flushHeaders()
  for (const part of parts) {
    await call.say.wait()
    if (call.response.destroyed) return
    await new Promise((resolve) => call.response.write(part, resolve))
  }
  if (end) call.response.end()
}

const data = (value: unknown) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`
const lines = (values: unknown[]) => values.map((value) => `${JSON.stringify(value)}\n`)
const sse = (call: Call) =>
  stream(call, 'text/event-stream', [...call.say.words.map((content) => data({ content })), data('[DONE]')])

/** Some words as SSE, as many as ?after= says, before what goes wrong. */
async function begin(call: Call): Promise<void> {
  const after = Number(call.url.searchParams.get('after') ?? 0)
  const parts = call.say.words.slice(0, after).map((content) => data({ content }))
  if (after > 0) await stream(call, 'text/event-stream', parts, false)
}

function document(form: string, text: string): unknown {
  const message = { role: 'assistant', content: text }
  switch (form) {
    case 'choices':
      return { id: 'c1', choices: [{ index: 0, message, finish_reason: 'stop' }] }
    case 'array':
      return [{ output: text }]
    case 'string':
      return text
    case 'object':
      return { message }
    default:
      return { [form]: text }
  }
}

function completions(call: Call): Promise<void> | void {
  const asked = JSON.parse(call.body.toString()) as { model: string; stream?: boolean }
  const usage = { prompt_tokens: 9, completion_tokens: call.say.words.length, total_tokens: 99 }
  if (!asked.stream)
    return json(call.response, {
      ...(document('choices', call.say.text) as object),
      model: asked.model,
      usage,
    })
  const chunk = (delta: object, finish_reason: string | null = null) =>
    data({
      id: 'c1',
      object: 'chat.completion.chunk',
      model: asked.model,
      choices: [{ index: 0, delta, finish_reason }],
    })
  return stream(call, 'text/event-stream', [
    chunk({ role: 'assistant', content: '' }),
    ...call.say.words.map((content) => chunk({ content })),
    chunk({}, 'stop'),
    data({ id: 'c1', object: 'chat.completion.chunk', choices: [], usage }),
    data('[DONE]'),
  ])
}

function raw(call: Call): Promise<void> {
  const bytes = Buffer.from(call.url.searchParams.get('body') ?? '', 'base64url')
  const size = Number(call.url.searchParams.get('cut') ?? bytes.length) || 1
  const parts = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  )
  return stream(call, call.url.searchParams.get('type') ?? 'application/json', parts as never)
}

const behaviours: Record<string, (call: Call) => Promise<void> | void> = {
  sse,
  slow: (call) => {
    if (!call.url.searchParams.has('n')) call.url.searchParams.set('n', '50')
    return sse({ ...call, say: sayer(call.url, 20) })
  },
  n8n: (call) => {
    const pairs = Number(call.url.searchParams.get('pairs') ?? 1)
    const metadata = { nodeId: '1', nodeName: 'AI Agent', itemIndex: 0, runIndex: 0, timestamp: 1 }
    const pair = [
      { type: 'begin', metadata },
      ...call.say.words.map((content) => ({ type: 'item', content, metadata })),
      { type: 'end', metadata },
    ]
    const all = Array.from({ length: pairs }, () => ['\n', ...lines(pair)]).flat()
    return stream(call, 'application/json; charset=utf-8', all)
  },
  json: (call) =>
    json(call.response, document(call.url.searchParams.get('form') ?? 'content', call.say.text)),
  ollama: (call) =>
    stream(
      call,
      'application/x-ndjson',
      lines([
        ...call.say.words.map((content) => ({
          model: 'm',
          message: { role: 'assistant', content },
          done: false,
        })),
        {
          model: 'm',
          message: { role: 'assistant', content: '' },
          done: true,
          done_reason: 'stop',
          eval_count: 7,
        },
      ]),
    ),
  ui: (call) =>
    stream(call, 'text/event-stream', [
      data({ type: 'start', messageId: 'm1' }),
      data({ type: 'text-start', id: 't1' }),
      ...call.say.words.map((delta) => data({ type: 'text-delta', id: 't1', delta })),
      data({ type: 'text-end', id: 't1' }),
      data({ type: 'finish' }),
      data('[DONE]'),
    ]),
  text: (call) => stream(call, 'text/plain', call.say.words),
  openai: completions,
  parrot: (call) => {
    const { chatInput } = JSON.parse(call.body.toString()) as { chatInput: string }
    return sse({ ...call, say: { ...call.say, words: chatInput.match(/\s*\S+\s*$|\s*\S+/g) ?? [] } })
  },
  raw,
  status: (call) => {
    const retry = call.url.searchParams.get('retry')
    if (retry !== null && call.seen > Number(retry)) return sse(call)
    const error = { code: 0, message: call.url.searchParams.get('message') ?? 'it is broken' }
    return json(call.response, error, Number(call.url.searchParams.get('code') ?? 500))
  },
  html: (call) => {
    call.response.writeHead(200, { 'Content-Type': 'text/html' })
    call.response.end('<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in</body></html>')
  },
  empty: (call) => void call.response.writeHead(200, { 'Content-Type': 'application/json' }).end(),
  redirect: (call) => void call.response.writeHead(302, { Location: '/upstream/sse' }).end(),
  reset: async (call) => {
    await begin(call)
    call.response.destroy()
  },
  huge: (call) => {
    const part = data({ content: 'x'.repeat(64 * 1024 - 20) })
    return stream(
      call,
      'text/event-stream',
      Array.from({ length: 80 }, () => part),
    )
  },
  // The test's own time limit ends these: the receiver closes all connections when the run is over.
  stall: (call) =>
    call.url.searchParams.has('after') ? begin(call) : stream(call, 'text/event-stream', [], false),
  silent: () => {},
  heartbeat: (call) => {
    call.response.writeHead(200, { 'Content-Type': 'application/json' })
    const timer = setInterval(() => call.response.write('\n'), Number(call.url.searchParams.get('ms') ?? 20))
    call.response.on('close', () => clearInterval(timer))
  },
  gate: ({ url, response }) => {
    const key = url.pathname.split('/')[3] ?? ''
    response.writeHead(200, { 'Content-Type': url.searchParams.get('type') ?? 'text/event-stream' })
    response.flushHeaders()
    response.on('close', () => {
      if (gates.get(key) === response) gates.delete(key)
    })
    gates.set(key, response)
  },
}

async function operate(key: string, act: string, body: Buffer, response: ServerResponse): Promise<void> {
  for (let waited = 0; !gates.has(key) && waited < 5000; waited += 5) await sleep(5)
  const open = gates.get(key)
  if (!open) return void response.writeHead(404).end()
  if (act === 'write') await new Promise((resolve) => open.write(body, resolve))
  else if (act === 'end') open.end()
  else open.destroy()
  response.writeHead(204).end()
}
