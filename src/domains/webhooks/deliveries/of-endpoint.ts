import { and, asc, desc, eq } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { lookAmong } from '../../../data/page'
import { above, below } from '../../../data/span'
import { firstIdAt } from '../../../lib/ids'
import type { EndpointRow } from '../endpoints/table'
import { BEHIND_ANOTHER, type DeliveryRow, deliveries } from './table'

/** The id that the delivery of an event to an endpoint has, whether it was made or not (table.ts). */
export const deliveryIdOf = (eventId: string, { tail }: Pick<EndpointRow, 'tail'>): string =>
  eventId.slice(4, 34) + tail

export type DeliverySpan = { limit: number; ascending: boolean; from: string | null }

export type DeliveryFilters = {
  status?: readonly DeliveryRow['status'][] | undefined
  /** Whether an attempt was made. */
  tried?: boolean | undefined
  event_types?: readonly string[] | undefined
  /** Of events accepted in this time. */
  after?: string | undefined
  before?: string | undefined
}

/**
 * The endpoint's deliveries in one direction. Where no index leads to those that are wanted it looks at so many, and
 * `end` is the last of them where others follow.
 */
export async function deliveriesOfEndpoint(
  ctx: Context,
  endpointId: string,
  { limit, ascending, from }: DeliverySpan,
  { status, tried, event_types, after, before }: DeliveryFilters,
): Promise<{ rows: DeliveryRow[]; end: string | null }> {
  const read = (last: string | null, most: number) =>
    ctx.db
      .select()
      .from(deliveries)
      .where(
        and(
          eq(deliveries.tenant_id, ctx.tenant.id),
          eq(deliveries.endpoint_id, endpointId),
          above(deliveries.id, ascending ? last : null, after && firstIdAt(Date.parse(after))),
          below(deliveries.id, ascending ? null : last, before && firstIdAt(Date.parse(before))),
        ),
      )
      .orderBy((ascending ? asc : desc)(deliveries.id))
      .limit(most)
  const wanted = (row: DeliveryRow) =>
    (status === undefined || status.includes(row.status)) &&
    (event_types === undefined || event_types.includes(row.event_type)) &&
    (tried === undefined || row.attempt_count > 0 === tried)
  const { rows, end } = await lookAmong(limit, from, read, wanted)
  return { rows: rows.map(timed), end }
}

/** What waits for another has no time of its own. */
const timed = (row: DeliveryRow): DeliveryRow =>
  row.next_attempt_at === BEHIND_ANOTHER ? { ...row, next_attempt_at: null } : row

/** An event id that leads to a delivery as the event's own does. */
export const eventIdOf = (deliveryId: string): string => `msg_${deliveryId.slice(0, 30)}000000`
