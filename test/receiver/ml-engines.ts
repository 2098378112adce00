import { Buffer } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** What an engine answers at a path: a status and a body, after a while, or half of it. */
type Behaviour = {
  status?: number
  json?: unknown
  text?: string
  ms?: number
  half?: boolean
  hang?: boolean
}
type Engine = {
  answers: Record<string, Behaviour>
  calls: { path: string; authorization?: string; body: unknown }[]
}

const engines = new Map<string, Engine>()

/**
 * Engines that recommend, each under a name of its own: PUT /ml/{name} says what it answers by the last word of a path,
 * GET tells what it was asked. What is not said answers embeddings of two numbers, and recommendations of nothing.
 */
export async function mlEngines(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, , name = '', ...rest] = (request.url ?? '').split('/')
  const engine = engines.get(name) ?? { answers: {}, calls: [] }
  engines.set(name, engine)
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  const body = Buffer.concat(parts).toString()
  if (request.method === 'PUT') {
    engine.answers = JSON.parse(body)
    return void response.end()
  }
  if (request.method === 'GET') return void response.end(JSON.stringify(engine.calls))
  const { authorization } = request.headers
  const asked = JSON.parse(body)
  engine.calls.push({ path: `/${rest.join('/')}`, ...(authorization ? { authorization } : {}), body: asked })
  const answer = engine.answers[rest.at(-1) ?? ''] ?? {}
  if (answer.ms) await sleep(answer.ms)
  if (answer.hang) return
  const items = (asked.items ?? []) as { item_id: string }[]
  const vectors = items.map(({ item_id }) => ({ item_id, embedding: [item_id.length, 1] }))
  const text = answer.text ?? JSON.stringify(answer.json ?? vectors)
  const bytes = Buffer.from(text)
  response.writeHead(answer.status ?? 200, {
    'Content-Type': 'application/json',
    'Content-Length': String(bytes.length),
  })
  if (!answer.half) return void response.end(bytes)
  response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy())
}
