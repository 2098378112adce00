import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsPage } from '../../../http/route'
import { problem } from '../../../lib/problem'
import { Id, paging } from '../../../lib/wire'
import { TicketParam } from '../../realtime/schema'
import { allow } from '../../tenancy/authorize'
import { stillIn } from '../chats/service'
import { answerResumed, answerRun, cursorOf, eventStream, format, ordering, streaming } from './answering'
import { messageBody, orderOf } from './body'
import { CursorText, Exchange, LoggedEvent, Stopped, StopRun } from './schema'
import { joinChat, listChatEvents, stopRun, streamChat } from './service'

const tag = 'Chats'
const id = params({ id: Id })
const lastEventId = CursorText.optional().meta({
  description: 'The last event that was seen; the header wins.',
})

export const messageRoutes = new Hono<AppEnv>()
  .post(
    '/:id/messages',
    doc('Send a message and stream the answer', ordering),
    allow('chats:write'),
    id,
    query({ format }),
    messageBody,
    returns(200, Exchange, { description: 'Both messages, where JSON is preferred' }),
    async (c) => {
      const { format } = c.req.valid('query')
      return answerRun(c, c.req.valid('param').id, orderOf(c.req.valid('json'), format), format)
    },
  )
  .get(
    '/:id/stream',
    doc('Follow a chat', {
      tag,
      counts: 'stream',
      ticket: true,
      description:
        'Everything that happens in the chat, for `EventSource`: first a `snapshot`, or after `Last-Event-ID` exactly what came since, or one `reset` where that can’t be told any more. With `format=ui` it is the run that goes on, from its beginning.',
      returns: eventStream('The chat’s events'),
      also: [{ status: 204, schema: null, description: 'With `format=ui`: no run goes on' }],
    }),
    allow('chats:read'),
    id,
    query({ last_event_id: lastEventId, format, ticket: TicketParam }),
    async (c) => {
      const { format } = c.req.valid('query')
      if (format) return answerResumed(c, c.req.valid('param').id, format)
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
      ticket: true,
      description:
        'The stream’s events as `{id, type, data}`. Takes `message`, `stop`, `typing`, `read`, `ack` and `resume` frames and more (docs/chat.md) and the text `ping`; at most 256 KiB are sent that were not acknowledged.',
      returns: { status: 101, schema: null, description: 'The socket is open' },
    }),
    allow('chats:read'),
    id,
    query({ last_event_id: lastEventId, ticket: TicketParam }),
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
      again: stillIn('editor'),
      errors: ['chat_role_required'],
    }),
    allow('chats:write'),
    id,
    body(StopRun, { optional: true }),
    returns(200, Stopped),
    async (c) => c.var.reply(await stopRun(c.var.ctx, c.req.valid('param').id, c.req.valid('json').run_id)),
  )
