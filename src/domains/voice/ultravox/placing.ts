import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { getAgent } from '../../chat/agents/service'
import { syncAgent, syncDue } from '../../chat/agents/sync/service'
import { fieldOf } from '../../webhooks/incoming/message'
import type { CallingAgent, Placed } from '../calls/port'
import type { CallRow } from '../calls/table'
import { activeCall, type CallEvent, dial, eventsTo, stateOf } from '../telnyx/client'
import { type Accounts, accountsOf } from './accounts'
import { callsWith, seconds, startCall, type UltravoxCall } from './client'
import { payloadOf } from './report'
import { untold } from './standing'
import { firstSpeaker } from './template'
import { makeCallToken } from './token'
import { CALL_TOKEN, contextFor, filledIn, variablesIn } from './variables'

/** Telnyx lets it ring so long. */
const RING_SECONDS = 45
/** Ultravox waits for who was called: as long as it rings, and the while that all else takes. */
const JOIN_SECONDS = 150
/** Telnyx hangs up by itself what nobody else has: after the longest that the call may last, and a while more. */
const SPARE_SECONDS = 60
const TELNYX_MOST_SECONDS = 14_400
/** Under what Ultravox keeps our id of a call. */
const OUR_ID = 'causeway_call_id'
/** Telnyx’s clock may be behind ours by so much. */
const CLOCKS_MS = 60_000

/**
 * Has a call placed: its agent waits at Ultravox, and Telnyx dials and brings who answers there. Asked twice, Telnyx dials
 * once; an Ultravox call that nobody joins ends by itself and costs nothing.
 */
export async function start(ctx: Context, call: CallRow, agent: CallingAgent): Promise<Placed> {
  const accounts = await accountsOf(ctx, call)
  const spoken = await waiting(ctx, accounts, call, agent)
  if (!spoken.joinUrl) throw failed('ultravox', 'Ultravox answered a call without a joinUrl')
  const { call_control_id } = await dial(accounts.telnyx, {
    ...{ id: call.id, to: call.to, from: call.from, stream_url: spoken.joinUrl },
    ring_seconds: RING_SECONDS,
    max_seconds: Math.min(call.max_duration_seconds + SPARE_SECONDS, TELNYX_MOST_SECONDS),
    webhook_url: webhookUrl(ctx, accounts),
  })
  return { ...placed(spoken.callId, call_control_id), report: untold(accounts.telnyx) }
}

const placed = (provider_call_id: string, carrier_call_id: string): Placed => ({
  ...{ provider_call_id, carrier_call_id },
  references: [
    { provider: 'ultravox', reference: provider_call_id },
    { provider: 'telnyx', reference: carrier_call_id },
  ],
})

/** The operator’s own Telnyx account signs what it tells us; who has another one set up where its own tells. */
const webhookUrl = ({ settings }: Context, { telnyx }: Accounts): string | undefined =>
  telnyx.account.own || settings.TELNYX_PUBLIC_KEY.length === 0
    ? undefined
    : `${settings.PUBLIC_URL}/api/v1/webhooks/telnyx`

/** An Ultravox call that waits for who is called, made by its agent as that is now. */
async function waiting(
  ctx: Context,
  { ultravox }: Accounts,
  call: CallRow,
  agent: CallingAgent,
): Promise<UltravoxCall> {
  const known = call.asked_at === iso(ctx.now) ? undefined : await stillWaiting(ultravox, call)
  if (known) return known
  const current = agent.sync_status === 'synced' ? agent : await synced(ctx, agent.id)
  const first = await startCall(ultravox, current.provider_agent_id ?? '', await bodyOf(ctx, call, current))
  if (first) return first
  // Another account than the one that had the agent.
  const anew = await synced(ctx, agent.id)
  const second = await startCall(ultravox, anew.provider_agent_id ?? '', await bodyOf(ctx, call, anew))
  if (second) return second
  throw failed('ultravox', 'Ultravox does not know the agent that it was told of')
}

/** One that waits since an attempt that failed: to where Telnyx was told to bring who answers, should it have been told. */
const stillWaiting = async (ultravox: Accounts['ultravox'], call: CallRow) =>
  (await callsWith(ultravox, OUR_ID, call.id)).find(({ joinUrl, ended }) => joinUrl && !ended)

/** The agent once Ultravox has it as it is here. */
async function synced(ctx: Context, agentId: string): Promise<CallingAgent> {
  await commit(ctx, { statements: [syncDue(ctx, agentId, null)], result: undefined })
  await syncAgent(ctx, agentId)
  const agent = await getAgent(ctx, agentId)
  if (agent.sync_status === 'synced') return agent
  const said = { details: { provider: 'ultravox', status: null, said: agent.sync_error } }
  const words = agent.sync_error ?? 'Ultravox is being told of the agent'
  throw problem(agent.sync_status === 'failed' ? 'provider_refused' : 'provider_failed', words, said)
}

async function bodyOf(ctx: Context, call: CallRow, agent: CallingAgent): Promise<Record<string, unknown>> {
  const { system_prompt, greeting } = agent
  const values = { ...call.metadata, to: call.to, from: call.from }
  const names = variablesIn(JSON.stringify([system_prompt, agent.config]))
  return {
    medium: { telnyx: {} },
    metadata: { [OUR_ID]: call.id },
    joinTimeout: seconds(JOIN_SECONDS),
    maxDuration: seconds(call.max_duration_seconds),
    firstSpeakerSettings: firstSpeaker(greeting === null ? null : filledIn(greeting, values)),
    templateContext: {
      ...contextFor(names, values),
      [CALL_TOKEN]: await makeCallToken(ctx.settings, call),
    },
  }
}

/** The call as it was placed, whose answer was lost; null where Telnyx was not asked to dial. */
export async function findPlaced(ctx: Context, call: CallRow): Promise<Placed | null> {
  const { ultravox, telnyx } = await accountsOf(ctx, call)
  const [made, active] = await Promise.all([
    callsWith(ultravox, OUR_ID, call.id),
    activeCall(telnyx, call.id),
  ])
  const spoken = made.find(({ joined }) => joined) ?? made[0]
  // Telnyx dials to where a call waits: without one it was not asked to.
  if (!spoken) return null
  const carrier = active ?? (await endedAlready(telnyx, call))
  if (carrier !== null) return placed(spoken.callId, carrier)
  if (!spoken.joined) return null
  return {
    provider_call_id: spoken.callId,
    references: [{ provider: 'ultravox', reference: spoken.callId }],
  }
}

/** What a call that is over was called by Telnyx, from what it told of calls to that number. */
async function endedAlready(telnyx: Accounts['telnyx'], call: CallRow): Promise<string | null> {
  const since = iso(Date.parse(call.asked_at ?? call.created_at) - CLOCKS_MS)
  const ours = (event: CallEvent) => fieldOf(payloadOf(event), 'client_state') === stateOf(call.id)
  const event = (await eventsTo(telnyx, call.to, since)).find(ours)
  return event ? fieldOf(payloadOf(event), 'call_control_id') : null
}

const failed = (provider: string, words: string) =>
  problem('provider_failed', words, { details: { provider, status: null, said: null } })
