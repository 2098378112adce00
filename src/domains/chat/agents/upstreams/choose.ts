import { echo } from './echo'
import { informed } from './informed'
import { keyed } from './keyed'
import { LIMITS, type Limits } from './limits'
import { openai } from './openai'
import { type AnsweringAgent, type Upstream, UpstreamFailure } from './upstream'
import { webhook } from './webhook'
import { withTools } from './with-tools'
import { workersAi } from './workers-ai'

/** One that speaks on calls alone is not asked; this is for who asked while the agent was another. */
const calledOnly: Upstream = () => {
  throw new UpstreamFailure(
    'agent_on_calls_only',
    'The agent speaks on calls only; place one by POST /api/v1/calls',
    false,
  )
}

/** What asks agents of a kind, with what their knowledge bases have on the question. */
export function upstreamOf(kind: AnsweringAgent['kind'], limits: Limits = LIMITS): Upstream {
  const adapter = adapterOf(kind, limits)
  return KNOWING.has(kind) ? informed(adapter) : adapter
}

/** The kinds that are told anything but the question. */
const KNOWING: ReadonlySet<AnsweringAgent['kind']> = new Set(['webhook', 'openai', 'workers_ai'])

function adapterOf(kind: AnsweringAgent['kind'], limits: Limits): Upstream {
  switch (kind) {
    case 'echo':
      return echo
    case 'webhook':
      return keyed(webhook(limits))
    case 'openai':
      return keyed(withTools(openai(limits), limits))
    case 'workers_ai':
      return withTools(workersAi(limits), limits)
    case 'ultravox':
      return calledOnly
  }
}
