import type { Settings } from '../../../../env'
import { signature } from '../../../webhooks/deliveries/signature'
import { withUrls } from '../../attachments/told'
import { makeRunToken, RUN_TOKEN_HEADER } from '../../runs/token'
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
    yield* repeating(agent, limits, request, async function* () {
      yield* exchange(await callOf(agent, request, settings), settings, limits, request.signal)
    })
  }
}

async function callOf(agent: AnsweringAgent, request: UpstreamRequest, settings: Settings): Promise<Call> {
  if (agent.webhook_url === null)
    throw new UpstreamFailure('upstream_refused_address', 'The agent has no webhook_url', false)
  const told = { settings, tenant_id: request.tenant_id }
  const messages = await Promise.all(request.messages.map((message) => withUrls(told, message)))
  const question = messages.at(-1)
  const body = JSON.stringify({
    messages,
    // The question’s own, where a workflow looks for them.
    ...(question && 'attachments' in question ? { attachments: question.attachments } : {}),
    system_prompt: agent.system_prompt,
    config: agent.config,
    ...(request.knowledge ? { knowledge: request.knowledge } : {}),
    // What n8n's chat trigger reads.
    action: 'sendMessage',
    sessionId: request.chat_id,
    chatInput: latestQuestion(request),
  })
  const [token, proof] = await Promise.all([
    request.callback ? makeRunToken(settings, request) : null,
    signed(agent, request.run_id, body),
  ])
  return {
    url: agent.webhook_url,
    headers: {
      ...credential(agent),
      ...proof,
      'Content-Type': 'application/json',
      Accept: 'text/event-stream, application/x-ndjson, application/json;q=0.9, */*;q=0.8',
      // A compressed answer comes in blocks, not in words.
      'Accept-Encoding': 'identity',
      'User-Agent': 'Causeway-Agents/1',
      'X-Causeway-Run-Id': request.run_id,
      ...(token === null ? {} : callbackOf(settings, request.run_id, token)),
      traceparent: request.traceparent,
    },
    body,
    secrets: [agent.webhook_token, agent.signing_secret, token, ...(agent.opened ?? [])],
    callback: token !== null,
  }
}

/** Where an agent that answers 202 posts what it says (chat.md, "Callback mode"), and by what right. */
const callbackOf = (settings: Settings, runId: string, token: string) => ({
  'X-Causeway-Run-Events': `${settings.PUBLIC_URL}/api/v1/runs/${runId}/events`,
  [RUN_TOKEN_HEADER]: token,
})

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
