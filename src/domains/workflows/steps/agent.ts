import type { Context } from '../../../data/context'
import { hex, utf8 } from '../../../lib/encoding'
import { iso } from '../../../lib/ids'
import { sizeOf } from '../../../lib/json-size'
import { getAnsweringAgent } from '../../chat/agents/service'
import { upstreamOf } from '../../chat/agents/upstreams/choose'
import { UpstreamFailure } from '../../chat/agents/upstreams/upstream'
import type { Source } from '../../chat/messages/schema'
import type { AgentStep } from '../definition'
import { Filler, type Scope } from '../template'
import { Cost, tellMeter } from './cost'
import { type Performed, StepFailure, type Visit } from './performed'

/** The longest answer that is kept, in characters. */
const MOST_TEXT = 32 * 1024

/** Asks an agent as a chat would, and takes its whole answer. All steps of a run are one conversation to it. */
export async function performAgent(
  ctx: Context,
  step: AgentStep,
  scope: Scope,
  visit: Visit,
): Promise<Performed> {
  const content = new Filler(scope).text(step.prompt)
  if (content.trim() === '') throw new StepFailure('its prompt is empty')
  const agent = await getAnsweringAgent(ctx, step.agent_id)
  if (!agent) throw new StepFailure(`there is no agent ${step.agent_id} any more`)
  if (!agent.is_active) throw new StepFailure(`the agent ${agent.name} is switched off`)
  const signal = AbortSignal.timeout(step.timeout_seconds * 1_000)
  const request = {
    ...{ tenant_id: ctx.tenant.id, chat_id: visit.run_id, run_id: await idOf(visit.key) },
    messages: [{ role: 'user' as const, content, timestamp: iso(Date.now()) }],
    ...{ traceparent: ctx.traceparent, signal },
  }
  let text = ''
  let sources: Source[] | null = null
  const cost = new Cost()
  try {
    for await (const event of upstreamOf(agent.kind)(agent, request, ctx.settings, ctx.env)) {
      cost.take(event)
      if (event.kind === 'delta') text += event.text
      if (event.kind === 'sources') sources = event.sources
      if (text.length > MOST_TEXT) throw new StepFailure(`its answer is over ${MOST_TEXT} characters`)
    }
  } catch (error) {
    if (error instanceof UpstreamFailure) throw new StepFailure(error.message, error.retryable)
    if (!signal.aborted) throw error
    throw new StepFailure(`the agent did not answer within ${step.timeout_seconds} seconds`, true)
  }
  await tellMeter(ctx, visit, cost)
  return { output: { text, json: jsonIn(text), ...(sources ? { sources } : {}) } }
}

/** What an agent that was asked for JSON answered; null where the text is none. */
function jsonIn(text: string): unknown {
  const bare = /^\s*```(?:json)?\s*\n([\s\S]*?)\n\s*```\s*$/.exec(text)?.[1] ?? text
  try {
    const value: unknown = JSON.parse(bare)
    return typeof value === 'object' && Number.isFinite(sizeOf(value)) ? value : null
  } catch {
    return null
  }
}

/** A UUID (version 8) that is the same for the same visit: the agent is told of the same run however often it is asked. */
async function idOf(key: string): Promise<string> {
  const digest = hex(new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(key))))
  return `${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-a${digest.slice(17, 20)}-${digest.slice(20, 32)}`
}
