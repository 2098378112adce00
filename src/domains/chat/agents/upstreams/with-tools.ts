import { type Called, Calls, definitionsOf, nameOf, toldOf } from './calls'
import type { Limits } from './limits'
import {
  type AnsweringAgent,
  type ToolEvent,
  type Upstream,
  type UpstreamEvent,
  UpstreamFailure,
  type UpstreamMessage,
} from './upstream'

/** How often in one answer a model is told what came of its calls; then it must do with what it knows. */
const MOST_TURNS = 8

type Finish = Extract<UpstreamEvent, { kind: 'finish' }>

/** What one turn of a model came to, beside what was passed on of it. */
type Turn = { text: string; calls: ToolEvent[]; finish: Finish | null }

/**
 * An adapter whose model may call the agent’s own tools: they are called here, and the model is asked again with what
 * came of it, until it calls none. Tools that are not the agent’s own are for who asked to call: with them the answer ends.
 */
export function withTools(upstream: Upstream, limits: Limits): Upstream {
  return async function* (agent, request, settings, bindings) {
    const functions = agent.functions ?? []
    if (functions.length === 0) return yield* upstream(agent, request, settings, bindings)
    const end = Date.now() + limits.total_ms
    const calls = new Calls(functions, request)
    const tokens = new Tokens()
    let messages: UpstreamMessage[] = request.messages
    let spoke = false
    for (let n = 0; ; n++) {
      const turn: Turn = { text: '', calls: [], finish: null }
      const asked = { ...agent, config: configOf(agent, n) }
      const events = upstream(asked, { ...request, messages }, settings, bindings)
      for await (const event of heard(events, turn, tokens, n)) {
        // A turn that goes on after another is a paragraph of its own.
        if (event.kind === 'delta' && spoke && !/^\s*\n/.test(event.text))
          yield { kind: 'delta', text: '\n\n' }
        if (event.kind === 'delta') spoke = false
        yield event
      }
      const theirs = callsOfOthers(agent, turn.calls)
      if (turn.calls.length === 0 || theirs.length > 0) {
        yield* theirs
        if (turn.finish) yield turn.finish
        return
      }
      if (n === MOST_TURNS || Date.now() > end) throw endless()
      const called: Called[] = yield* calls.carryOut(turn.calls)
      messages = [...messages, ...toldOf(turn.text, called)]
      if (turn.text !== '') spoke = /\S$/.test(turn.text)
    }
  }
}

/** Passes on what a turn says, but for its calls and its end, which are not the answer’s yet. */
async function* heard(
  events: AsyncIterable<UpstreamEvent>,
  turn: Turn,
  tokens: Tokens,
  n: number,
): AsyncGenerator<UpstreamEvent> {
  for await (const event of events) {
    if (event.kind === 'tool' && event.status === 'call') turn.calls.push(event)
    else if (event.kind === 'finish') turn.finish = event
    else if (event.kind === 'usage') yield tokens.with(event)
    else {
      if (event.kind === 'delta') turn.text += event.text
      // That it is asked goes without saying from the second time on.
      if (event.kind !== 'status' || event.level !== 'info' || n === 0) yield event
    }
  }
  tokens.settle()
}

/** The calls of tools that the agent’s config, or who asked, brought along; the agent’s own go by their names first. */
function callsOfOthers({ config, functions = [] }: AnsweringAgent, calls: readonly ToolEvent[]): ToolEvent[] {
  const own = new Set(functions.map(({ name }) => name))
  const others = new Set((Array.isArray(config.tools) ? config.tools : []).map(nameOf))
  return calls.filter(({ name }) => !own.has(name) && others.has(name))
}

/** The model’s parameters for the nth turn. What forces it to call a tool does so once, or it would never answer. */
function configOf({ kind, config, functions = [] }: AnsweringAgent, n: number): Record<string, unknown> {
  const own = new Set<string | null>(functions.map(({ name }) => name))
  const { tools: given, tool_choice, ...rest } = config
  const others = (Array.isArray(given) ? given : []).filter((one) => !own.has(nameOf(one)))
  const tools = [...others, ...definitionsOf(functions)]
  // Workers AI’s models know no choice.
  if (n === MOST_TURNS) return kind === 'workers_ai' ? rest : { ...rest, tools, tool_choice: 'none' }
  const forced = tool_choice === 'required' || (typeof tool_choice === 'object' && tool_choice !== null)
  if (tool_choice === undefined || (forced && n > 0)) return { ...rest, tools }
  return { ...rest, tools, tool_choice }
}

/** The tokens of an answer: those of its turns together. */
class Tokens {
  private before = { prompt: 0, completion: 0 }
  private now: { prompt: number | null; completion: number | null } = { prompt: null, completion: null }

  with(usage: Extract<UpstreamEvent, { kind: 'usage' }>): UpstreamEvent {
    this.now.prompt = usage.prompt_tokens ?? this.now.prompt
    this.now.completion = usage.completion_tokens ?? this.now.completion
    const { before, now } = this
    return {
      kind: 'usage',
      prompt_tokens: now.prompt === null ? null : before.prompt + now.prompt,
      completion_tokens: now.completion === null ? null : before.completion + now.completion,
    }
  }

  /** The turn has ended; the next tells its own. */
  settle(): void {
    this.before.prompt += this.now.prompt ?? 0
    this.before.completion += this.now.completion ?? 0
    this.now = { prompt: null, completion: null }
  }
}

const endless = () =>
  new UpstreamFailure(
    'upstream_error',
    `The model called tools more than ${MOST_TURNS} times without an answer`,
    false,
  )
