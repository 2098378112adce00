import type { Settings } from '../../../../env'
import { asParts } from '../../attachments/told'
import { type Call, exchange } from './exchange'
import { LIMITS, type Limits } from './limits'
import { repeating } from './retry'
import { prompted } from './told'
import { type AnsweringAgent, type Upstream, UpstreamFailure, type UpstreamRequest } from './upstream'

/** Any server of the OpenAI chat-completions protocol; asked to stream, and read also where it does not. */
export function openai(limits: Limits = LIMITS): Upstream {
  return async function* (agent, request, settings) {
    yield { kind: 'status', description: 'Sending request to the model…', level: 'info' }
    yield* repeating(agent, limits, request, async function* () {
      yield* exchange(await callOf(agent, request, settings), settings, limits, request.signal)
    })
  }
}

async function callOf(agent: AnsweringAgent, request: UpstreamRequest, settings: Settings): Promise<Call> {
  if (agent.base_url === null)
    throw new UpstreamFailure('upstream_refused_address', 'The agent has no base_url', false)
  const told = { settings, tenant_id: request.tenant_id }
  const history = await Promise.all(request.messages.map((message) => message.sent ?? asParts(told, message)))
  const streamed = agent.config.stream !== false
  return {
    url: completionsUrl(agent.base_url),
    headers: {
      ...(agent.api_key === null ? {} : { Authorization: `Bearer ${agent.api_key}` }),
      'Content-Type': 'application/json',
      Accept: 'text/event-stream, application/json;q=0.9',
      'Accept-Encoding': 'identity',
      'User-Agent': 'Causeway-Agents/1',
      'X-Causeway-Run-Id': request.run_id,
      traceparent: request.traceparent,
    },
    body: JSON.stringify({
      stream: streamed,
      ...(streamed ? { stream_options: { include_usage: true } } : {}),
      ...agent.config,
      messages: [...prompted(agent, request), ...history],
    }),
    secrets: [agent.api_key, ...(agent.opened ?? [])],
  }
}

/** `base_url` as OpenAI's clients take it, or the whole address; a query (Azure's api-version) stays. */
export function completionsUrl(base: string): string {
  const url = new URL(base)
  const path = url.pathname.replace(/\/+$/, '')
  url.pathname = path.endsWith('/chat/completions') ? path : `${path}/chat/completions`
  return url.href
}
