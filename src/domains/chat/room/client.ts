import type { Context } from '../../../data/context'
import { objectOf } from '../../../data/objects'
import type { Bindings } from '../../../env'
import type { Asked, AskedInput, AskedOutput, Told, ToldInput, ToldOutput } from './asked'
import { callerOf } from './caller'
import type { FormatName } from './formats/format'
import { problemOf, type Refusal, resultOf } from './refusal'
import {
  CALL_HEADER,
  type Call,
  type FollowedRun,
  type Ids,
  LANE_PATH,
  type PostedMessage,
  REFUSED,
  type RoomVerbs,
  RUN_PATH,
  type SocketCall,
} from './verbs'

/** The object of a chat; its name carries the tenant, and it answers to no other. */
async function roomOf(env: Bindings, tenantId: string, chatId: string): Promise<RoomVerbs> {
  const room = await objectOf(env, env.CHATS, tenantId, `${tenantId}/${chatId}`)
  // ChatRoom implements RoomVerbs; the stub’s own type gives up at fields of unknown content.
  return room as unknown as RoomVerbs
}

function callOf(ctx: Context, chatId: string): Call {
  return { tenant_id: ctx.tenant.id, chat_id: chatId, caller: callerOf(ctx), traceparent: ctx.traceparent }
}

/** Asks a chat’s object something for the caller; its refusal is thrown as the Problem it is. */
export async function ask<K extends Asked>(
  ctx: Context,
  chatId: string,
  verb: K,
  ...input: AskedInput<K>
): Promise<AskedOutput<K>> {
  const room = await roomOf(ctx.env, ctx.tenant.id, chatId)
  return resultOf(await room.ask(callOf(ctx, chatId), verb, ...input))
}

/** Tells a chat’s object something that no caller asks for. */
export async function tell<K extends Told>(
  env: Bindings,
  ids: Ids,
  word: K,
  ...input: ToldInput<K>
): Promise<ToldOutput<K>> {
  const room = await roomOf(env, ids.tenant_id, ids.chat_id)
  return resultOf(await room.tell(ids, word, ...input))
}

/** Orders a run: a stream of it, or JSON where `answer` says so. `signal` is the client’s. */
export function postMessage(
  ctx: Context,
  chatId: string,
  posted: Omit<PostedMessage, 'call'>,
  signal: AbortSignal,
): Promise<Response> {
  return post(ctx, chatId, '/messages', posted, signal)
}

/** A stream of the run that goes on, from its beginning; null where none does. */
export async function followRun(
  ctx: Context,
  chatId: string,
  format: FormatName,
  signal: AbortSignal,
): Promise<ReadableStream | null> {
  const wanted: Omit<FollowedRun, 'call'> = { format }
  return (await post(ctx, chatId, RUN_PATH, wanted, signal)).body
}

async function post(
  ctx: Context,
  chatId: string,
  path: string,
  posted: object,
  signal: AbortSignal,
): Promise<Response> {
  const room = await roomOf(ctx.env, ctx.tenant.id, chatId)
  const body = JSON.stringify({ call: callOf(ctx, chatId), ...posted })
  return accepted(await room.fetch(new Request(`http://room${path}`, { method: 'POST', body, signal })))
}

/** Opens a socket to the chat, which follows from `cursor` on. */
export async function openSocket(
  ctx: Context,
  chatId: string,
  format: SocketCall['format'],
  cursor: string | null,
): Promise<WebSocket> {
  const room = await roomOf(ctx.env, ctx.tenant.id, chatId)
  const call = callOf(ctx, chatId)
  const words = encodeURIComponent(JSON.stringify({ ...call, format, cursor } satisfies SocketCall))
  const headers = { Upgrade: 'websocket', [CALL_HEADER]: words }
  const { webSocket } = await accepted(await room.fetch(new Request('http://room/socket', { headers })))
  if (!webSocket) throw new Error('the chat’s object did not open a socket')
  return webSocket
}

/** The stream that the chat’s object has asked to be fetched by that word; null where it has thought better of it. */
export async function openLane(ctx: Context, chatId: string, id: string): Promise<ReadableStream | null> {
  const room = await roomOf(ctx.env, ctx.tenant.id, chatId)
  return (await room.fetch(new Request(`http://room${LANE_PATH}`, { headers: { [CALL_HEADER]: id } }))).body
}

/** What the object answered, or its refusal thrown. */
async function accepted(response: Response): Promise<Response> {
  if (response.headers.has(REFUSED)) throw problemOf(await response.json<Refusal>())
  return response
}
