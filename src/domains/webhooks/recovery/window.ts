import { and, asc, eq, gt, lt, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { dataText } from '../../events/payload'
import { events } from '../../events/table'
import { deliveries } from '../deliveries/table'
import { matches, OF_ENDPOINTS, whyNot } from '../endpoints/subscription'
import type { EndpointRow } from '../endpoints/table'
import type { Replayable } from './schema'

/** Events that are looked at together; fewer where a filter has to see their payloads. */
export const EVENTS = 1_000
const EVENTS_WITH_PAYLOADS = 200

/** Only events with that channel, or that tag. */
export type Only = { channel?: string | undefined; tag?: string | undefined }

/** What is looked for: events with ids between `after` and `until`, of these types, in these states. */
export type Search = Only & {
  after: string
  until: string
  status: readonly Replayable[]
  event_types: readonly string[] | null
}

/** What a window has: event ids by the state of their delivery. `expired` have no payload any more. */
export type Window = {
  found: Record<Replayable | 'expired', string[]>
  /** Where the next window begins; null after the last. */
  after: string | null
}

/** The next events of a search, at most so many, in the order of their ids, and how their deliveries to the endpoint stand. */
export async function lookAt(
  ctx: Context,
  endpoint: EndpointRow,
  search: Search,
  most = EVENTS,
): Promise<Window> {
  const limit = Math.min(most, endpoint.filter === null ? EVENTS : EVENTS_WITH_PAYLOADS)
  const rows = await read(ctx, endpoint, search, limit)
  const found: Window['found'] = {
    ...{ failed: [], exhausted: [], held: [], missing: [], delivered: [], expired: [] },
  }
  for (const row of rows) {
    // Of an endpoint that was deleted, and whose last digits this one has (deliveries/table.ts): there is no room.
    if (row.endpoint_id !== null && row.endpoint_id !== endpoint.id) continue
    const state = row.status ?? 'missing'
    if (!isOneOf(search.status, state)) continue
    if (search.channel !== undefined && !row.channels.includes(search.channel)) continue
    if (search.tag !== undefined && !row.tags?.includes(search.tag)) continue
    if (search.event_types && !search.event_types.some((pattern) => matches(pattern, row.type))) continue
    if (state === 'missing' && !(await isMissing(ctx, endpoint, row))) continue
    found[row.is_kept ? state : 'expired'].push(row.id)
  }
  return { found, after: rows.length < limit ? null : (rows.at(-1)?.id ?? null) }
}

const isOneOf = (wanted: readonly Replayable[], state: string): state is Replayable =>
  (wanted as readonly string[]).includes(state)

function read(
  ctx: Context,
  { tail, filter, application_id }: EndpointRow,
  { after, until }: Search,
  limit: number,
) {
  // Payloads are large: only what decides is read.
  const decides =
    filter === null ? sql`${events.type} in ${sql.raw(`('${OF_ENDPOINTS.join("', '")}')`)}` : sql`1`
  return ctx.db
    .select({
      id: events.id,
      type: events.type,
      application_id: events.application_id,
      channels: events.channels,
      tags: events.tags,
      dispatched: events.dispatched,
      data: sql<string | null>`case when ${decides} then ${events.data} end`.as('data'),
      data_key: events.data_key,
      is_kept: sql<number>`${events.data} is not null or ${events.data_key} is not null`.as('is_kept'),
      status: deliveries.status,
      endpoint_id: deliveries.endpoint_id,
    })
    .from(events)
    .leftJoin(
      deliveries,
      and(
        eq(deliveries.tenant_id, events.tenant_id),
        // The id of an event's delivery to that endpoint (deliveries/table.ts).
        eq(deliveries.id, sql`substr(${events.id}, 5, 30) || ${tail}`),
      ),
    )
    .where(
      and(
        eq(events.tenant_id, ctx.tenant.id),
        // The events of an application have an index; the tenant's own are what its others are few among.
        application_id === null ? undefined : eq(events.application_id, application_id),
        gt(events.id, after),
        lt(events.id, until),
      ),
    )
    .orderBy(asc(events.id))
    .limit(limit)
}

type Row = Awaited<ReturnType<typeof read>>[number]

/** Whether the endpoint would take the event now. One that is not dispatched yet is on its ordinary way. */
async function isMissing(ctx: Context, endpoint: EndpointRow, row: Row): Promise<boolean> {
  if (row.dispatched === 0 || whyNot({ ...endpoint, filter: null }, row) !== null) return false
  if (endpoint.filter === null || !row.is_kept) return true
  return whyNot(endpoint, { ...row, data: await dataText(ctx.env, row) }) === null
}
