import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import type { Note } from '../../../http/notes'
import { body, doc, envelope, params, query, returns, returnsPage } from '../../../http/route'
import { problem } from '../../../lib/problem'
import { Id, paging } from '../../../lib/wire'
import { keyOf } from '../../metering/idempotency/middleware'
import { allow } from '../../tenancy/authorize'
import { checkEntry } from '../chats/service'
import { SSE_HEADERS } from '../room/sse'
import { wantedAnswer } from './accept'
import { CursorText, Exchange, LoggedEvent, SendMessage, StartedRun, Stopped, StopRun } from './schema'
import { joinChat, listChatEvents, sendMessage, stopRun, streamChat } from './service'

const tag = 'Chats'
const id = params({ id: Id })
const lastEventId = CursorText.optional().meta({
  description: 'The last event that was seen; the header wins.',
})

const eventStream = (description: string): NonNullable<Note['returns']> => ({
  status: 200,
  schema: null,
  contentType: 'text/event-stream',
  description,
})

const sending: Omit<Note, 'summary'> = {
  tag,
  description:
    'Streams the answer as server-sent events: `status`, `message`, then one `done` or `error`. Where `Accept` prefers `application/json` it waits and answers both messages. Leaving does not stop the run. An idempotency key stands for `client_message_id`.',
  idempotency: 'ignored',
  counts: 'message',
  also: [
    eventStream('The run’s events'),
    { status: 202, schema: StartedRun, description: 'With `Prefer: respond-async`: the run has begun' },
  ],
  errors: [
    ...(['chat_role_required', 'run_in_progress', 'agent_inactive', 'idempotency_key_reused'] as const),
    ...(['upstream_failed', 'upstream_timeout'] as const),
  ],
}

export const messageRoutes = new Hono<AppEnv>()
  .post(
    '/:id/messages',
    doc('Send a message and stream the answer', sending),
    allow('chats:write'),
    id,
    body(SendMessage),
    returns(200, Exchange, { description: 'Both messages, where JSON is preferred' }),
    async (c) => {
      const client_message_id = c.req.valid('json').client_message_id ?? keyOf(c) ?? undefined
      const input = { content: c.req.valid('json').content, ...(client_message_id && { client_message_id }) }
      const wanted = wantedAnswer(c.req.raw.headers)
      const answer = await sendMessage(c.var.ctx, c.req.valid('param').id, input, wanted, c.req.raw.signal)
      const replayed = answer.headers.get('Idempotency-Replayed')
      if (replayed) c.header('Idempotency-Replayed', replayed)
      if (wanted === 'exchange') return c.var.reply(await answer.json<Exchange>())
      if (wanted === 'stream') return streaming(answer.body, replayed)
      const started = StartedRun.parse(await answer.json())
      return c.json(envelope(c, started), 202, {
        'Preference-Applied': 'respond-async',
        'Cache-Control': 'no-store',
      })
    },
  )
  .get(
    '/:id/stream',
    doc('Follow a chat', {
      tag,
      counts: 'stream',
      description:
        'Everything that happens in the chat, for `EventSource`: first a `snapshot`, or after `Last-Event-ID` exactly what came since, or one `reset` where that can’t be told any more.',
      returns: eventStream('The chat’s events'),
    }),
    allow('chats:read'),
    id,
    query({ last_event_id: lastEventId }),
    async (c) => {
      const cursor = cursorOf(c.req.raw.headers) ?? c.req.valid('query').last_event_id ?? null
      const stream = await streamChat(c.var.ctx, c.req.valid('param').id, cursor, c.req.raw.signal)
      return streaming(stream)
    },
  )
  .get(
    '/:id/ws',
    doc('Follow a chat over a WebSocket', {
      tag,
      counts: 'stream',
      description:
        'The stream’s events as `{id, type, data}`. Takes `message`, `stop`, `ack` and `resume` frames (docs/chat.md) and the text `ping`; at most 256 KiB are sent that were not acknowledged.',
      returns: { status: 101, schema: null, description: 'The socket is open' },
    }),
    allow('chats:read'),
    id,
    query({ last_event_id: lastEventId }),
    async (c) => {
      if (c.req.header('Upgrade')?.toLowerCase() !== 'websocket')
        throw problem('malformed_header', 'This is a WebSocket: send Upgrade: websocket', {
          details: { header: 'Upgrade' },
        })
      const cursor = cursorOf(c.req.raw.headers) ?? c.req.valid('query').last_event_id ?? null
      const webSocket = await joinChat(c.var.ctx, c.req.valid('param').id, cursor)
      return new Response(null, { status: 101, webSocket })
    },
  )
  .get(
    '/:id/events',
    doc('Read a chat’s log', {
      tag,
      description:
        'Oldest first. `after` is the id of the last event that was read, or `next_cursor`. Where the log can’t be read on from there without a gap, the page is one `reset` with the chat as it stands.',
    }),
    allow('chats:read'),
    id,
    query({ limit: paging.limit, after: CursorText.optional() }),
    returnsPage(LoggedEvent),
    async (c) => c.var.reply(await listChatEvents(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .post(
    '/:id/stop',
    doc('Stop the answer', {
      tag,
      description: 'From any tab, any number of times; the text so far is kept.',
      again: (ctx, { id = '' }) => checkEntry(ctx, id),
      errors: ['chat_role_required'],
    }),
    allow('chats:write'),
    id,
    body(StopRun, { optional: true }),
    returns(200, Stopped),
    async (c) => c.var.reply(await stopRun(c.var.ctx, c.req.valid('param').id, c.req.valid('json').run_id)),
  )

function streaming(stream: ReadableStream | null, replayed: string | null = null): Response {
  const headers = new Headers(SSE_HEADERS)
  if (replayed) headers.set('Idempotency-Replayed', replayed)
  return new Response(stream, { headers })
}

/** `Last-Event-ID`, which a browser sends when it reconnects; 400 where it is none of a chat’s. */
function cursorOf(headers: Headers): string | null {
  const sent = headers.get('Last-Event-ID')
  if (sent === null || sent === '') return null
  if (CursorText.safeParse(sent).success) return sent
  throw problem('malformed_header', 'Last-Event-ID must be the id of an event, such as e1-41', {
    details: { header: 'Last-Event-ID' },
  })
}
