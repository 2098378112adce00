import { Buffer } from 'node:buffer'
import { createPublicKey, type JsonWebKey, verify } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { type Step, take } from './faults'

export type { Step }

/** What the receiver saw, and how its answer went: `whole`, or `cut` where either side broke it off; else it is on. */
export type Seen = {
  at: number
  method: string
  headers: Record<string, string>
  body: string
  answer: 'on' | 'whole' | 'cut'
  /** Bytes of the answer that left here. */
  written: number
}

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
  } else if (url.pathname === '/hook/verify') {
    // OpenSSL's word for a signature that the service made with BoringSSL.
    const { jwk, text, signature } = JSON.parse(body) as { jwk: JsonWebKey; text: string; signature: string }
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    const genuine = verify(null, Buffer.from(text), key, Buffer.from(signature, 'base64'))
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ genuine }))
  } else if (url.pathname === '/hook/dns') {
    // A resolver (application/dns-json) that knows every name, by the addresses in its own URL.
    const type = url.searchParams.get('type') ?? ''
    const addresses = (url.searchParams.get(type) ?? '').split(',').filter((address) => address !== '')
    const ttl = Number(url.searchParams.get('ttl') ?? 0)
    const Answer = addresses.map((data) => ({ type: type === 'A' ? 1 : 28, TTL: ttl, data }))
    remember(key, { at: Date.now(), method: type, headers: {}, body: '', answer: 'whole', written: 0 })
    if (url.searchParams.has('hang')) return
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ Status: 0, Answer }))
  } else if (url.pathname === '/hook/to') {
    const headers = request.headers as Record<string, string>
    const met = { at: Date.now(), method: request.method ?? '', headers, body }
    const one: Seen = { ...met, answer: 'on', written: 0 }
    remember(key, one)
    watch(one, response)
    await take(nextStep(key), response)
  } else response.writeHead(404).end()
}

function remember(key: string, one: Seen): void {
  seen.set(key, [...(seen.get(key) ?? []), one])
}

function nextStep(key: string): Step {
  const steps = plans.get(key) ?? []
  return (steps.length > 1 ? steps.shift() : steps[0]) ?? {}
}

function watch(one: Seen, response: ServerResponse): void {
  const { socket } = response
  const before = socket?.bytesWritten ?? 0
  const ended = () => {
    one.written = (socket?.bytesWritten ?? before) - before
    one.answer = response.writableFinished ? 'whole' : 'cut'
  }
  response.on('close', ended)
}
