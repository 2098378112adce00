import { log } from '../../../lib/log'
import { type Problem, problem } from '../../../lib/problem'
import { type ToolEvent, type UpstreamEvent, UpstreamFailure } from '../agents/upstreams/upstream'
import type { Source, Usage } from '../messages/schema'
import type { FinishReason, Tokens, ToolCall } from '../room/formats/openai'

/** What an agent says, in OpenAI’s terms: pieces of text, and at the end how it ended. */
export type Said = { kind: 'text'; text: string } | ({ kind: 'end' } & End)
export type End = { calls: ToolCall[]; finish: FinishReason; tokens: Tokens; sources: Source[] }

/**
 * Reads an agent’s answer. Calls of tools are for the client where it `offers` any and the agent neither did them itself
 * nor went on talking.
 */
export async function* read(
  events: AsyncIterable<UpstreamEvent>,
  offers: boolean,
): AsyncGenerator<Said, void> {
  const calls = new Map<string, ToolCall>()
  const tokens: Tokens = { prompt_tokens: null, completion_tokens: null }
  let finish: FinishReason = 'stop'
  let sources: Source[] = []
  for await (const event of events) {
    if (event.kind === 'delta') {
      if (event.text.trim() !== '') calls.clear()
      if (event.text !== '') yield { kind: 'text', text: event.text }
    } else if (event.kind === 'tool') note(calls, event)
    else if (event.kind === 'usage') {
      tokens.prompt_tokens = event.prompt_tokens ?? tokens.prompt_tokens
      tokens.completion_tokens = event.completion_tokens ?? tokens.completion_tokens
    } else if (event.kind === 'sources') sources = event.sources
    else if (event.kind === 'finish') finish = event.reason
  }
  const open = offers ? [...calls.values()] : []
  yield { kind: 'end', calls: open, finish: open.length > 0 ? 'tool_calls' : finish, tokens, sources }
}

/** The events as they are; when they have ended, however that was, `ended` is told what they cost. */
export async function* metered(
  events: AsyncIterable<UpstreamEvent>,
  ended: (cost: Usage) => void,
): AsyncGenerator<UpstreamEvent, void> {
  const started = Date.now()
  const cost: Usage = {
    ...{ prompt_tokens: null, completion_tokens: null },
    ...{ time_to_first_token_ms: null, duration_ms: 0 },
  }
  try {
    for await (const event of events) {
      if (event.kind === 'delta') cost.time_to_first_token_ms ??= Date.now() - started
      if (event.kind === 'usage') {
        cost.prompt_tokens = event.prompt_tokens ?? cost.prompt_tokens
        cost.completion_tokens = event.completion_tokens ?? cost.completion_tokens
      }
      yield event
    }
  } finally {
    ended({ ...cost, duration_ms: Date.now() - started })
  }
}

function note(calls: Map<string, ToolCall>, { id, name, status, arguments: input }: ToolEvent): void {
  if (status !== 'call') calls.delete(id)
  else {
    const text = typeof input === 'string' ? input : JSON.stringify(input ?? {})
    calls.set(id, { id, type: 'function', function: { name, arguments: text } })
  }
}

/** The refusal that an agent’s failure is, where nothing was said yet; nobody hears it where the client has left. */
export function refusalOf(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return problem('upstream_failed', 'The client left before the agent had answered')
  if (!(error instanceof UpstreamFailure)) return error
  const late = error.code === 'upstream_stalled'
  return problem(late ? 'upstream_timeout' : 'upstream_failed', error.message, {
    details: { reason: error.code },
  })
}

/** What is said of a failure once the stream has begun. */
export function failureOf(error: unknown, runId: string): Pick<Problem, 'message'> & { code: string } {
  if (error instanceof UpstreamFailure) return { message: error.message, code: error.code }
  log.error('completion_failed', {
    run_id: runId,
    cause: error instanceof Error ? error.stack : String(error),
  })
  return { message: 'Something went wrong on our side', code: 'internal_error' }
}

/** How long a stream’s first word is waited for before the answer begins without it. */
const PATIENCE_MS = 10_000

/**
 * Waits for the first word, so that what fails before it is told by the answer’s status; what works longer is told of
 * in the stream.
 */
export async function begun<T>(
  source: AsyncGenerator<T, void>,
  patienceMs = PATIENCE_MS,
): Promise<AsyncGenerator<T, void>> {
  const first = source.next()
  let timer: ReturnType<typeof setTimeout> | undefined
  const patience = new Promise((resolve) => {
    timer = setTimeout(resolve, patienceMs)
  })
  await Promise.race([first, patience]).finally(() => clearTimeout(timer))
  // It is awaited below, unless the client leaves before.
  first.catch(() => {})
  return (async function* () {
    try {
      for (let next = await first; !next.done; next = await source.next()) yield next.value
    } finally {
      await source.return()
    }
  })()
}
