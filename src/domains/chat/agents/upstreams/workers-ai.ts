import type { Settings, WorkersAi } from '../../../../env'
import { asText } from '../../attachments/told'
import { readAnswer } from './exchange'
import { LIMITS, type Limits } from './limits'
import { Patience } from './patience'
import { repeating } from './retry'
import { prompted } from './told'
import { type AnsweringAgent, type Upstream, UpstreamFailure, type UpstreamRequest } from './upstream'

/** A request that ran out of time, or found no capacity for the moment (developers.cloudflare.com/workers-ai/platform/errors). */
const MAY_PASS = /\b(?:3007|3008|3040)\b/
/** The most of Workers AI’s own words that a reader is shown. */
const MAX_MESSAGE = 300

/** Cloudflare’s models, by the service’s own binding: no address and no key. */
export function workersAi(limits: Limits = LIMITS): Upstream {
  return async function* (agent, request, settings, { AI }) {
    if (!AI) throw notBound()
    yield { kind: 'status', description: 'Sending request to the model…', level: 'info' }
    yield* repeating(agent, limits, request, async function* () {
      const patience = new Patience(limits, request.signal)
      const answer = await waitedFor(asked(AI, agent, request, settings), (work) =>
        patience.until(work, refused),
      )
      const streamed = answer instanceof ReadableStream
      const body = streamed ? answer : new Blob([JSON.stringify(answer ?? {})]).stream()
      yield* readAnswer(body, streamed ? 'text/event-stream' : 'application/json', limits, patience)
    })
  }
}

/** Its parameters are the agent’s; a model that can’t stream answers one document all the same. */
async function asked(
  ai: WorkersAi,
  agent: AnsweringAgent,
  request: UpstreamRequest,
  settings: Settings,
): Promise<unknown> {
  const { model, ...parameters } = agent.config
  const told = { settings, tenant_id: request.tenant_id }
  const history = await Promise.all(
    request.messages.map(({ sent, ...message }) =>
      // Its models want a text, if an empty one, where a turn was nothing but calls.
      sent ? { ...sent, content: sent.content ?? '' } : asText(told, message),
    ),
  )
  return ai.run(String(model), {
    stream: true,
    ...parameters,
    messages: [...prompted(agent, request), ...history],
  })
}

/** Waits for an answer as `wait` does; one that comes when nobody waits any more is let go. */
async function waitedFor(work: Promise<unknown>, wait: (work: Promise<unknown>) => Promise<unknown>) {
  try {
    return await wait(work)
  } catch (error) {
    const letGo = (late: unknown) => (late instanceof ReadableStream ? late.cancel() : undefined)
    void work.then(letGo).catch(() => {})
    throw error
  }
}

/** The service has no such binding: nothing that the agent’s owner could mend. */
const notBound = () =>
  new UpstreamFailure(
    'workers_ai_not_bound',
    'This service has no Workers AI: it has no binding named AI',
    false,
  )

function refused(cause: unknown): UpstreamFailure {
  const said = cause instanceof Error ? cause.message : String(cause)
  const message = `Workers AI refused: ${said.replace(/\s+/g, ' ').slice(0, MAX_MESSAGE)}`
  return new UpstreamFailure('upstream_error', message, MAY_PASS.test(said), { cause })
}
