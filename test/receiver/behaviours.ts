import { Buffer } from 'node:buffer'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

export type Call = {
  url: URL
  body: Buffer
  response: ServerResponse
  headers: IncomingHttpHeaders
  /** How often this key was called, this call among them. */
  seen: number
  say: Sayer
}
type Sayer = { words: string[]; text: string; wait: () => Promise<void> }

/** What the URL asks to be said, and how fast. */
export function sayer(url: URL, ms = 0): Sayer {
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

export const json = (response: ServerResponse, value: unknown, status = 200) => {
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

/** What each path of upstreams.ts does with a call. */
export const behaviours: Record<string, (call: Call) => Promise<void> | void> = {
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
  quote: ({ response, headers }) =>
    json(response, { error: `no run of ${headers['x-causeway-run-token']}` }, 400),
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
}
