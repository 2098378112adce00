import { and, eq, inArray, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { events } from '../../events/table'
import { deliveries } from './table'

/**
 * Makes the deliveries of events of one tenant and marks the events dispatched, in one batch. The endpoints are read by
 * the statement that makes the deliveries, so one that was answered 201 gets the next event; done again, it makes
 * nothing twice. Answers with the endpoints that have something to send.
 */
export async function fanOut(ctx: Context, eventIds: readonly string[]): Promise<string[]> {
  const ids = JSON.stringify(eventIds)
  const dispatched = ctx.db
    .update(events)
    .set({ dispatched: 1 })
    .where(
      and(
        eq(events.tenant_id, ctx.tenant.id),
        inArray(events.id, sql`(select value from json_each(${ids}))`),
        // The plus keeps to the index of ids: that of what is undispatched has every tenant's.
        sql`+${events.dispatched} = 0`,
      ),
    )
  await commit(ctx, { statements: [insertion(ctx, ids), dispatched], result: undefined })
  // By the span of ids that an event's deliveries have (table.ts). CROSS JOIN keeps to that order.
  const rows = await ctx.db.all<{ endpoint_id: string }>(sql`
    select distinct d.endpoint_id as endpoint_id
    from json_each(${ids}) as event
    cross join deliveries as d on d.tenant_id = ${ctx.tenant.id}
      and d.id >= substr(event.value, 5, 30) and d.id < substr(event.value, 5, 30) || 'g'
    where d.status = 'pending'`)
  return rows.map((row) => row.endpoint_id)
}

/** `insert … select` names every column of the table, in its order. */
function insertion(ctx: Context, ids: string) {
  const now = iso(ctx.now)
  return ctx.db
    .insert(deliveries)
    .select(sql`
      select e.tenant_id, substr(e.id, 5, 30) || w.tail, e.id, e.type, w.id,
        case w.status when 'active' then 'pending' else 'held' end, 0, 0,
        case w.status when 'active' then ${now} end, ${now}, null, 1
      from events as e
      join endpoints as w on w.tenant_id = e.tenant_id
      where e.tenant_id = ${ctx.tenant.id} and +e.dispatched = 0
        and e.id in (select value from json_each(${ids}))
        and exists (
          select 1 from json_each(w.event_types) as wanted
          where wanted.value = e.type or wanted.value = '*'
            or (substr(wanted.value, -2) = '.*'
              and substr(e.type, 1, length(wanted.value) - 1) = substr(wanted.value, 1, length(wanted.value) - 1)))
        and (w.channels = '[]' or exists (
          select 1 from json_each(w.channels) as listened, json_each(e.channels) as carried
          where listened.value = carried.value))
        -- An endpoint is not told of itself.
        and not (e.type in ('endpoint.disabled', 'delivery.exhausted')
          and json_extract(e.data, '$.endpoint_id') = w.id)`)
    .onConflictDoNothing()
}
