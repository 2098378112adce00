import { iso } from '../../../lib/ids'
import { fieldOf, memberOf } from '../../webhooks/incoming/message'
import type { CallReport, EndedReason, Turn } from '../calls/port'
import type { CallEvent, CarriedCall } from '../telnyx/client'
import type { UltravoxCall, UltravoxMessage } from './client'

// What Telnyx and Ultravox say of a call, in the words of calls. Telnyx knows whether it rings, was answered and hung up;
// Ultravox what is said in it, and that its agent has ended it, which leaves the telephone line open.

/** Why a call that nobody answered ended, by Telnyx’s `hangup_cause`; a cause that means neither is not here. */
const UNANSWERED: Record<string, CallReport> = {
  timeout: { status: 'no_answer', ended_reason: 'no_answer' },
  no_answer: { status: 'no_answer', ended_reason: 'no_answer' },
  user_busy: { status: 'no_answer', ended_reason: 'busy' },
  call_rejected: { status: 'no_answer', ended_reason: 'rejected' },
  originator_cancel: { status: 'failed', ended_reason: 'cancelled' },
  not_found: { status: 'failed', ended_reason: 'invalid_number' },
}

/** How a call ended that nobody answered, so far as is known. */
export const unanswered = (cause: string | null, ended_at?: string): CallReport => ({
  ...(UNANSWERED[cause ?? ''] ?? { status: 'failed', ended_reason: 'provider_error' }),
  ...(ended_at === undefined ? {} : { ended_at }),
})

/** Whether a cause is that of a call which nobody answered. */
export const isUnanswered = (cause: string | null): boolean => cause !== null && cause in UNANSWERED

const REASONS: Record<string, EndedReason> = {
  hangup: 'hangup',
  agent_hangup: 'agent_hangup',
  timeout: 'max_duration',
  connection_error: 'provider_error',
  system_error: 'provider_error',
}

/** Why Ultravox says that a call ended which was joined. */
export const reasonOf = (endReason: string | null | undefined): EndedReason =>
  REASONS[endReason ?? ''] ?? 'hangup'

/** The answered call’s end: why, by Ultravox, and by Telnyx where that alone is known. */
export const endedCall = (
  spoken: UltravoxCall | null,
  ended_at: string | undefined,
  cause: string | null = null,
): CallReport => ({
  ...(spoken?.joined ? { started_at: spoken.joined } : {}),
  ...(ended_at === undefined ? {} : { ended_at }),
  status: 'completed',
  ended_reason: cause === 'time_limit' ? 'max_duration' : reasonOf(spoken?.endReason),
})

/** Who answered heard nobody: that is not charged, so it ended when it began. */
export const nobodyThere = (ended_at: string | null | undefined): CallReport => ({
  ...{ status: 'failed', ended_reason: 'provider_error' },
  ...(ended_at ? { ended_at } : {}),
})

const ROLES: Record<string, Turn['role'] | undefined> = {
  MESSAGE_ROLE_AGENT: 'agent',
  MESSAGE_ROLE_USER: 'user',
}

/**
 * What was said, as far as it will not change any more: of a call that goes on the last turn may still grow, and what was
 * heard is not yet written down where a text is missing.
 */
export function turnsOf(call: UltravoxCall, messages: readonly UltravoxMessage[]): Turn[] {
  const joined = Date.parse(call.joined ?? call.created)
  const turns: Turn[] = []
  let last = joined
  for (const { role, text, wallClockTimespan, timespan } of messages) {
    const who = ROLES[role]
    if (!who) continue
    const said = text?.trim() ?? ''
    if (said === '' && !call.ended) break
    if (said === '') continue
    const span = wallClockTimespan ?? timespan
    const started = offsetIn(span?.start, joined) ?? last
    last = Math.max(started, offsetIn(span?.end, joined) ?? started)
    turns.push({
      ...{ position: turns.length, role: who, text: said },
      ...{ started_at: iso(started), ended_at: iso(last) },
    })
  }
  return call.ended ? turns : turns.slice(0, -1)
}

/** `1.25s` after a moment. */
function offsetIn(text: string | undefined, from: number): number | null {
  const seconds = /^(\d{1,9}(?:\.\d{1,9})?)s$/.exec(text ?? '')?.[1]
  return seconds === undefined ? null : from + Math.round(Number(seconds) * 1000)
}

/** The cause in what Telnyx told of a call’s end; null where it told none. */
export const causeIn = (events: readonly CallEvent[]): string | null => {
  const end = events.find(({ name }) => name === 'call.hangup')
  return end ? fieldOf(payloadOf(end), 'hangup_cause') : null
}

/** When Telnyx told that a call was answered. */
export const answeredIn = (events: readonly CallEvent[]): string | null =>
  events.find(({ name }) => name === 'call.answered')?.event_timestamp ?? null

/** Telnyx keeps the webhook that it sent, or its payload alone. */
export const payloadOf = ({ metadata }: CallEvent): unknown =>
  memberOf(metadata, 'payload') ?? memberOf(memberOf(metadata, 'data'), 'payload') ?? metadata

/** Whether the line is closed. A call that is only being dialled is not alive either. */
export const isOver = (carried: CarriedCall | null): carried is CarriedCall & { end_time: string } =>
  carried !== null && !carried.is_alive && typeof carried.end_time === 'string'
