import type { Context } from 'hono'
import * as z from 'zod'
import { answerWith } from '../../../http/answer-headers'
import type { AppEnv } from '../../../http/app-env'
import type { Note } from '../../../http/notes'
import { envelope } from '../../../http/route'
import { problem } from '../../../lib/problem'
import { keyOf } from '../../metering/idempotency/middleware'
import { countUnopened } from '../../metering/limits/middleware'
import { UI_HEADERS } from '../room/formats/ui'
import type { UiOrder } from '../room/formats/ui-order'
import { SSE_HEADERS } from '../room/readers/sse'
import type { Ordered } from '../room/runs/order'
import { wantedAnswer } from './accept'
import { CursorText, type Exchange, StartedRun } from './schema'
import { orderRun, resumeRun } from './service'

// How every route that begins a run answers: by its stream, by both its messages once it has ended, or at once.

export const eventStream = (description: string): NonNullable<Note['returns']> => ({
  status: 200,
  schema: null,
  contentType: 'text/event-stream',
  description,
})

/** What the document says of a route that begins a run. */
export const ordering: Omit<Note, 'summary'> = {
  tag: 'Chats',
  description:
    'Streams the answer as server-sent events: `status`, `message`, then one `done` or `error`. Where `Accept` prefers `application/json` it waits and answers both messages. Leaving does not stop the run. An idempotency key stands for `client_message_id`.',
  idempotency: 'ignored',
  counts: 'message',
  also: [
    eventStream('The run’s events'),
    { status: 202, schema: StartedRun, description: 'With `Prefer: respond-async`: the run has begun' },
  ],
  errors: [
    ...([
      'chat_role_required',
      'chat_archived',
      'run_in_progress',
      'agent_inactive',
      'agent_on_calls_only',
    ] as const),
    ...(['idempotency_key_reused', 'upstream_failed', 'upstream_timeout'] as const),
  ],
}

/** In which words a stream is, besides the chat’s own. */
export const format = z.enum(['ui'], 'must be ui, or not be sent').optional().meta({
  description:
    '`ui`: the AI SDK’s UI message stream; a message is then sent as its client sends it (docs/chat.md).',
})
type Format = NonNullable<z.output<typeof format>>

/** A route that answers both messages, where JSON is wanted. */
type Answering<T> = Context<AppEnv & { Variables: { reply: (value: Exchange | T) => Response } }>

/** What is ordered under the client’s own name for it: the body’s, else the idempotency key. */
export function named<T extends { client_message_id?: string | undefined }>(c: Context, order: T): T {
  const client_message_id = order.client_message_id ?? keyOf(c) ?? undefined
  return { ...order, ...(client_message_id && { client_message_id }) }
}

/** Begins a run and answers in the way that the request’s headers want. */
export async function answerRun<T>(
  c: Answering<T>,
  chatId: string,
  order: Ordered | UiOrder,
  format?: Format,
): Promise<Response> {
  const input = named(c, order)
  const wanted = format ? 'stream' : wantedAnswer(c.req.raw.headers)
  const posted = { input, answer: wanted, format: format ?? 'events' } as const
  const answer = await orderRun(c.var.ctx, chatId, posted, c.req.raw.signal)
  const replayed = answer.headers.get('Idempotency-Replayed')
  if (replayed) c.header('Idempotency-Replayed', replayed)
  if (wanted === 'exchange') return c.var.reply(await answer.json<Exchange>())
  if (wanted === 'stream') return streaming(answer.body, { replayed, format })
  const started = StartedRun.parse(await answer.json())
  return c.json(envelope(c, started), 202, {
    'Preference-Applied': 'respond-async',
    'Cache-Control': 'no-store',
  })
}

/** The run that goes on, from its beginning; 204 where none does. */
export async function answerResumed(c: Context<AppEnv>, chatId: string, format: Format): Promise<Response> {
  const stream = await resumeRun(c.var.ctx, chatId, format, c.req.raw.signal)
  if (stream) return streaming(stream, { format })
  await countUnopened(c)
  return answerWith(c, 204, null, {})
}

/** An event stream as a response. */
export function streaming(
  stream: ReadableStream | null,
  { replayed, format }: { replayed?: string | null; format?: Format | undefined } = {},
): Response {
  const headers = new Headers({ ...SSE_HEADERS, ...(format === 'ui' ? UI_HEADERS : {}) })
  if (replayed) headers.set('Idempotency-Replayed', replayed)
  return new Response(stream, { headers })
}

/** `Last-Event-ID`, which a browser sends when it reconnects; 400 where it is none of a chat’s. */
export function cursorOf(headers: Headers): string | null {
  const sent = headers.get('Last-Event-ID')
  if (sent === null || sent === '') return null
  if (CursorText.safeParse(sent).success) return sent
  throw problem('malformed_header', 'Last-Event-ID must be the id of an event, such as e1-41', {
    details: { header: 'Last-Event-ID' },
  })
}
