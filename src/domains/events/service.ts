import { and, desc, eq, gte, lt, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { type Page, pageOf } from '../../data/page'
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

/** The tenant's events, newest first. */
export async function listEvents(ctx: Context, input: ListEvents): Promise<Page<Event>> {
  const { type, channel, created_after, created_before } = input
  const list = `events:${ctx.tenant.id}:${JSON.stringify([type, channel, created_after, created_before])}`
  const filters: (SQL | undefined)[] = [
    eq(events.tenant_id, ctx.tenant.id),
    type === undefined ? undefined : eq(events.type, type),
    channel === undefined
      ? undefined
      : sql`exists (select 1 from json_each(${events.channels}) where value = ${channel})`,
    // The id carries the time of acceptance, so a span of time is a span of the index that the list walks.
    created_after === undefined ? undefined : gte(events.id, `msg_${firstIdAt(Date.parse(created_after))}`),
    created_before === undefined ? undefined : lt(events.id, `msg_${firstIdAt(Date.parse(created_before))}`),
  ]
  const page = await pageOf(list, input, (after, limit) =>
    ctx.db
      .select()
      .from(events)
      .where(and(...filters, after ? lt(events.id, after.id) : undefined))
      .orderBy(desc(events.id))
      .limit(limit),
  )
  return { ...page, items: page.items.map((row) => view(row, row.data)) }
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
