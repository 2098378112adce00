import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { problem } from '../../../lib/problem'
import { keptForRepeat } from '../../metering/idempotency/streamed'
import type { Source, Usage } from '../messages/schema'
import { cut, type DataOf, frameOf, MAX_DELTA } from '../room/log/protocol'
import { toolEntry } from '../room/log/tool-entry'
import { RETRY, SSE_HEADERS } from '../room/readers/sse'
import type { TestAgent } from './schema'
import { getAnsweringAgent, mustAnswer } from './service'
import { upstreamOf } from './upstreams/choose'
import { type UpstreamEvent, UpstreamFailure } from './upstreams/upstream'

/**
 * Asks an agent once, outside of any chat, also one that is not active: the answer's events as they go over the wire.
 * 404 before it begins; afterwards failures are events. Aborting `signal` ends it without another word.
 */
export async function testAgent(
  ctx: Context,
  id: string,
  input: TestAgent,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const agent = await getAnsweringAgent(ctx, id)
  if (!agent) throw problem.notFound('agent', id)
  mustAnswer({ ...agent, is_active: true })
  const run_id = newId(ctx.now)
  const request = {
    tenant_id: ctx.tenant.id,
    chat_id: newId(ctx.now),
    run_id,
    messages: [{ role: 'user' as const, content: input.content, timestamp: iso(ctx.now) }],
    traceparent: ctx.traceparent,
    signal,
  }
  const answer = frames(upstreamOf(agent.kind)(agent, request, ctx.settings, ctx.env), run_id, signal)
  return keptForRepeat(ctx, answer, SSE_HEADERS['Content-Type'])
}

/** Returns whether the answer is whole. */
async function* frames(
  events: AsyncIterable<UpstreamEvent>,
  run_id: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, boolean> {
  yield RETRY
  const started = Date.now()
  let sources: Source[] = []
  let finish: DataOf['done']['finish'] = 'stop'
  const usage: Usage = {
    prompt_tokens: null,
    completion_tokens: null,
    time_to_first_token_ms: null,
    duration_ms: 0,
  }
  try {
    for await (const event of events) {
      if (event.kind === 'delta') {
        usage.time_to_first_token_ms ??= Date.now() - started
        for (
          let [piece, rest] = cut(event.text, MAX_DELTA);
          piece !== '';
          [piece, rest] = cut(rest, MAX_DELTA)
        )
          yield print('message', { content: piece })
      } else if (event.kind === 'status')
        yield print('status', {
          description: cut(event.description, MAX_WORDS)[0],
          level: event.level,
          done: false,
        })
      else if (event.kind === 'usage') {
        usage.prompt_tokens = event.prompt_tokens ?? usage.prompt_tokens
        usage.completion_tokens = event.completion_tokens ?? usage.completion_tokens
      } else if (event.kind === 'tool') yield print('tool', toolEntry(event))
      else if (event.kind === 'sources') sources = event.sources
      else if (event.kind === 'finish') finish = event.reason
    }
    usage.duration_ms = Date.now() - started
    const told = sources.length > 0 ? { sources } : {}
    yield print('done', { message: 'Stream completed', run_id, finish, usage, ...told })
    return true
  } catch (error) {
    if (!signal.aborted) yield print('error', failureOf(error, run_id))
    return false
  }
}

/** A description of any length must not make a frame longer than a frame may be. */
const MAX_WORDS = 1024

/** The events of a chat's own stream, without the ids of what only a chat has. */
function print<T extends 'status' | 'message' | 'tool' | 'done' | 'error'>(
  type: T,
  data: Omit<DataOf[T], 'message_id'>,
): Uint8Array {
  return frameOf(null, type, data).sse
}

function failureOf(error: unknown, run_id: string): DataOf['error'] {
  if (error instanceof UpstreamFailure) {
    const { code, message, retryable } = error
    return { message, code, retryable }
  }
  log.error('agent_test_failed', { run_id, cause: error instanceof Error ? error.stack : String(error) })
  return { message: 'Something went wrong on our side', code: 'internal_error', retryable: true }
}
