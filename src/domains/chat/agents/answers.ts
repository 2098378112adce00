import type { Context as HonoContext } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { COMMENT, COMMENT_MS, SSE_HEADERS } from '../room/readers/sse'
import { readAvatar } from './avatar'

// Answers that are no JSON.

/** A picture that a reader may keep: for ever where the URL names it, else to be asked about again. */
export async function picture(c: HonoContext<AppEnv>, id: string, version?: string): Promise<Response> {
  const known = (picture: string) => c.req.header('If-None-Match') === `"${picture}"`
  const found = await readAvatar(c.var.ctx, id, known)
  const kept = found.id === version ? 'private, max-age=31536000, immutable' : 'private, no-cache'
  const headers = { ETag: `"${found.id}"`, 'Cache-Control': kept }
  if (found.body === null) return c.body(null, 304, headers)
  return c.body(found.body, 200, {
    ...headers,
    'Content-Type': found.contentType,
    'Content-Length': String(found.size),
    // Were it opened by itself, and not the picture it seems to be.
    'Content-Security-Policy': "default-src 'none'; sandbox",
  })
}

/** Streams the frames with signs of life between; a reader who has gone ends the call to the agent. */
export function eventStream(
  c: Pick<HonoContext<AppEnv>, 'req' | 'body' | 'executionCtx'>,
  frames: AsyncIterable<Uint8Array>,
  stop: AbortController,
): Response {
  const { readable, writable } = new IdentityTransformStream()
  const writer = writable.getWriter()
  const write = (bytes: Uint8Array) => writer.write(bytes).catch(() => stop.abort())
  c.req.raw.signal.addEventListener('abort', () => stop.abort())
  const pump = async () => {
    const timer = setInterval(() => write(COMMENT), COMMENT_MS)
    try {
      for await (const frame of frames) await write(frame)
    } finally {
      clearInterval(timer)
      await writer.close().catch(() => {})
    }
  }
  c.executionCtx.waitUntil(pump())
  return c.body(readable, 200, SSE_HEADERS)
}
