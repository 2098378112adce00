import { signature } from '../../../webhooks/deliveries/signature'
import { type Call, exchange } from './exchange'
import { LIMITS, type Limits } from './limits'
import { repeating } from './retry'
import {
  type AnsweringAgent,
  latestQuestion,
  type Upstream,
  UpstreamFailure,
  type UpstreamRequest,
} from './upstream'

/** n8n, or anything that answers HTTP: one POST, read in whatever form it is answered (chat.md, "The webhook adapter"). */
export function webhook(limits: Limits = LIMITS): Upstream {
  return async function* (agent, request, settings) {
    yield { kind: 'status', description: 'Sending request to the webhook…', level: 'info' }
    yield* repeating(agent, limits, request.signal, async function* () {
      yield* exchange(await callOf(agent, request), settings, limits, request.signal)
    })
  }
}

async function callOf(agent: AnsweringAgent, request: UpstreamRequest): Promise<Call> {
  if (agent.webhook_url === null)
    throw new UpstreamFailure('upstream_refused_address', 'The agent has no webhook_url', false)
  const body = JSON.stringify({
    messages: request.messages,
    system_prompt: agent.system_prompt,
    config: agent.config,
    // What n8n's chat trigger reads.
    action: 'sendMessage',
    sessionId: request.chat_id,
    chatInput: latestQuestion(request),
  })
  return {
    url: agent.webhook_url,
    headers: {
      ...credential(agent),
      ...(await signed(agent, request.run_id, body)),
      'Content-Type': 'application/json',
      Accept: 'text/event-stream, application/x-ndjson, application/json;q=0.9, */*;q=0.8',
      // A compressed answer comes in blocks, not in words.
      'Accept-Encoding': 'identity',
      'User-Agent': 'Causeway-Agents/1',
      'X-Causeway-Run-Id': request.run_id,
      traceparent: request.traceparent,
    },
    body,
    secrets: [agent.webhook_token, agent.signing_secret],
  }
}

function credential(agent: AnsweringAgent): Record<string, string> {
  if (agent.webhook_token === null) return {}
  return agent.webhook_header === null
    ? { Authorization: `Bearer ${agent.webhook_token}` }
    : { [agent.webhook_header]: agent.webhook_token }
}

/** Standard Webhooks: the run is the message, so a repetition carries the same id. */
async function signed(agent: AnsweringAgent, runId: string, body: string): Promise<Record<string, string>> {
  if (agent.signing_secret === null) return {}
  const timestamp = Math.floor(Date.now() / 1000)
  return {
    'webhook-id': runId,
    'webhook-timestamp': String(timestamp),
    'webhook-signature': await signature([agent.signing_secret], runId, timestamp, body),
  }
}
