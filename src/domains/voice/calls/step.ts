import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { Problem } from '../../../lib/problem'
import { lastTransaction } from '../../billing/ledger'
import { getAgent } from '../../chat/agents/service'
import { referenceStatement } from '../../webhooks/incoming/references'
import { appliedEach, type CallChange } from './change'
import { finish } from './finish'
import { tooLate } from './late'
import {
  type CallingAgent,
  type CallProvider,
  type CallReport,
  type EndedReason,
  type Placed,
  providerNamed,
} from './port'
import { costOf, EXTENSION_MINUTES, secondsHeld } from './price'
import type { CallRow } from './table'
import { hasEnded, mustEnd, needsMore, transition } from './transition'

/** What is the same for all calls that are looked at together. */
export type Look = {
  active: boolean
  agents: Map<string, Promise<CallingAgent | null>>
  /** The credit that is left; null while nobody has asked. */
  left: Promise<{ credits: number }> | null
}

const FIRST_WAIT_MS = 1_000
const LONGEST_WAIT_MS = 60_000
/** What is left to do for one that has ended is tried so often, for a day. */
const MOST_AFTER = 60
const LONGEST_AFTER_MS = 1800_000

/** What is due for a call. What could not be done is done later, or ends the call. */
export async function stepOf(ctx: Context, call: CallRow, look: Look): Promise<CallChange> {
  const at = { call }
  try {
    return await due(ctx, at, look)
  } catch (error) {
    log.warn('call_step_failed', {
      ...{ tenant_id: call.tenant_id, call_id: call.id, provider: call.provider, failures: call.failures },
      cause: describeError(error),
    })
    if (hasEnded(call) && call.failures + 1 >= MOST_AFTER) return { call, set: OVER }
    const isFinal = error instanceof Problem && !error.retryable
    // A provider that is down is asked again as long as the call may wait.
    if (call.status !== 'queued' || !isFinal) return { call: at.call, set: later(call, ctx.now) }
    // What was refused was not placed; of what went before that is not known.
    return { ...failing(at.call, 'provider_error'), set: { hang_up: call.asked_at !== null } }
  }
}

/** `at.call` is how it stands once something was written meanwhile. */
async function due(ctx: Context, at: { call: CallRow }, look: Look): Promise<CallChange> {
  const { call } = at
  const provider = providerNamed(call.provider)
  if (!provider) return hasEnded(call) ? { call, set: OVER } : failing(call, 'provider_error')
  if (hasEnded(call)) return finish(ctx, call, provider)
  const end = mustEnd(call, ctx.now, look.active)
  const ending: CallChange | null = end && {
    ...{ call, report: end },
    set: { hang_up: call.asked_at !== null && !provider.local },
  }
  if (call.status === 'queued') return ending ?? placing(ctx, at, provider, look)
  const more = look.active && needsMore(call, ctx.now)
  const report = await provider.look(ctx, call).catch((error: unknown) => {
    // What is due by the clock is not for the provider to hold up.
    if (end || more) return {}
    throw error
  })
  const said: CallChange = { call, report: report ?? gone(call), looked: true }
  const moves = look.active && transition(call, said.report ?? {}, ctx.now)?.set.status !== undefined
  if (moves) return said
  const extension = more ? await extended(ctx, call, look) : null
  if (extension) return { ...said, ...extension }
  return ending ? { ...ending, report: { ...said.report, ...end } } : said
}

/** Nothing is left to do for a call that has ended. */
const OVER: Partial<CallRow> = { hang_up: false, recording: 'none', next_at: null }

/** When what failed is tried again. */
export function later(call: CallRow, now: number): Partial<CallRow> {
  const longest = hasEnded(call) ? LONGEST_AFTER_MS : LONGEST_WAIT_MS
  const wait = Math.min(FIRST_WAIT_MS * 2 ** call.failures, longest)
  return { failures: call.failures + 1, next_at: iso(now + wait) }
}

const failing = (call: CallRow, ended_reason: EndedReason): CallChange => ({
  call,
  report: { status: 'failed', ended_reason },
})

/** Of a call that its provider does not know any more. */
const gone = ({ status }: CallRow): CallReport =>
  status === 'in_progress'
    ? { status: 'completed', ended_reason: 'hangup' }
    : { status: 'failed', ended_reason: 'provider_error' }

/** More is held for a call that lasts: minutes, or the last credit that there is; null where there is none. */
async function extended(ctx: Context, call: CallRow, look: Look) {
  look.left ??= lastTransaction(ctx).then((last) => ({ credits: last?.balance_after ?? 0 }))
  const left = await look.left
  const holds = EXTENSION_MINUTES.map((minutes) => {
    const seconds = Math.min(secondsHeld(call) + minutes * 60, call.max_duration_seconds)
    return costOf(call, seconds) - call.reserved
  })
  const reserve = holds.find((hold) => hold <= left.credits) ?? left.credits
  if (reserve === 0) return null
  left.credits -= reserve
  return { reserve, set: { extensions: call.extensions + 1 } }
}

async function placing(
  ctx: Context,
  at: { call: CallRow },
  provider: CallProvider,
  look: Look,
): Promise<CallChange> {
  const { call } = at
  const agent = await agentOf(ctx, call.agent_id, look)
  if (!agent) return { ...failing(call, 'agent_gone'), set: { hang_up: call.asked_at !== null } }
  if (provider.local) return placed(ctx, call, await provider.start(ctx, call, agent))
  // A crash between asking and storing left it so: nobody is called twice.
  const known = call.asked_at === null ? null : await provider.find(ctx, call)
  if (known) return placed(ctx, call, known)
  const late = await tooLate(ctx, call)
  // What was asked and is not there may have been dialled all the same.
  if (late) return { ...failing(call, late), set: { hang_up: call.asked_at !== null } }
  at.call = await claimed(ctx, call, provider)
  return placed(ctx, at.call, await provider.start(ctx, at.call, agent))
}

function agentOf(ctx: Context, id: string, { agents }: Look): Promise<CallingAgent | null> {
  let agent = agents.get(id)
  if (!agent) {
    agent = getAgent(ctx, id).catch((error: unknown) => {
      if (error instanceof Problem && error.code === 'not_found') return null
      throw error
    })
    agents.set(id, agent)
  }
  return agent
}

/** Writes down that the provider is asked, and by whose account, before it is: that may be all that is known later. */
async function claimed(ctx: Context, call: CallRow, provider: CallProvider): Promise<CallRow> {
  if (call.asked_at !== null) return call
  const own = (await provider.serves(ctx)) === 'own'
  const { rows, statements } = await appliedEach(ctx, [{ call, set: { own, asked_at: iso(ctx.now) } }])
  await commit(ctx, { statements, result: undefined })
  return rows[0] ?? call
}

function placed(
  ctx: Context,
  call: CallRow,
  { provider_call_id, carrier_call_id, references, report }: Placed,
): CallChange {
  return {
    call,
    report: { status: 'ringing', ...report },
    set: { provider_call_id, carrier_call_id: carrier_call_id ?? null, asked_at: iso(ctx.now) },
    statements: references.map(({ provider, reference }) => referenceStatement(ctx, provider, reference)),
    looked: true,
  }
}
