import { iso } from '../../../lib/ids'
import type { CallReport, Turn } from './port'
import { costOf, secondsBetween, secondsHeld } from './price'
import type { CallRow, CallStatus } from './table'

// How a call goes on. A report moves it forward or not at all: what comes late, twice or in another order than it happened
// changes nothing that was said before.

const RANK: Record<CallStatus, number> = {
  ...{ queued: 0, ringing: 1, in_progress: 2 },
  ...{ completed: 3, failed: 3, no_answer: 3 },
}

export const hasEnded = ({ status }: Pick<CallRow, 'status'>): boolean => RANK[status] === 3

/** How long a call may wait to be placed, and ring, whatever its provider says. */
export const MOST_QUEUED_MS = 15 * 60_000
export const MOST_RINGING_MS = 2 * 60_000
/** How often one that lasts is looked at, at least: a tenant may be suspended meanwhile. */
const LOOK_MS = 30_000
/** So long before what is held runs out, more is. */
export const MARGIN_MS = 15_000

export type Transition = {
  set: Partial<CallRow>
  turns: Turn[]
  started: boolean
  ended: boolean
}

/** What a report makes of a call; null where it tells nothing new. */
export function transition(call: CallRow, said: CallReport, now: number): Transition | null {
  const report = reconciled(call, said)
  const turns = newTurns(call, report.turns ?? [])
  const { status = call.status, carrier_call_id } = report
  const forward = RANK[status] > RANK[call.status]
  const set: Partial<CallRow> = {}
  if (turns.length > 0) set.turns = call.turns + turns.length
  if (carrier_call_id !== undefined && call.carrier_call_id === null) set.carrier_call_id = carrier_call_id
  if (!forward && Object.keys(set).length === 0) return null
  if (!forward) return { set, turns, started: false, ended: false }
  Object.assign(set, moved(call, status, report, now))
  return {
    ...{ set, turns },
    started: call.started_at === null && (set.started_at ?? null) !== null,
    ended: RANK[status] === 3,
  }
}

/** Who has answered can't have been out: such a call broke off, and nobody is called again for it. */
function reconciled(call: CallRow, report: CallReport): CallReport {
  const answered = call.started_at !== null || report.started_at !== undefined
  return report.status === 'no_answer' && answered
    ? { ...report, status: 'failed', ended_reason: 'provider_error' }
    : report
}

/** Turns in their order, from the first that is not known; one that has a gap before it waits for the next report. */
function newTurns(call: CallRow, turns: readonly Turn[]): Turn[] {
  const later = turns
    .filter(({ position }) => position >= call.turns)
    .toSorted((one, other) => one.position - other.position)
  return later.filter(({ position }, i) => position === call.turns + i)
}

function moved(call: CallRow, status: CallStatus, report: CallReport, now: number): Partial<CallRow> {
  const within = (time: string | undefined) =>
    time === undefined ? now : Math.min(Math.max(Date.parse(time) || now, Date.parse(call.created_at)), now)
  const answered = status === 'in_progress' || report.started_at !== undefined
  const started_at = call.started_at ?? (answered ? iso(within(report.started_at)) : null)
  const asked_at = call.asked_at ?? iso(now)
  const after = { ...call, status, started_at, asked_at }
  if (RANK[status] < 3)
    return { status, started_at, asked_at, failures: 0, next_at: iso(dueNext(after, now, report)) }
  const ended_at = iso(Math.max(within(report.ended_at), started_at === null ? 0 : Date.parse(started_at)))
  const duration_seconds = started_at === null ? 0 : secondsBetween(started_at, ended_at)
  const recording = started_at === null ? ('none' as const) : ('pending' as const)
  return {
    ...{ status, started_at, ended_at, duration_seconds, cost: costOf(call, duration_seconds), recording },
    ...{
      ended_reason: report.ended_reason ?? (status === 'no_answer' ? 'no_answer' : 'hangup'),
      failures: 0,
    },
    next_at: started_at === null ? null : iso(now),
  }
}

/** When something is due next for a call that is under way. */
export function dueNext(call: CallRow, now: number, { look_in_ms = LOOK_MS }: CallReport = {}): number {
  const look = now + Math.min(look_in_ms, LOOK_MS)
  if (call.started_at === null)
    return Math.min(look, Date.parse(call.asked_at ?? call.created_at) + MOST_RINGING_MS)
  return Math.max(now, Math.min(look, endsAt(call), moreAt(call, now)))
}

const afterStart = (call: CallRow, seconds: number) => Date.parse(call.started_at ?? '') + seconds * 1000

/** When a call that was answered ends by what it may last, and by what is held for it. */
export const endsAt = (call: CallRow): number =>
  afterStart(call, Math.min(call.max_duration_seconds, secondsHeld(call)))

/** When more must be held for it; past that, what there is was not enough, and its end is next. */
function moreAt(call: CallRow, now: number): number {
  const at = afterStart(call, secondsHeld(call)) - MARGIN_MS
  return at > now ? at : Number.POSITIVE_INFINITY
}

/** Whether more must be held for a call to go on. */
export const needsMore = (call: CallRow, now: number): boolean =>
  call.status === 'in_progress' &&
  secondsHeld(call) < call.max_duration_seconds &&
  afterStart(call, secondsHeld(call)) - MARGIN_MS <= now

/** How a call ends that must, though nobody hung up; null where it may go on. */
export function mustEnd(call: CallRow, now: number, isActive: boolean): CallReport | null {
  if (call.status === 'in_progress') {
    const at = endsAt(call)
    const ended_reason = !isActive
      ? 'tenant_suspended'
      : secondsHeld(call) < call.max_duration_seconds
        ? 'insufficient_credit'
        : 'max_duration'
    return now >= at || !isActive
      ? { status: 'completed', ended_at: iso(Math.min(at, now)), ended_reason }
      : null
  }
  if (!isActive) return { status: 'failed', ended_reason: 'tenant_suspended' }
  if (call.status === 'ringing')
    return now >= Date.parse(call.asked_at ?? call.created_at) + MOST_RINGING_MS
      ? { status: 'no_answer', ended_reason: 'no_answer' }
      : null
  return now >= Date.parse(call.created_at) + MOST_QUEUED_MS
    ? { status: 'failed', ended_reason: 'provider_error' }
    : null
}
