import type { Context } from '../../../data/context'
import { problem } from '../../../lib/problem'
import type { getAgent } from '../../chat/agents/service'
import type { Sized } from '../../files/keeping'
import type { CallRow, CallStatus } from './table'

/** The agent that calls. */
export type CallingAgent = Awaited<ReturnType<typeof getAgent>>

/** What was said at a stretch; `position` counts from 0 and never changes. */
export type Turn = {
  position: number
  role: 'agent' | 'user'
  text: string
  started_at: string
  ended_at: string
}

/** Why a call ended. */
export const ENDED_REASONS = [
  'hangup',
  'agent_hangup',
  'ended_by_request',
  'max_duration',
  'insufficient_credit',
  'tenant_suspended',
  'no_answer',
  'busy',
  'rejected',
  'invalid_number',
  'voicemail',
  'cancelled',
  'agent_gone',
  'outside_hours',
  'provider_error',
] as const
export type EndedReason = (typeof ENDED_REASONS)[number]

/** What a provider says of a call; what it does not say is left out. */
export type CallReport = {
  status?: CallStatus
  started_at?: string
  ended_at?: string
  ended_reason?: EndedReason
  /** What was said; turns that are known already may be among them. */
  turns?: readonly Turn[]
  carrier_call_id?: string
  /** Asks to be looked at again after so long, though nothing is told until then. */
  look_in_ms?: number
}

/** What a provider answers to who has it place a call. */
export type Placed = {
  provider_call_id: string
  carrier_call_id?: string
  /** Its ids by which its webhooks name the call (webhooks/incoming/references.ts). */
  references: readonly { provider: 'ultravox' | 'telnyx'; reference: string }[]
  report?: CallReport
}

/** A recording; `later` where there will be one, `none` where there is not. */
export type Recording = { bytes: Sized; content_type: string } | 'later' | 'none'

/**
 * Who places calls. Throws a `Problem` where it fails: one that is `retryable` is tried again, any other ends the call as
 * `failed`. What calls outside ends within ten seconds.
 */
export type CallProvider = {
  name: string
  /** Asks nobody outside: what is due for many calls is done at once. */
  local?: true
  /** Whether it places this tenant's calls, and through whose account; null where it is not configured. */
  serves: (ctx: Context) => Promise<'own' | 'operator' | null>
  /** The number that calls: the one that was named, where that may, or its own; 422 naming `from`. */
  callerNumber: (ctx: Context, from: string | undefined) => Promise<string>
  /** Why it can't have this agent call, as the end of a sentence about `agent_id`; null where it can. */
  refusal?: (ctx: Context, agent: CallingAgent) => Promise<string | null>
  /** Has the call placed. After a crash it is not known whether that was asked: then `find` goes before. */
  start: (ctx: Context, call: CallRow, agent: CallingAgent) => Promise<Placed>
  /** The call as it was placed by `start`, whose answer was lost; null where it is sure that it was not. */
  find: (ctx: Context, call: CallRow) => Promise<Placed | null>
  /** How a call stands there; null where it is not known there any more. After the end: all that was said. */
  look: (ctx: Context, call: CallRow) => Promise<CallReport | null>
  /** Hangs up; harmless where it has ended. */
  end: (ctx: Context, call: CallRow) => Promise<void>
  recording: (ctx: Context, call: CallRow) => Promise<Recording>
}

const providers = new Map<string, CallProvider>()

/** Declares a provider of calls. */
export function callProvider(provider: CallProvider): void {
  providers.set(provider.name, provider)
}

/** The provider of that name; undefined where this version of the service has none. */
export const providerNamed = (name: string): CallProvider | undefined => providers.get(name)

/**
 * Who places the tenant's calls: one with which it has an account of its own, else the one that the operator chose. 409
 * `provider_not_configured` where there is none.
 */
export async function callProviderOf(ctx: Context): Promise<CallProvider> {
  const all = [...providers.values()]
  const served = await Promise.all(all.map((provider) => provider.serves(ctx)))
  const own = all.find((_, i) => served[i] === 'own')
  const chosen = all.find(({ name }, i) => name === ctx.settings.CALL_PROVIDER && served[i] !== null)
  const provider = own ?? chosen
  if (provider) return provider
  throw problem(
    'provider_not_configured',
    'Nobody places calls here: neither you nor the operator chose who does',
    {
      details: { kind: 'ultravox', setting: 'CALL_PROVIDER' },
    },
  )
}
