import { and, desc, eq, getTableColumns, isNotNull, type SQL, sql } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import type { Context } from '../../data/context'
import { LOOKED_AT_EACH, type Page, pageOf } from '../../data/page'
import { madeBetween } from '../../data/span'
import { decodeCursor, encodeCursor, type Position } from '../../lib/cursor'
import { firstIdAt } from '../../lib/ids'
import { eventsByIds } from './of-application'
import type { Event, ListEvents } from './schema'
import { view } from './service'
import { type EventRow, eventChannels, events } from './table'
import { undelivered } from './undelivered'

/**
 * The tenant's events, newest first. Where no index leads to those that are wanted, a page looks at so many of them, and
 * may be short.
 */
export async function listEvents(ctx: Context, input: ListEvents): Promise<Page<Event>> {
  const { limit, cursor, ...filters } = input
  const list = `events:${ctx.tenant.id}:${JSON.stringify(Object.entries(filters).sort())}`
  const page = await (input.delivery === undefined ? plainPage : undeliveredPage)(ctx, list, input)
  return { ...page, items: page.items.map((row) => view(row, row.data)) }
}

type PageOf = (ctx: Context, list: string, input: ListEvents) => Promise<Page<EventRow>>

const plainPage: PageOf = (ctx, list, input) => {
  const { type, channel, schema_error } = input
  if (channel !== undefined) return pageOfChannel(ctx, list, input, channel)
  return pageOf(list, input, (after, limit) =>
    ctx.db
      .select()
      .from(events)
      .where(
        and(
          eq(events.tenant_id, ctx.tenant.id),
          spanOf(input, events.id, after),
          type === undefined ? undefined : eq(events.type, type),
          schema_error === undefined ? undefined : isNotNull(events.schema_error),
        ),
      )
      .orderBy(desc(events.id))
      .limit(limit),
  )
}

/** Those of one channel, whose index has their types, and whether they are unlike their schemas. */
function pageOfChannel(
  ctx: Context,
  list: string,
  input: ListEvents,
  channel: string,
): Promise<Page<EventRow>> {
  const { type, schema_error } = input
  return pageOf(list, input, (after, limit) =>
    ctx.db
      .select(getTableColumns(events))
      .from(eventChannels)
      .innerJoin(
        events,
        and(eq(events.tenant_id, eventChannels.tenant_id), eq(events.id, eventChannels.event_id)),
      )
      .where(
        and(
          eq(eventChannels.tenant_id, ctx.tenant.id),
          eq(eventChannels.channel, channel),
          type === undefined ? undefined : eq(eventChannels.type, type),
          // Spelled out, so that SQLite sees that the partial index serves.
          schema_error === undefined ? undefined : sql`${eventChannels.unlike} = 1`,
          spanOf(input, eventChannels.event_id, after),
        ),
      )
      .orderBy(desc(eventChannels.event_id))
      .limit(limit),
  )
}

/** Those with a delivery that has not arrived. Events of other types and channels are passed over, so many a page. */
const undeliveredPage: PageOf = async (ctx, list, input) => {
  const { type, channel, schema_error, created_after, created_before, limit } = input
  const passes = [type, channel, schema_error].some((one) => one !== undefined)
  const after = input.cursor === undefined ? null : decodeCursor(list, input.cursor).id
  const most = (limit + 1) * (passes ? LOOKED_AT_EACH : 1)
  const looked = await undelivered(ctx, input, {
    before: [after, created_before && startOf(created_before)].flatMap((one) => one || []).sort()[0] ?? null,
    from: created_after === undefined ? null : startOf(created_after),
    most,
  })
  const found = looked.flatMap(({ id }) => id ?? [])
  const ids = found.slice(0, limit)
  const last = found.length > limit ? ids.at(-1) : looked.length === most ? looked.at(-1)?.start : undefined
  const rows = await eventsByIds(ctx, ids)
  return {
    items: rows.sort((a, b) => (a.id < b.id ? 1 : -1)),
    next_cursor: last === undefined ? null : encodeCursor(list, { key: last, id: last }),
  }
}

/** The id from which on events were accepted at `time` or later. */
const startOf = (time: string) => `msg_${firstIdAt(Date.parse(time))}`

/** The id carries the time of acceptance, so a span of time is a span of the index that the list walks. */
const spanOf = (input: ListEvents, id: SQLiteColumn, after: Position | null): SQL | undefined =>
  madeBetween(id, input, after?.id, 'msg_')
