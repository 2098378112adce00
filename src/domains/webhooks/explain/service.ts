import { and, desc, eq, gte, inArray, isNull, lt, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { type Page, pageOf } from '../../../data/page'
import { iso } from '../../../lib/ids'
import { dataText } from '../../events/payload'
import { existingEvent } from '../../events/service'
import { type DeliveryRow, deliveries } from '../deliveries/table'
import { type EndpointRow, endpoints } from '../endpoints/table'
import type { Explanation, ListExplanations } from './schema'
import { whyNone, whyNotArrived } from './why'

/** Deliveries to endpoints that were deleted are shown at the end, as many. */
const MOST_DELETED = 100

/** For each endpoint of the event's application, newest first, how the event stands with it, or what said no. */
export async function explainEvent(
  ctx: Context,
  id: string,
  input: ListExplanations,
): Promise<Page<Explanation>> {
  const event = await existingEvent(ctx, id)
  const page = await pageOf(`explain:${ctx.tenant.id}:${id}`, input, (after, limit) =>
    ctx.db
      .select()
      .from(endpoints)
      .where(
        and(
          eq(endpoints.tenant_id, ctx.tenant.id),
          event.application_id === null
            ? isNull(endpoints.application_id)
            : eq(endpoints.application_id, event.application_id),
          after ? lt(endpoints.id, after.id) : undefined,
        ),
      )
      .orderBy(desc(endpoints.id))
      .limit(limit),
  )
  const made = await deliveriesTo(ctx, id, page.items)
  const data = await dataText(ctx.env, event)
  const acceptedAt = iso(Number.parseInt(id.slice(4, 17).replace('-', ''), 16))
  const now = iso(ctx.now)
  const items = page.items.map((endpoint): Explanation => {
    const delivery = made.get(endpoint.id)
    return delivery
      ? explained(endpoint, delivery, now)
      : {
          ...{ endpoint_id: endpoint.id, uid: endpoint.uid, endpoint_status: endpoint.status },
          ...{ matched: false, at: null, delivery: null },
          ...whyNone(event, data, endpoint, acceptedAt),
        }
  })
  if (page.next_cursor !== null) return { ...page, items }
  const orphans = await deliveriesToDeleted(ctx, id)
  return { ...page, items: [...items, ...orphans.map((delivery) => explained(null, delivery, now))] }
}

function explained(endpoint: EndpointRow | null, row: DeliveryRow, now: string): Explanation {
  const { next_attempt_at = row.next_attempt_at, ...why } = whyNotArrived(row, endpoint, now)
  const { id, status, attempt_count, delivered_at } = row
  return {
    ...{ endpoint_id: row.endpoint_id, uid: endpoint?.uid ?? null },
    ...{ endpoint_status: endpoint?.status ?? 'deleted', matched: true, at: null },
    ...{ reason: why.reason, why: why.why },
    delivery: { id, status, attempt_count, next_attempt_at, delivered_at },
  }
}

/** What the ids of an event's deliveries begin with (webhooks/deliveries/table.ts). */
const startOf = (eventId: string) => eventId.slice(4, 34)

async function deliveriesTo(
  ctx: Context,
  eventId: string,
  to: readonly EndpointRow[],
): Promise<Map<string, DeliveryRow>> {
  const ids = to.map(({ tail }) => startOf(eventId) + tail)
  const rows = await ctx.db
    .select()
    .from(deliveries)
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        inArray(deliveries.id, sql`(select value from json_each(${JSON.stringify(ids)}))`),
      ),
    )
  return new Map(rows.map((row) => [row.endpoint_id, row]))
}

function deliveriesToDeleted(ctx: Context, eventId: string): Promise<DeliveryRow[]> {
  const start = startOf(eventId)
  const some = ctx.db
    .select({ id: deliveries.id })
    .from(deliveries)
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        gte(deliveries.id, start),
        lt(deliveries.id, `${start}g`),
        sql`not exists (select 1 from endpoints as w
          where w.tenant_id = ${ctx.tenant.id} and w.id = ${deliveries.endpoint_id})`,
      ),
    )
    .limit(MOST_DELETED)
  return ctx.db
    .select()
    .from(deliveries)
    .where(and(eq(deliveries.tenant_id, ctx.tenant.id), inArray(deliveries.id, some)))
    .limit(MOST_DELETED)
}
