import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'

/** What the receiver does with one request; `hang` and the rest go wrong in the way that their name says. */
export type Step = {
  does?: 'answer' | 'hang' | 'reset' | 'reset-body' | 'drip' | 'huge' | 'gzip-bomb'
  status?: number
  headers?: Record<string, string>
  body?: string
  /** Before the answer's headers. */
  delay_ms?: number
}

/** What the receiver saw. */
export type Seen = { at: number; method: string; headers: Record<string, string>; body: string }

const plans = new Map<string, Step[]>()
const seen = new Map<string, Seen[]>()

/**
 * A receiver of webhooks that does what it is told. Under one key: `POST /hook/plan` sets the steps (the last one goes on
 * for ever), `/hook/to` takes the next, `GET /hook/seen` tells what came.
 */
export async function hooks(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '', 'http://receiver')
  const key = url.searchParams.get('key') ?? ''
  const body = await text(request).catch(() => '')
  if (url.pathname === '/hook/plan') {
    plans.set(key, JSON.parse(body))
    response.writeHead(204).end()
  } else if (url.pathname === '/hook/seen') {
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(seen.get(key) ?? []))
  } else if (url.pathname === '/hook/to') {
    const headers = request.headers as Record<string, string>
    seen.set(key, [...(seen.get(key) ?? []), { at: Date.now(), method: request.method ?? '', headers, body }])
    await take(nextStep(key), response)
  } else response.writeHead(404).end()
}

function nextStep(key: string): Step {
  const steps = plans.get(key) ?? []
  return (steps.length > 1 ? steps.shift() : steps[0]) ?? {}
}

async function take(step: Step, response: ServerResponse): Promise<void> {
  const { does = 'answer', status = 200, headers = {}, body = 'ok', delay_ms = 0 } = step
  if (delay_ms > 0) await new Promise((resolve) => setTimeout(resolve, delay_ms))
  if (does === 'hang') return
  if (does === 'reset') {
    response.socket?.resetAndDestroy()
    return
  }
  if (does === 'gzip-bomb') {
    response.writeHead(status, { ...headers, 'content-encoding': 'gzip' }).end(BOMB())
    return
  }
  response.writeHead(status, headers)
  if (does === 'answer') response.end(body)
  else if (does === 'reset-body') {
    response.write('the beginning')
    setTimeout(() => response.socket?.resetAndDestroy(), 50)
  } else if (does === 'drip') {
    const timer = setInterval(() => response.write('.'), 20)
    response.on('close', () => clearInterval(timer))
  } else pour(response)
}

/** A body without an end, as fast as the reader takes it. */
function pour(response: ServerResponse): void {
  const piece = 'x'.repeat(64 * 1024)
  const more = () => {
    while (!response.destroyed && response.write(piece));
  }
  response.on('drain', more)
  more()
}

/** 50 MB of zeros in 50 kB. */
const BOMB = () => gzipSync(Buffer.alloc(50 * 1024 * 1024))
