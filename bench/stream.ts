import http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Miniflare } from 'miniflare'
import { percentiles } from './rounds.ts'
import { ORIGIN } from './runtime.ts'
import { ask, by } from './seed.ts'

// How much later a reader sees a token than the upstream wrote it: through a chat, and through a bare route that pipes
// the same upstream. Both ends are in this process, so one clock measures both.

/** Slower than the service's frames (50 ms), so that no token has reason to wait for the next. */
const TOKEN_MS = 80
const TOKENS = 8

/** A stream that says nothing for so long has failed. */
const SILENCE_MS = 5_000

/** When each token of the answers at a path was written, answer by answer. */
const written = new Map<string, number[][]>()

/** A word that comes once in a chat: of which answer it is, and which token. */
const wordOf = (answer: number, token: number) => `a${answer}w${token} `

/** An agent that says such words, one every TOKEN_MS, as server-sent events. */
export async function startUpstream(): Promise<{ url: string; stop: () => void }> {
  const server = http.createServer((request, response) => {
    request.resume()
    const answers = written.get(request.url ?? '') ?? []
    written.set(request.url ?? '', answers)
    const times: number[] = []
    const answer = answers.push(times) - 1
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    response.flushHeaders()
    const timer = setInterval(() => {
      if (times.length === TOKENS) {
        clearInterval(timer)
        response.end('data: [DONE]\n\n')
        return
      }
      const event = `data: ${JSON.stringify({ content: wordOf(answer, times.length) })}\n\n`
      times.push(performance.now())
      response.write(event)
    }, TOKEN_MS)
    response.on('close', () => clearInterval(timer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const stop = () => {
    server.closeAllConnections()
    server.close()
  }
  return { url, stop }
}

type Source = { port: number; method: string; path: string; headers: Record<string, string>; body?: string }
type Reading = { opened: Promise<void>; arrived: Promise<number[]> }

/** Reads a stream and notes when each word of `answer` arrives, until the stream ends or, for a watcher, the last has. */
function read(source: Source, answer: number, watching = false): Reading {
  const times: number[] = []
  let text = ''
  const opening = Promise.withResolvers<void>()
  const reading = Promise.withResolvers<number[]>()
  const { port, method, path, body } = source
  const headers = { ...source.headers, Host: new URL(ORIGIN).host }
  const request = http.request(
    { host: '127.0.0.1', port, method, path: ORIGIN + path, headers },
    (response) => {
      if (response.statusCode !== 200) {
        const refusal = `${method} ${path} answers ${response.statusCode}`
        response.once('data', (chunk: Buffer) => reading.reject(new Error(`${refusal}: ${chunk.toString()}`)))
      }
      opening.resolve()
      response.on('data', (chunk: Buffer) => {
        const now = performance.now()
        text += chunk.toString()
        while (text.includes(wordOf(answer, times.length))) times.push(now)
        if (watching && times.length === TOKENS) request.destroy()
      })
      response.on('close', () => reading.resolve(times))
    },
  )
  request.setTimeout(SILENCE_MS, () => request.destroy(new Error(`${method} ${path} fell silent`)))
  request.on('error', (error) => (watching ? reading.resolve(times) : reading.reject(error)))
  request.end(body)
  return { opened: opening.promise, arrived: reading.promise }
}

export type Delay = { p50: number; p95: number; p99: number }
export type StreamResult = { first: Record<Side, Delay>; token: Record<Side, Delay>; answers: number }
type Side = 'sender' | 'watcher' | 'floor'

/** Several chats and several pipes at once, answer after answer, all at the same pace. */
export async function measureStreams(
  miniflare: Miniflare,
  ports: { service: number; floor: number },
  token: string,
  options: { lanes: number; answers: number },
): Promise<StreamResult> {
  const upstream = await startUpstream()
  const delays: Record<Side, number[][]> = { sender: [], watcher: [], floor: [] }
  const keep = (side: Side, path: string, answer: number, arrived: number[]) => {
    const sent = written.get(path)?.[answer] ?? []
    if (arrived.length !== TOKENS) throw new Error(`${side}: ${arrived.length} of ${TOKENS} tokens arrived`)
    delays[side].push(arrived.map((at, token) => at - (sent[token] ?? Number.NaN)))
  }
  const lane = async (number: number) => {
    const [ours, bare] = [`/chat-${number}`, `/pipe-${number}`]
    const chat = await chatWith(miniflare, token, upstream.url + ours)
    const order = JSON.stringify({ url: upstream.url + bare })
    const pipe = { port: ports.floor, method: 'POST', path: '/pipe', headers: JSON_TYPE, body: order }
    for (let answer = 0; answer < options.answers; answer++)
      await Promise.all([
        throughChat(ports.service, chat, token, answer).then(([sender, watcher]) => {
          keep('sender', ours, answer, sender)
          keep('watcher', ours, answer, watcher)
        }),
        // Half a token later, so that the two are not at work in the same moment.
        sleep(TOKEN_MS / 2).then(async () => keep('floor', bare, answer, await read(pipe, answer).arrived)),
      ])
  }
  try {
    await Promise.all(Array.from({ length: options.lanes }, (_, number) => lane(number)))
  } finally {
    upstream.stop()
  }
  const of = (pick: (answer: number[]) => number[]) => ({
    sender: percentiles(delays.sender.flatMap(pick)),
    watcher: percentiles(delays.watcher.flatMap(pick)),
    floor: percentiles(delays.floor.flatMap(pick)),
  })
  return {
    first: of((answer) => answer.slice(0, 1)),
    token: of((answer) => answer.slice(1)),
    answers: delays.sender.length,
  }
}

const JSON_TYPE = { 'Content-Type': 'application/json' }

/** The path of a new chat with an agent at `url`. */
async function chatWith(miniflare: Miniflare, token: string, url: string): Promise<string> {
  const headers = by(token)
  const agent = await ask(miniflare, 'POST', '/api/v1/agents', {
    headers,
    body: { name: 'Words', webhook_url: url },
  })
  const chat = await ask(miniflare, 'POST', '/api/v1/chats', { headers, body: { agent_id: agent.data.id } })
  return `/api/v1/chats/${chat.data.id}`
}

/** One message, read by its sender and by someone who watches the chat. */
async function throughChat(
  port: number,
  chat: string,
  token: string,
  answer: number,
): Promise<[number[], number[]]> {
  const stream = { port, method: 'GET', path: `${chat}/stream`, headers: by(token) }
  const watcher = read(stream, answer, true)
  await watcher.opened
  const headers = { ...by(token), ...JSON_TYPE, Accept: 'text/event-stream' }
  const body = JSON.stringify({ content: 'Count, please' })
  const sender = read({ port, method: 'POST', path: `${chat}/messages`, headers, body }, answer)
  return Promise.all([sender.arrived, watcher.arrived])
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
