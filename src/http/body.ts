import type { Context as HonoContext } from 'hono'
import { unkeepable } from '../lib/keepable'
import { problem } from '../lib/problem'
import { routeOf } from './notes'

/** The largest body unless a route says otherwise (http.md). */
export const DEFAULT_LIMIT = 1024 * 1024

/** Deeper than any form that is filled in, and far from where a recursive reader runs out of stack. */
const MOST_NESTED = 100

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/** The body's text, read once and remembered for whoever asks next; 413 over the route's limit, however it is sent. */
export async function readText(
  c: HonoContext,
  limit = routeOf(c).note?.bodyLimit ?? DEFAULT_LIMIT,
): Promise<string> {
  const cached: unknown = await c.req.bodyCache.text
  if (typeof cached === 'string') return cached
  const value = textOf(await readBytes(c, limit))
  // Where Hono's own readers look first too.
  const cache: { text?: unknown } = c.req.bodyCache
  cache.text = Promise.resolve(value)
  return value
}

/** RFC 8259, section 8.1: JSON is UTF-8. What is not would be kept with other letters than were sent. */
export function textOf(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw problem('malformed_json', 'The body is not UTF-8')
  }
}

/** Refuses JSON that can't be read, or can't be kept as it was sent: 422 with the members by path. */
export function refuseUnusable(json: string): void {
  refuseDeepNesting(json)
  const fields = unkeepable(json)
  if (fields) throw problem.invalid(fields)
}

/** Refuses JSON that is nested deeper than what reads it can follow. */
function refuseDeepNesting(json: string): void {
  let depth = 0
  let quoted = false
  for (let i = 0; i < json.length; i++) {
    const char = json.charCodeAt(i)
    if (char === 0x5c) i += quoted ? 1 : 0
    else if (char === 0x22) quoted = !quoted
    else if (quoted) continue
    else if (char === 0x5b || char === 0x7b) {
      depth += 1
      if (depth > MOST_NESTED)
        throw problem.invalid({ body: `must be nested at most ${MOST_NESTED} levels deep` })
    } else if (char === 0x5d || char === 0x7d) depth -= 1
  }
}

/** The body's bytes, at most `limit` of them; read once and remembered, whichever form is asked for next. */
export async function readBytes(
  c: HonoContext,
  limit = routeOf(c).note?.bodyLimit ?? DEFAULT_LIMIT,
): Promise<Uint8Array<ArrayBuffer>> {
  const tooLarge = () =>
    problem('body_too_large', 'The body is over its limit', { details: { limit_bytes: limit } })
  const encoding = c.req.header('Content-Encoding')?.toLowerCase() ?? 'identity'
  if (encoding !== 'identity')
    throw problem('unsupported_media_type', 'The body must not be compressed', {
      details: { expected: 'Content-Encoding: identity', received: encoding },
    })
  const announced = Number(c.req.header('Content-Length') ?? Number.NaN)
  if (announced > limit) throw tooLarge()
  if (announced >= 0 || c.req.bodyCache.arrayBuffer) return new Uint8Array(await c.req.arrayBuffer())
  const whole = await collect(c.req.raw.body, limit, tooLarge)
  const cache: { arrayBuffer?: unknown } = c.req.bodyCache
  cache.arrayBuffer = Promise.resolve(whole.buffer)
  c.set('requestBytes', whole.byteLength)
  return whole
}

/** Reads a body of unannounced length, no further than its limit. */
export async function collect(
  body: ReadableStream<Uint8Array> | null,
  limit: number,
  tooLarge: () => Error,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > limit) throw tooLarge()
    chunks.push(chunk)
  }
  const whole = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.byteLength
  }
  return whole
}
