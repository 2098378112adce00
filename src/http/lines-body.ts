import type { Context as HonoContext, MiddlewareHandler } from 'hono'
import { problem } from '../lib/problem'
import type { AppEnv } from './app-env'
import { readBytes } from './body'
import { type Note, noted } from './notes'

/** Of one request (data.md); more come as a file. */
export const MOST_LINES = 10_000
const LIMIT = 10 * 1024 * 1024

type WithSent<T> = AppEnv & { Variables: { sent: T } }

/**
 * A body that may be many lines, which `read` makes of its type and bytes. 422 for none, 413 for more than MOST_LINES or
 * 10 MiB; what is wrong with one of them is said of that line alone.
 */
export function linesBody<T extends object>(
  read: (type: string, bytes: Uint8Array<ArrayBuffer>) => T | { lines: readonly unknown[] },
  words: { one: string; asFile: string },
  body: NonNullable<Note['body']>,
): MiddlewareHandler<WithSent<T>> {
  const middleware: MiddlewareHandler<WithSent<T>> = async (c, next) => {
    const bytes = await readBytes(c as unknown as HonoContext<AppEnv>)
    const sent = read(c.req.header('Content-Type') ?? '', bytes)
    const lines = 'lines' in sent ? (sent.lines as readonly unknown[]).length : 1
    if (lines === 0) throw problem.invalid({ body: `must have at least one ${words.one}` })
    if (lines > MOST_LINES)
      throw problem('payload_too_large', `These are more than ${MOST_LINES} lines: ${words.asFile}`, {
        details: { limit_lines: MOST_LINES },
      })
    c.set('sent', sent as T)
    await next()
  }
  return noted(middleware, { body, bodyLimit: LIMIT })
}
