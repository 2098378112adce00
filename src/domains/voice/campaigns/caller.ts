import type { Context } from '../../../data/context'
import { Problem } from '../../../lib/problem'
import { getAgent } from '../../chat/agents/service'
import { callProviderOf } from '../calls/port'
import type { CampaignRow, PauseReason } from './table'

/** Who calls for a campaign, and from where, as that was found out last. */
export type Caller = {
  asked: { agent_id: string; from: string | null }
  provider: string
  from: string
  at: number
}

/** Why a campaign can't go on. */
export type Hindrance = { reason: PauseReason; message: string | null }

/** Thrown where a campaign can't go on before somebody has done something about it. */
export class Hindered extends Error {
  constructor(
    readonly hindrance: Hindrance,
    cause?: Problem,
  ) {
    super(hindrance.reason, { cause })
  }
}

/** It may be asked outside which numbers there are, so it is not found out for every call. */
const GOOD_FOR_MS = 60_000

/** Who calls for a campaign. Throws `Hindered` where nobody can. */
export async function callerOf(
  ctx: Context,
  { agent_id, from }: CampaignRow,
  known: Caller | null,
): Promise<Caller> {
  const same = known?.asked.agent_id === agent_id && known.asked.from === from
  if (known && same && ctx.now - known.at < GOOD_FOR_MS && known.at <= ctx.now) return known
  const agent = await orHindered('agent_unavailable', getAgent(ctx, agent_id))
  if (!agent.is_active)
    throw new Hindered({
      reason: 'agent_unavailable',
      message: 'must be an active agent: set its is_active to true, or name another one',
    })
  const provider = await orHindered('provider_unavailable', callProviderOf(ctx))
  const refusal = (await provider.refusal?.(ctx, agent)) ?? null
  if (refusal !== null) throw new Hindered({ reason: 'agent_unavailable', message: refusal })
  const number = await orHindered('provider_unavailable', provider.callerNumber(ctx, from ?? undefined))
  return { asked: { agent_id, from }, provider: provider.name, from: number, at: ctx.now }
}

/** What is refused for good hinders; what may pass is tried again. */
async function orHindered<T>(reason: PauseReason, asked: Promise<T>): Promise<T> {
  return asked.catch((error: unknown) => {
    if (!(error instanceof Problem) || error.retryable) throw error
    const fields = Object.entries((error.details.fields ?? {}) as Record<string, string>)
    const named = fields.map(([field, why]) => `${field} ${why}`).join('; ')
    throw new Hindered({ reason, message: named || error.message }, error)
  })
}
