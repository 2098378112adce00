import { isUuid } from '../../../lib/ids'
import type { ListedAttempt, Place } from '../../webhooks/deliveries/attempt-pages'
import type { Delivery } from '../../webhooks/deliveries/schema'
import { prefixed } from '../wire'
import { CANCELED, FAIL, PENDING, SENDING, SUCCESS, WORDS } from './schema'

const stateOf = (status: number) => ({ status, statusText: WORDS[status] ?? 'fail' })

/** An attempt's id: its delivery and its number. */
export const attemptId = ({ delivery_id, number }: Place): string => `atmpt_${delivery_id}_${number}`

/** The delivery and number in an attempt's id; null for what is none. */
export function placeIn(text: string): Place | null {
  const [, id = '', number = ''] = /^atmpt_([0-9a-f-]{36})_([1-9]\d{0,8})$/i.exec(text) ?? []
  const delivery_id = id.toLowerCase()
  return isUuid(delivery_id) ? { delivery_id, number: Number(number) } : null
}

/** An attempt as Svix's clients see it. */
export const attemptOut = (
  attempt: ListedAttempt,
  endpoint: { id: string; url: string },
  withContent: boolean,
) => ({
  id: attemptId(attempt),
  ...{ msgId: attempt.event_id, endpointId: prefixed('ep', endpoint.id), url: endpoint.url },
  response: withContent ? (attempt.response_body ?? '') : '{}',
  ...{ responseStatusCode: attempt.response_status ?? 0, responseDurationMs: attempt.duration_ms },
  ...stateOf(attempt.error === null ? SUCCESS : FAIL),
  ...{ triggerType: attempt.manual ? 1 : 0, timestamp: attempt.attempted_at },
})

type Standing = Pick<Delivery, 'status' | 'attempt_count' | 'next_attempt_at'>

/** How a message stands with an endpoint. */
export function standingOf({ status, attempt_count, next_attempt_at }: Standing) {
  return { ...stateOf(numberOf(status, attempt_count)), nextAttempt: next_attempt_at }
}

function numberOf(status: Delivery['status'], attempts: number): number {
  if (status === 'delivered') return SUCCESS
  if (status === 'cancelled') return CANCELED
  if (status === 'failed' || status === 'exhausted') return FAIL
  return attempts > 0 ? SENDING : PENDING
}

/** The deliveries that stand so, by Svix's number. */
export const STATES: { status: Delivery['status'][]; tried?: boolean }[] = [
  { status: ['delivered'] },
  { status: ['pending', 'held'], tried: false },
  { status: ['failed', 'exhausted'] },
  { status: ['pending', 'held'], tried: true },
  { status: ['cancelled'] },
]
