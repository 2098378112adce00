import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { nameOf } from '../agents/upstreams/calls'
import type { AnsweringAgent, UpstreamMessage, UpstreamRequest } from '../agents/upstreams/upstream'
import { type CompletionRequest, type InputMessage, PARAMETERS } from './schema'

// What an agent is asked where OpenAI’s client asks it.

/** The agent with what the caller wants of it: what its own config says stands. */
export function tuned(agent: AnsweringAgent, input: CompletionRequest): AnsweringAgent {
  const wanted = Object.entries(input).filter(
    ([name, value]) => name in PARAMETERS && value !== null && value !== undefined,
  )
  const { config } = agent
  // Two names of one thing: a model is asked by one of them.
  const limited = 'max_tokens' in config || 'max_completion_tokens' in config
  const open = wanted.filter(([name]) => !(limited && name.startsWith('max_')))
  return { ...agent, config: { ...Object.fromEntries(open), ...config } }
}

/** 422 where a tool of the client's has the name of one of the agent's own: nobody could tell whose a call is. */
export function refuseTaken({ functions = [] }: AnsweringAgent, { tools }: CompletionRequest): void {
  const own = new Set<string | null>(functions.map(({ name }) => name))
  const taken = (tools ?? []).flatMap((tool, i) =>
    own.has(nameOf(tool)) ? [`tools.${i}.function.name`] : [],
  )
  const message = 'must be another name, since one of the agent’s own tools has it'
  if (taken.length > 0) throw problem.invalid(Object.fromEntries(taken.map((path) => [path, message])))
}

/** Whether the client has tools that the agent may ask it to use. */
export const offersTools = ({ config }: AnsweringAgent): boolean =>
  Array.isArray(config.tools) && config.tools.length > 0

/** The request for an agent that is asked without a chat. */
export function requestOf(ctx: Context, messages: InputMessage[], signal: AbortSignal): UpstreamRequest {
  return {
    tenant_id: ctx.tenant.id,
    chat_id: newId(ctx.now),
    run_id: newId(ctx.now),
    messages: messages.map((message) => told(message, iso(ctx.now))),
    traceparent: ctx.traceparent,
    signal,
  }
}

const ROLES: Record<InputMessage['role'], UpstreamMessage['role']> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  assistant: 'assistant',
  tool: 'tool',
  function: 'tool',
}

function told(message: InputMessage, timestamp: string): UpstreamMessage {
  const { role, content, ...more } = message
  const whole = typeof content !== 'string' || Object.keys(more).length > 0 || ROLES[role] !== role
  return { role: ROLES[role], content: textOf(message), timestamp, ...(whole ? { sent: message } : {}) }
}

/** The text of a message; of parts those that are text. */
export function textOf({ content }: InputMessage): string {
  if (typeof content === 'string') return content.toWellFormed()
  return (content ?? [])
    .flatMap(({ type, text }) => (type === 'text' ? (text ?? '') : []))
    .join('\n')
    .toWellFormed()
}
