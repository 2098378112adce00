import type { EventRow } from '../../events/table'
import { BEHIND_ANOTHER, type DeliveryRow } from '../deliveries/table'
import { type Refusal, whyNot } from '../endpoints/subscription'
import type { EndpointRow } from '../endpoints/table'
import type { Explanation } from './schema'

type Why = Pick<Explanation, 'reason' | 'why'> & { at?: string | null; next_attempt_at?: string | null }

/** How a delivery stands, and why it has not arrived; `endpoint` is null where that was deleted. */
export function whyNotArrived(delivery: DeliveryRow, endpoint: EndpointRow | null, now: string): Why {
  const made = `${delivery.attempt_count} ${delivery.attempt_count === 1 ? 'attempt' : 'attempts'}`
  switch (delivery.status) {
    case 'delivered':
      return { reason: 'delivered', why: `It arrived at ${delivery.delivered_at}, after ${made}.` }
    case 'failed':
      return { reason: 'failed', why: `It ended early after ${made}; the delivery shows what was answered.` }
    case 'exhausted':
      return {
        reason: 'exhausted',
        why: `It was given up after ${made}; POST …/deliveries/{id}/retry sends it again.`,
      }
    case 'cancelled':
      return {
        reason: 'cancelled',
        why: endpoint ? 'It was cancelled, or its subject erased.' : 'The endpoint was deleted.',
      }
    case 'held':
      return heldBy(endpoint)
    case 'pending':
      return waiting(delivery, endpoint, now)
  }
}

function heldBy(endpoint: EndpointRow | null): Why {
  const probe = endpoint?.status === 'degraded' ? endpoint.not_before : null
  const why =
    endpoint?.status === 'degraded'
      ? `The endpoint fails again and again; it is probed next at ${probe}, and takes what is held once it answers.`
      : `The endpoint is ${endpoint?.status ?? 'deleted'}; POST /api/v1/webhooks/{id}/enable sends it.`
  return { reason: 'held', why, next_attempt_at: null }
}

function waiting(delivery: DeliveryRow, endpoint: EndpointRow | null, now: string): Why {
  const { attempt_count: made, next_attempt_at: at } = delivery
  if (at === BEHIND_ANOTHER)
    return {
      ...{ reason: 'behind_another', next_attempt_at: null },
      why: 'The endpoint is ordered; an earlier event of the same subject has not arrived there.',
    }
  const gate = endpoint?.not_before ?? null
  if (gate !== null && gate > now && (at === null || gate >= at))
    return {
      reason: 'asked_to_wait',
      why: `The receiver asked to be left alone until ${gate}.`,
      next_attempt_at: gate,
    }
  if (made === 0) return { reason: 'due', why: 'It is on its way to its first attempt.', next_attempt_at: at }
  const failed = made === 1 ? 'One attempt has' : `${made} attempts have`
  return { reason: 'retrying', why: `${failed} failed; the next is due at ${at}.`, next_attempt_at: at }
}

const REFUSALS: Record<Exclude<Refusal['by'], 'application'>, string> = {
  event_types: 'None of its event types is that of the event.',
  channels: 'The event is on none of its channels.',
  filter: 'Its filter says no.',
  itself: 'An endpoint is not told of itself.',
  payload: 'Its filter can’t look at the payload, which is no longer kept.',
}

/** Why there is no delivery of the event to the endpoint; `data` is the text of the event's payload. */
export function whyNone(
  event: EventRow,
  data: string | null,
  endpoint: EndpointRow,
  acceptedAt: string,
): Why {
  const refusal = whyNot(endpoint, { ...event, data })
  if (refusal !== null && refusal.by !== 'application')
    return { reason: refusal.by, at: refusal.at, why: REFUSALS[refusal.by] }
  if (event.dispatched === 0)
    return { reason: 'not_dispatched', why: 'It takes the event, whose deliveries are made in a moment.' }
  if (endpoint.created_at > acceptedAt)
    return { reason: 'made_later', why: `The endpoint was made at ${endpoint.created_at}, after the event.` }
  return {
    reason: 'changed_since',
    why: `The endpoint takes such events as it is now (changed at ${endpoint.updated_at}); when the event came, it did not.`,
  }
}
