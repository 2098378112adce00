import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import { keptForRepeat } from '../../metering/idempotency/streamed'
import { meterAnswer, type Streamed, streamMeter } from '../../metering/usage/streamed'
import { upstreamOf } from '../agents/upstreams/choose'
import type { AnsweringAgent, UpstreamRequest } from '../agents/upstreams/upstream'
import { type Answer, Chunks, failureChunk, headOf, usageOf } from '../room/formats/openai'
import { STREAMS } from '../room/readers/passed'
import { SSE_HEADERS } from '../room/readers/sse'
import { begun, type End, failureOf, metered, read, refusalOf, type Said } from './answer'
import { offersTools, refuseTaken, requestOf, tuned } from './asking'
import { agentOf } from './models'
import type { Completion, CompletionRequest } from './schema'

type Asked = { answer: Answer; said: AsyncGenerator<Said, void> }

/** Asks the agent, which begins to answer when it is read. 404, 409; 422 for a tool that is called as one of its own. */
async function ask(ctx: Context, input: CompletionRequest, signal: AbortSignal): Promise<Asked> {
  const own = await agentOf(ctx, input.model)
  refuseTaken(own, input)
  const agent = tuned(own, input)
  const request = requestOf(ctx, input.messages, signal)
  const answer = { id: request.run_id, model: agent.id, started_at: ctx.now }
  const events = metered(eventsOf(ctx, agent, request), (cost) =>
    meterAnswer(ctx.env, ctx.tenant.id, routeOf(ctx), cost, ctx.defer),
  )
  return { answer, said: read(events, offersTools(agent)) }
}

/** What usage counts an answer under. */
const routeOf = ({ principal }: Context): Streamed => ({
  ...{ kind: principal.kind, id: principal.id ?? '' },
  ...STREAMS.completions,
})

const eventsOf = (ctx: Context, agent: AnsweringAgent, request: UpstreamRequest) =>
  upstreamOf(agent.kind)(agent, request, ctx.settings, ctx.env)

/** Streams an agent’s answer as OpenAI’s chunks. What fails before the first word is thrown, later it is the last chunk. */
export async function streamCompletion(
  ctx: Context,
  input: CompletionRequest,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const { answer, said } = await ask(ctx, input, signal)
  const first = await begun(said).catch((error: unknown) => Promise.reject(refusalOf(error, signal)))
  const chunks = new Chunks(answer, input.stream_options?.include_usage === true)
  const kept = keptForRepeat(ctx, frames(first, chunks, answer.id, signal), SSE_HEADERS['Content-Type'])
  return counted(ctx, kept)
}

/** Counts what is sent, as of every answer that goes on. */
async function* counted(ctx: Context, frames: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const count = streamMeter(ctx.env, ctx.tenant.id, routeOf(ctx), ctx.defer)
  for await (const frame of frames) {
    count(frame.byteLength)
    yield frame
  }
}

/** Returns whether the answer is whole. */
async function* frames(
  said: AsyncIterable<Said>,
  chunks: Chunks,
  runId: string,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, boolean> {
  yield chunks.start
  try {
    for await (const one of said) {
      if (one.kind === 'text') yield chunks.text(JSON.stringify(one.text))
      else {
        for (const [index, call] of one.calls.entries()) yield chunks.tool(index, call)
        yield* chunks.end(one.finish, one.tokens, one.sources)
      }
    }
    return true
  } catch (error) {
    if (!signal.aborted) yield failureChunk(failureOf(error, runId))
    return false
  }
}

/** An agent’s whole answer as OpenAI’s document; 502 or 504 where the agent failed. */
export async function complete(
  ctx: Context,
  input: CompletionRequest,
  signal: AbortSignal,
): Promise<Completion> {
  const { answer, said } = await ask(ctx, input, signal)
  let text = ''
  let end: End | null = null
  try {
    for await (const one of said) {
      if (one.kind === 'text') text += one.text
      else end = one
    }
  } catch (error) {
    throw refusalOf(error, signal)
  }
  if (!end) throw problem('upstream_failed', 'The agent’s answer has no end')
  return completionOf(answer, text, end)
}

/** OpenAI’s document of an answer. */
export function completionOf(
  answer: Answer,
  text: string,
  { calls, finish, tokens, sources }: Omit<End, 'kind'>,
): Completion {
  const usage = usageOf(tokens)
  const message = {
    role: 'assistant' as const,
    content: text === '' && calls.length > 0 ? null : text,
    refusal: null,
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  }
  return {
    ...headOf(answer, 'chat.completion' as const),
    choices: [{ index: 0, message, logprobs: null, finish_reason: finish }],
    ...(usage ? { usage } : {}),
    ...(sources.length > 0 ? { sources } : {}),
  }
}
