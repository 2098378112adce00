import { and, desc, eq, gte, lt, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { MOST_LOOKED_AT, type Page, pageAmong, pageOf } from '../../data/page'
import type { Position } from '../../lib/cursor'
import { firstIdAt, iso, newId } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { isBuiltIn } from './catalogue'
import { dataText } from './payload'
import type { Event, ListEvents, SendEvent } from './schema'
import { type EventRow, events } from './table'

/** Takes a tenant's own event; 413 where its payload is over 256 KB, 422 for a type of the service's own. */
export async function sendEvent(ctx: Context, input: SendEvent): Promise<Event> {
  if (isBuiltIn(input.type))
    throw problem.invalid({ type: 'is one of the service’s own types; send it under a name of yours' })
  const { type, data, channels, subject } = input
  const id = `msg_${newId(ctx.now)}`
  const timestamp = input.occurred_at ?? iso(ctx.now)
  return commit(ctx, {
    statements: [],
    events: [{ id, type, data, channels, occurred_at: timestamp, ...(subject ? { subject } : {}) }],
    result: { id, type, tenant_id: ctx.tenant.id, timestamp, data, channels, subject: subject ?? null },
  })
}

/** The tenant's events, newest first. By their channel a page looks at so many of them, and may be short. */
export async function listEvents(ctx: Context, input: ListEvents): Promise<Page<Event>> {
  const { type, channel, created_after, created_before } = input
  const list = `events:${ctx.tenant.id}:${JSON.stringify([type, channel, created_after, created_before])}`
  const filters: (SQL | undefined)[] = [
    eq(events.tenant_id, ctx.tenant.id),
    type === undefined ? undefined : eq(events.type, type),
    // The id carries the time of acceptance, so a span of time is a span of the index that the list walks.
    created_after === undefined ? undefined : gte(events.id, `msg_${firstIdAt(Date.parse(created_after))}`),
    created_before === undefined ? undefined : lt(events.id, `msg_${firstIdAt(Date.parse(created_before))}`),
  ]
  const before = (after: Position | null) => (after ? lt(events.id, after.id) : undefined)
  const read = (limit: number, ...more: (SQL | undefined)[]) =>
    ctx.db
      .select()
      .from(events)
      .where(and(...filters, ...more))
      .orderBy(desc(events.id))
      .limit(limit)
  const page =
    channel === undefined
      ? await pageOf(list, input, (after, limit) => read(limit, before(after)))
      : await pageAmong(
          list,
          input,
          (after) => lastLookedAt(ctx, and(...filters, before(after))),
          (after, limit, end) =>
            read(limit, isOn(channel), before(after), end === null ? undefined : gte(events.id, end)),
        )
  return { ...page, items: page.items.map((row) => view(row, row.data)) }
}

const isOn = (channel: string) =>
  sql`exists (select 1 from json_each(${events.channels}) where value = ${channel})`

/** The last event that a page looks at; null where there are fewer. */
async function lastLookedAt(ctx: Context, where: SQL | undefined): Promise<string | null> {
  const row = await ctx.db
    .select({ id: events.id })
    .from(events)
    .where(where)
    .orderBy(desc(events.id))
    .limit(1)
    .offset(MOST_LOOKED_AT - 1)
  return row[0]?.id ?? null
}

/** One event with its data, wherever that is kept. */
export async function getEvent(ctx: Context, id: string): Promise<Event> {
  const rows = await ctx.db
    .select()
    .from(events)
    .where(and(eq(events.tenant_id, ctx.tenant.id), eq(events.id, id)))
    .limit(1)
  const row = rows[0]
  if (!row) throw problem.notFound('event', id)
  return view(row, await dataText(ctx.env, row))
}

const view = (row: EventRow, data: string | null): Event => ({
  id: row.id,
  type: row.type,
  tenant_id: row.tenant_id,
  timestamp: row.timestamp,
  data: data === null ? null : JSON.parse(data),
  channels: row.channels,
  subject: row.subject,
})
