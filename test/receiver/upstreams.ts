import { Buffer } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { behaviours, type Call, json, sayer } from './behaviours'

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
//   /upstream/quote          400, quoting the run's token;  /upstream/heartbeat  blank lines for ever
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
  const act = behaviour === 'gate' ? open : behaviours[behaviour]
  if (!act) return void response.writeHead(404).end()
  await act({ url, body, response, seen, say: sayer(url), headers: request.headers })
}

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

function open({ url, response }: Call): void {
  const key = url.pathname.split('/')[3] ?? ''
  response.writeHead(200, { 'Content-Type': url.searchParams.get('type') ?? 'text/event-stream' })
  response.flushHeaders()
  response.on('close', () => {
    if (gates.get(key) === response) gates.delete(key)
  })
  gates.set(key, response)
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
