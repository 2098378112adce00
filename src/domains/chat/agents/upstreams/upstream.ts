import type { Settings } from '../../../../env'

/** One message of the conversation as an upstream is told it. */
export type UpstreamMessage = { role: 'user' | 'assistant' | 'system'; content: string; timestamp: string }

/** What a run asks of an agent. */
export type UpstreamRequest = {
  tenant_id: string
  chat_id: string
  run_id: string
  messages: UpstreamMessage[]
  traceparent: string
  /** Aborts the call: the run was stopped, or the chat deleted. */
  signal: AbortSignal
}

/** An agent with its secrets opened, as the adapters need it; it never leaves the process. */
export type AnsweringAgent = {
  id: string
  kind: 'echo' | 'webhook' | 'openai'
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
  idempotent: boolean
}

/** What an upstream says, in order. The end of the iteration is the end of the answer. */
export type UpstreamEvent =
  | { kind: 'status'; description: string; level: 'info' | 'warning' | 'error' }
  | { kind: 'delta'; text: string }
  | { kind: 'usage'; prompt_tokens: number | null; completion_tokens: number | null }
  | { kind: 'finish'; reason: 'stop' | 'length' }

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
      | 'upstream_reset',
    message: string,
    readonly retryable: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'UpstreamFailure'
  }
}

/**
 * An adapter: bytes of an outside service in, events out. The iteration throws UpstreamFailure where the agent failed,
 * having yielded what came before, and the signal's reason where the run was stopped; leaving it early ends the call.
 */
export type Upstream = (
  agent: AnsweringAgent,
  request: UpstreamRequest,
  settings: Settings,
) => AsyncIterable<UpstreamEvent>

/** The message that is to be answered. */
export function latestQuestion(request: UpstreamRequest): string {
  return request.messages.findLast(({ role }) => role === 'user')?.content ?? ''
}
