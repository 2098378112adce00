import type { Context as HonoContext } from 'hono'
import { problem } from '../lib/problem'
import { routeOf } from './notes'

export { refuseDeepNesting, refuseUnusable } from '../lib/keepable'

/** The largest body unless a route says otherwise (http.md). */
export const DEFAULT_LIMIT = 1024 * 1024

/** The largest body that a request's route takes, of the type that it has. */
function limitOf(c: HonoContext): number {
  const { bodyLimit = DEFAULT_LIMIT, formLimit } = routeOf(c).note ?? {}
  const isForm =
    formLimit !== undefined && /^multipart\/form-data\b/i.test(c.req.header('Content-Type') ?? '')
  return isForm ? formLimit : bodyLimit
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/** The body's text, read once and remembered for whoever asks next; 413 over the route's limit, however it is sent. */
export async function readText(c: HonoContext, limit = limitOf(c)): Promise<string> {
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

/** The value that a body's text says; 400 where it says none. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw problem('malformed_json', 'The body is not valid JSON', { cause })
  }
}

/** The body's bytes, at most `limit` of them; read once and remembered, whichever form is asked for next. */
export async function readBytes(c: HonoContext, limit = limitOf(c)): Promise<Uint8Array<ArrayBuffer>> {
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
