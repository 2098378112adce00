import type { Context } from '../../../data/context'
import type { Page } from '../../../data/page'
import { streamMeter } from '../../metering/usage/streamed'
import { ask, followRun, openLane, openSocket, postMessage } from '../room/client'
import type { FormatName } from '../room/formats/format'
import { STREAMS } from '../room/readers/passed'
import { streamOver } from '../room/readers/stream'
import type { PostedMessage } from '../room/verbs'
import type { LoggedEvent, Stopped } from './schema'

/** Begins a run; the object answers with its stream, or with JSON where that is wanted. */
export function orderRun(
  ctx: Context,
  chatId: string,
  posted: Omit<PostedMessage, 'call'>,
  signal: AbortSignal,
): Promise<Response> {
  return postMessage(ctx, chatId, posted, signal)
}

/** The chat’s events from `cursor` on, as they happen, until the client leaves. */
export async function streamChat(
  ctx: Context & { link?: string },
  chatId: string,
  cursor: string | null,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const { principal, tenant, env, defer } = ctx
  const route = ctx.link === undefined ? STREAMS.stream : STREAMS.shared
  const streamed = { kind: principal.kind, id: principal.id ?? '', ...route }
  const count = streamMeter(env, tenant.id, streamed, defer)
  const lane = (id: string) => openLane(ctx, chatId, id)
  return streamOver(await openSocket(ctx, chatId, 'sse', cursor), signal, { count, lane })
}

/** The run that goes on, as the AI SDK’s client resumes it: from its beginning; null where none does. */
export function resumeRun(
  ctx: Context,
  chatId: string,
  format: FormatName,
  signal: AbortSignal,
): Promise<ReadableStream | null> {
  return followRun(ctx, chatId, format, signal)
}

/** A client’s own socket to the chat. */
export function joinChat(ctx: Context, chatId: string, cursor: string | null): Promise<WebSocket> {
  return openSocket(ctx, chatId, 'ws', cursor)
}

/** A page of the chat’s log. */
export function listChatEvents(
  ctx: Context,
  chatId: string,
  input: { after?: string | undefined; limit: number },
): Promise<Page<LoggedEvent>> {
  return ask(ctx, chatId, 'events', { after: input.after ?? null, limit: input.limit })
}

/** Stops the chat’s run, from wherever; harmless where none goes on. */
export function stopRun(ctx: Context, chatId: string, runId?: string): Promise<Stopped> {
  return ask(ctx, chatId, 'stop', { run_id: runId })
}
