import type { Bindings, Settings } from '../../../../env'
import type { AgentFunction } from '../../../tools/for-agents'
import type { Attachment } from '../../attachments/schema'
import type { Source } from '../../messages/schema'

/** One message of the conversation as an upstream is told it. */
export type UpstreamMessage = {
  /** `tool` says what came of a call; only clients that carry tools out themselves send that. */
  role: 'user' | 'assistant' | 'system' | 'tool'
  content: string
  timestamp: string
  /** Its files, where it has any; an adapter makes URLs of them. */
  attachments?: Attachment[]
  /** As a client of OpenAI’s protocol sent it, where that says more: pictures, calls of tools and what came of them. */
  sent?: Record<string, unknown>
}

/** What a run asks of an agent. */
export type UpstreamRequest = {
  tenant_id: string
  chat_id: string
  run_id: string
  messages: UpstreamMessage[]
  traceparent: string
  /** Aborts the call: the run was stopped, or the chat deleted. */
  signal: AbortSignal
  /** What its knowledge bases have on the question; absent where it has none. */
  knowledge?: Passage[]
  /** Given where an agent may answer by callback; says whether it does. */
  callback?: { readonly handedOver: boolean }
}

/** A piece of a document, as the agent is told it. */
export type Passage = Source & { text: string }

/** An agent with its secrets opened, as the adapters need it; it never leaves the process. */
export type AnsweringAgent = {
  id: string
  kind: 'echo' | 'webhook' | 'openai' | 'workers_ai' | 'ultravox'
  system_prompt: string | null
  config: Record<string, unknown>
  webhook_url: string | null
  webhook_token: string | null
  /** Header that carries `webhook_token` instead of `Authorization: Bearer`. */
  webhook_header: string | null
  /** Signs the request (Standard Webhooks). */
  signing_secret: string | null
  base_url: string | null
  api_key: string | null
  /** Secrets that stand within those credentials. */
  opened?: readonly string[]
  idempotent: boolean
  /** The tools that its model may call, and that are called for it. */
  functions?: readonly AgentFunction[]
  knowledge_base_ids: string[]
}

/** A tool that the agent calls, or called: with its arguments, then with what came of it. */
export type ToolEvent = {
  kind: 'tool'
  id: string
  name: string
  status: 'call' | 'result' | 'error'
  arguments?: unknown
  result?: unknown
}

/** What an upstream says, in order. The end of the iteration is the end of the answer. */
export type UpstreamEvent =
  | { kind: 'status'; description: string; level: 'info' | 'warning' | 'error' }
  | { kind: 'delta'; text: string }
  | { kind: 'usage'; prompt_tokens: number | null; completion_tokens: number | null }
  | { kind: 'finish'; reason: 'stop' | 'length' }
  | ToolEvent
  /** What of its knowledge bases the agent was told; before its first word. */
  | { kind: 'sources'; sources: Source[] }
  /** What follows comes by callback; what the call says after this does not count. */
  | { kind: 'callback' }

/** How an upstream failed; what text had come is kept by the run. */
export class UpstreamFailure extends Error {
  constructor(
    readonly code:
      | 'upstream_refused_address'
      | 'upstream_unreachable'
      | 'upstream_status'
      | 'upstream_redirect'
      | 'upstream_html'
      | 'upstream_empty'
      | 'upstream_stalled'
      | 'upstream_too_large'
      | 'upstream_error'
      | 'upstream_reset'
      | 'workers_ai_not_bound'
      | 'agent_on_calls_only',
    message: string,
    readonly retryable: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'UpstreamFailure'
  }
}

export const webPage = (message: string) => new UpstreamFailure('upstream_html', message, false)

/**
 * An adapter: bytes of an outside service in, events out. The iteration throws UpstreamFailure where the agent failed,
 * having yielded what came before, and the signal's reason where the run was stopped; leaving it early ends the call.
 */
export type Upstream = (
  agent: AnsweringAgent,
  request: UpstreamRequest,
  settings: Settings,
  env: Bindings,
) => AsyncIterable<UpstreamEvent>

/** The message that is to be answered. */
export function latestQuestion(request: UpstreamRequest): string {
  return request.messages.findLast(({ role }) => role === 'user')?.content ?? ''
}
