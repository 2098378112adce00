import type { Bindings } from '../../env'
import type { EventRow } from './table'

/** The columns that an event's bytes on the wire are made of. */
export type Payload = Pick<EventRow, 'id' | 'type' | 'tenant_id' | 'timestamp' | 'data' | 'data_key'>

/** The JSON text of an event's data as it was printed at acceptance; null where it is no longer kept. */
export async function dataText(
  env: Pick<Bindings, 'FILES'>,
  event: Pick<Payload, 'data' | 'data_key'>,
): Promise<string | null> {
  if (event.data !== null || event.data_key === null) return event.data
  const object = await env.FILES.get(event.data_key)
  return object ? object.text() : null
}

/**
 * The body of every attempt: the event, or its data alone. The data is pasted as it was printed, not printed anew, and
 * the rest never changes, so all attempts send the same bytes.
 */
export function wireBody(
  event: Omit<Payload, 'data_key'> & { data: string },
  form: 'event' | 'data',
): string {
  if (form === 'data') return event.data
  const { id, type, tenant_id, timestamp } = event
  const head = JSON.stringify({ id, type, tenant_id, timestamp })
  return `${head.slice(0, -1)},"data":${event.data}}`
}
