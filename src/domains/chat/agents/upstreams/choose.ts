import { echo } from './echo'
import { LIMITS, type Limits } from './limits'
import { openai } from './openai'
import type { AnsweringAgent, Upstream } from './upstream'
import { webhook } from './webhook'

/** The adapter for agents of a kind. */
export function upstreamOf(kind: AnsweringAgent['kind'], limits: Limits = LIMITS): Upstream {
  switch (kind) {
    case 'echo':
      return echo
    case 'webhook':
      return webhook(limits)
    case 'openai':
      return openai(limits)
  }
}
