import { Buffer } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

// A server of OpenAI's /v1/audio/transcriptions under /transcriber/{key}/…, which does what the recording itself says: JSON
// behind its header, `{"text", "segments", "status", "times", "retry_after", "wait_ms", "raw", "says", "reset"}`. What it was asked is
// read at GET /transcriber/{key}/requests.

type Told = {
  text?: string
  segments?: unknown[]
  /** Answered `times` times (always, if left out) before it is 200. */
  status?: number
  times?: number
  retry_after?: string
  wait_ms?: number
  raw?: string
  /** The words of an error. */
  says?: string
  reset?: true
}

export type Heard = {
  fields: Record<string, string>
  file: { name: string; type: string; size: number }
  key: string | null
}

const heard = new Map<string, Heard[]>()
const tries = new Map<string, number>()

export async function transcribers(request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    await answer(request, response)
  } catch (error) {
    response.writeHead(500).end(String(error))
  }
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, , key = '', ...path] = (request.url ?? '').split('/')
  const seen = heard.get(key) ?? []
  heard.set(key, seen)
  if (path[0] === 'requests') return void json(response, 200, seen)
  if (path.join('/') !== 'v1/audio/transcriptions') return void response.writeHead(404).end()
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const headers = { 'Content-Type': request.headers['content-type'] ?? '' }
  const form = await new Response(Buffer.concat(chunks), { headers }).formData()
  const file = form.get('file') as File
  const fields = [...form].flatMap(([name, value]) => (typeof value === 'string' ? [[name, value]] : []))
  const { name, type, size } = file
  seen.push({
    fields: Object.fromEntries(fields),
    file: { name, type, size },
    key: request.headers.authorization ?? null,
  })
  const text = await file.text()
  tries.set(text, (tries.get(text) ?? 0) + 1)
  await act(toldIn(text), tries.get(text) ?? 0, response)
}

function toldIn(text: string): Told {
  const at = text.indexOf('{"')
  return at < 0
    ? { text: 'Hello from the transcriber.' }
    : (JSON.parse(text.slice(at, text.lastIndexOf('}') + 1)) as Told)
}

async function act(told: Told, times: number, response: ServerResponse): Promise<void> {
  if (told.wait_ms !== undefined) await sleep(told.wait_ms)
  if (told.reset) return void response.destroy()
  if (told.status !== undefined && times <= (told.times ?? Number.POSITIVE_INFINITY)) {
    if (told.retry_after !== undefined) response.setHeader('Retry-After', told.retry_after)
    return json(response, told.status, { error: { message: told.says ?? 'no such luck' } })
  }
  if (told.raw !== undefined) return void response.end(told.raw)
  json(response, 200, { text: told.text ?? '', ...(told.segments ? { segments: told.segments } : {}) })
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
}
