import type { Context } from '../../../data/context'
import { objectOf } from '../../../data/objects'
import type { Bindings } from '../../../env'
import type { SendMessage } from '../messages/schema'
import { callerOf } from './caller'
import { problemOf, type Refusal } from './refusal'
import { CALL_HEADER, type Call, type PostedMessage, REFUSED, type RoomVerbs, type SocketCall } from './verbs'

/** The object of a chat; its name carries the tenant, and it answers to no other. */
export async function roomOf(env: Bindings, tenantId: string, chatId: string): Promise<RoomVerbs> {
  const room = await objectOf(env, env.CHATS, tenantId, `${tenantId}/${chatId}`)
  // ChatRoom implements RoomVerbs; the stub’s own type gives up at fields of unknown content.
  return room as unknown as RoomVerbs
}

export function callOf(ctx: Context, chatId: string): Call {
  return { tenant_id: ctx.tenant.id, chat_id: chatId, caller: callerOf(ctx), traceparent: ctx.traceparent }
}

/** The chat’s object with the caller’s own call. */
export async function visit(ctx: Context, chatId: string): Promise<{ room: RoomVerbs; call: Call }> {
  return { room: await roomOf(ctx.env, ctx.tenant.id, chatId), call: callOf(ctx, chatId) }
}

/** Posts a message: a stream of its run, or JSON where `answer` says so. `signal` is the client’s. */
export async function postMessage(
  ctx: Context,
  chatId: string,
  input: SendMessage,
  answer: PostedMessage['answer'],
  signal: AbortSignal,
): Promise<Response> {
  const { room, call } = await visit(ctx, chatId)
  const body = JSON.stringify({ call, input, answer } satisfies PostedMessage)
  return accepted(await room.fetch(new Request('http://room/messages', { method: 'POST', body, signal })))
}

/** Opens a socket to the chat, which follows from `cursor` on. */
export async function openSocket(
  ctx: Context,
  chatId: string,
  format: SocketCall['format'],
  cursor: string | null,
): Promise<WebSocket> {
  const { room, call } = await visit(ctx, chatId)
  const words = encodeURIComponent(JSON.stringify({ ...call, format, cursor } satisfies SocketCall))
  const headers = { Upgrade: 'websocket', [CALL_HEADER]: words }
  const { webSocket } = await accepted(await room.fetch(new Request('http://room/socket', { headers })))
  if (!webSocket) throw new Error('the chat’s object did not open a socket')
  return webSocket
}

/** What the object answered, or its refusal thrown. */
async function accepted(response: Response): Promise<Response> {
  if (response.headers.has(REFUSED)) throw problemOf(await response.json<Refusal>())
  return response
}
