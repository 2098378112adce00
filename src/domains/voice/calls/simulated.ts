import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { getAgent } from '../../chat/agents/service'
import { filledIn } from '../ultravox/variables'
import { type CallingAgent, type CallProvider, callProvider, type EndedReason, type Turn } from './port'
import { spokenAs } from './simulated-script'
import { recordedAs } from './simulated-tones'
import type { CallRow } from './table'
import { hasEnded } from './transition'

// A call without a network: all of it follows from the call's id, the number that is called, the agent, and the time. So it
// is looked at like any other, and goes on after a crash where it would be by then.

/** The number that calls unless another is named. */
const OWN_NUMBER = '+15550100000'
/** A call that nobody listens to is looked at so often, and not for each word. */
const UNWATCHED_MS = 2_000
/** Looks fall on such ticks, so that those of many calls fall together. */
const TICK_MS = 100
/** How long a call lasts that nobody ends. */
const FOREVER_MS = 7 * 24 * 3600_000

type Ending = { status: 'completed' | 'no_answer' | 'failed'; reason: EndedReason; lasts?: true }

/** How calls to numbers end that end so. */
const ENDINGS: Record<string, Ending> = {
  '0001': { status: 'no_answer', reason: 'no_answer' },
  '0002': { status: 'no_answer', reason: 'busy' },
  '0003': { status: 'failed', reason: 'invalid_number' },
  '0004': { status: 'no_answer', reason: 'no_answer' },
  '0005': { status: 'completed', reason: 'hangup', lasts: true },
}

/** Times are milliseconds since it was placed. */
type Plan = Ending & { rings: number; turns: Omit<Turn, 'position'>[]; ends: number }

function planOf(ctx: Context, call: CallRow, agent: CallingAgent | null): Plan {
  const seed = Number.parseInt(call.id.slice(-6), 16)
  const speed = speedOf(ctx, call)
  const start = Date.parse(call.asked_at ?? call.created_at)
  const rings = (2_000 + (seed % 3_000)) / speed
  const retried = Number(call.metadata.attempt ?? 1) > 1
  const number = call.to.slice(-4)
  const stated = number === '0004' && retried ? undefined : ENDINGS[number]
  const ending = stated ?? { status: 'completed' as const, reason: 'agent_hangup' as const }
  if (ending.status !== 'completed') return { ...ending, rings, turns: [], ends: rings * 3 }
  let at = start + rings
  const greeting = agent?.greeting ? filledIn(agent.greeting, call.metadata) : null
  const turns = spokenAs(agent?.language ?? 'en', greeting, seed).map(({ role, text }) => {
    const started_at = at + 300 / speed
    at = started_at + (600 + text.length * 55) / speed
    return { role, text, started_at: iso(started_at), ended_at: iso(at) }
  })
  return { ...ending, rings, turns, ends: ending.lasts ? FOREVER_MS : at - start + 500 / speed }
}

/** How many times faster than people it goes: as the call's metadata says, or the setting. */
function speedOf({ settings }: Context, { metadata }: CallRow): number {
  const own = metadata.simulated_speed
  const isSpeed = typeof own === 'number' && own >= 1 && own <= 1000
  return isSpeed ? own : settings.CALL_SIMULATED_SPEED
}

/** The agents of the calls that are looked at together. */
const agents = new WeakMap<Context, Map<string, Promise<CallingAgent | null>>>()

function agentOf(ctx: Context, id: string): Promise<CallingAgent | null> {
  const known = agents.get(ctx) ?? new Map<string, Promise<CallingAgent | null>>()
  agents.set(ctx, known)
  const agent = known.get(id) ?? getAgent(ctx, id).catch(() => null)
  known.set(id, agent)
  return agent
}

async function look(ctx: Context, call: CallRow) {
  const plan = planOf(ctx, call, await agentOf(ctx, call.agent_id))
  const start = Date.parse(call.asked_at ?? call.created_at)
  const time = (ms: number) => iso(start + ms)
  const until = hasEnded(call) ? Date.parse(call.ended_at ?? '') - start : ctx.now - start
  const turns = plan.turns.flatMap((turn, position) =>
    Date.parse(turn.ended_at) - start <= until ? { ...turn, position } : [],
  )
  if (plan.status !== 'completed' && until >= plan.ends)
    return { status: plan.status, ended_at: time(plan.ends), ended_reason: plan.reason }
  if (plan.status !== 'completed' || until < plan.rings) {
    const next = plan.status === 'completed' ? plan.rings : plan.ends
    return { status: 'ringing' as const, look_in_ms: onTick(ctx.now, start + next) }
  }
  const started_at = time(plan.rings)
  if (until >= plan.ends)
    return {
      ...{ status: plan.status, started_at, ended_at: time(plan.ends), ended_reason: plan.reason },
      turns,
    }
  const next = plan.turns[turns.length]
  const said = next ? Date.parse(next.ended_at) : start + plan.ends
  const soon = call.watched ? said : Math.min(start + plan.ends, Math.max(said, ctx.now + UNWATCHED_MS))
  return { status: 'in_progress' as const, started_at, turns, look_in_ms: onTick(ctx.now, soon) }
}

const onTick = (now: number, at: number): number => Math.ceil(at / TICK_MS) * TICK_MS - now

export const simulated: CallProvider = {
  ...{ name: 'simulated', local: true },
  serves: async ({ settings }) => (settings.CALL_PROVIDER === 'simulated' ? 'operator' : null),
  callerNumber: async ({ settings }, from) => from ?? (settings.CALL_FROM || OWN_NUMBER),
  start: async (ctx, call, agent) => {
    const placed = { ...call, asked_at: iso(ctx.now) }
    const { rings, status, ends } = planOf(ctx, placed, agent)
    const next = status === 'completed' ? rings : ends
    const report = { status: 'ringing' as const, look_in_ms: onTick(ctx.now, ctx.now + next) }
    return { provider_call_id: `simulated-${call.id}`, references: [], report }
  },
  find: async () => null,
  look,
  end: async () => {},
  recording: async (ctx, call) => {
    const { turns } = planOf(ctx, call, await agentOf(ctx, call.agent_id))
    const [from, to] = [Date.parse(call.started_at ?? ''), Date.parse(call.ended_at ?? '')]
    return { bytes: recordedAs(turns, from, to), content_type: 'audio/wav' }
  },
}

callProvider(simulated)
