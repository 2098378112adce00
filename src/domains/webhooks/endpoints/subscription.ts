import { objection } from './filter'
import type { EndpointRow } from './table'

/** Whether an endpoint's pattern (`chat.created`, `chat.*`, `*`) takes an event type; fan-out says the same in SQL. */
export function matches(pattern: string, type: string): boolean {
  if (pattern === '*' || pattern === type) return true
  return pattern.endsWith('.*') && type.startsWith(pattern.slice(0, -1))
}

/** What of an endpoint decides which events it takes. */
export type Subscriber = Pick<EndpointRow, 'id' | 'application_id' | 'event_types' | 'channels' | 'filter'>

/** What of an event decides who takes it; `data` is the JSON text, null where it is no longer kept. */
export type Published = {
  type: string
  application_id: string | null
  channels: readonly string[]
  data: string | null
}

/** What said no; `at` is the place in the filter that did (`filter.and.1`). */
export type Refusal = {
  by: 'application' | 'event_types' | 'channels' | 'itself' | 'filter' | 'payload'
  at: string | null
}

/** The service's own types that say what became of an endpoint, which is not told of itself. */
export const OF_ENDPOINTS = ['endpoint.degraded', 'endpoint.disabled', 'delivery.exhausted']

/**
 * Why an endpoint does not take an event, whatever its status; null where it does. The first that says no is named.
 * `payload` where its filter would have to look at what is no longer kept.
 */
export function whyNot(endpoint: Subscriber, event: Published): Refusal | null {
  const by = (one: Refusal['by'], at: string | null = null): Refusal => ({ by: one, at })
  if (endpoint.application_id !== event.application_id) return by('application')
  if (!endpoint.event_types.some((pattern) => matches(pattern, event.type))) return by('event_types')
  const { channels, filter } = endpoint
  if (channels.length > 0 && !channels.some((one) => event.channels.includes(one))) return by('channels')
  if (isAbout(event, endpoint.id)) return by('itself')
  if (filter === null) return null
  if (event.data === null) return by('payload')
  const at = objection(filter, JSON.parse(event.data))
  return at === null ? null : by('filter', at)
}

function isAbout({ type, application_id, data }: Published, endpointId: string): boolean {
  if (application_id !== null || data === null || !OF_ENDPOINTS.includes(type)) return false
  return (JSON.parse(data) as { endpoint_id?: unknown }).endpoint_id === endpointId
}
