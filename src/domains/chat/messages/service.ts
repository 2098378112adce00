import type { Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { streamMeter } from '../../metering/usage/streamed'
import { openSocket, postMessage, visit } from '../room/client'
import { STREAMS } from '../room/passed'
import { resultOf } from '../room/refusal'
import { streamOver } from '../room/stream'
import type { Wanted } from './accept'
import type { LoggedEvent, SendMessage, Stopped } from './schema'

/** Posts a message; the object answers with the stream of its run, or with JSON where that is wanted. */
export function sendMessage(
  ctx: Context,
  chatId: string,
  input: SendMessage,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<Response> {
  return postMessage(ctx, chatId, input, wanted, signal)
}

/** The chat’s events from `cursor` on, as they happen, until the client leaves. */
export async function streamChat(
  ctx: Context,
  chatId: string,
  cursor: string | null,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const { principal, tenant, env, defer } = ctx
  const streamed = { kind: principal.kind, id: principal.id ?? '', ...STREAMS.stream }
  const count = streamMeter(env, tenant.id, streamed, defer)
  return streamOver(await openSocket(ctx, chatId, 'sse', cursor), signal, { count })
}

/** A client’s own socket to the chat. */
export function joinChat(ctx: Context, chatId: string, cursor: string | null): Promise<WebSocket> {
  return openSocket(ctx, chatId, 'ws', cursor)
}

/** A page of the chat’s log. */
export async function listChatEvents(
  ctx: Context,
  chatId: string,
  input: { after?: string | undefined; limit: number },
): Promise<Page<LoggedEvent>> {
  const { room, call } = await visit(ctx, chatId)
  return resultOf(await room.events(call, { after: input.after ?? null, limit: input.limit }))
}

/** Stops the chat’s run, from wherever; harmless where none goes on. */
export async function stopRun(ctx: Context, chatId: string, runId?: string): Promise<Stopped> {
  const { room, call } = await visit(ctx, chatId)
  return resultOf(await room.stop(call, runId))
}
