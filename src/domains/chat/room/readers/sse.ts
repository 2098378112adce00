import { utf8 } from '../../../../lib/encoding'

/** How often a quiet stream says that it lives; also how soon a client that has gone is noticed. */
export const COMMENT_MS = 15_000
export const COMMENT = utf8(': still here\n\n')
/** What every stream begins with: how long a browser waits before it reconnects. */
export const RETRY = utf8('retry: 2000\n\n')

/** Headers that keep proxies from holding, packing or storing a stream. */
export const SSE_HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  'Cache-Control': 'no-cache, no-transform',
  'Content-Encoding': 'identity',
  'X-Accel-Buffering': 'no',
}
