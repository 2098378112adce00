import { type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../data/context'

/** Deliveries that have not arrived, and are not on their way. One that was cancelled was given up on purpose. */
const STUCK = ['held', 'failed', 'exhausted']

/** Characters of an event's UUID that the ids of its deliveries begin with (webhooks/deliveries/table.ts). */
const SHARED = 30

type Wanted = {
  type?: string | undefined
  channel?: string | undefined
  schema_error?: 'true' | undefined
}

/** Ids, or what ids begin with: before which, from which on; and how many events to look at. */
type Span = { before: string | null; from: string | null; most: number }

const uuidOf = (eventId: string) => eventId.slice('msg_'.length, 'msg_'.length + SHARED)

/**
 * The newest events of a span of which a delivery has not arrived, newest first: what each one's id begins with, and the
 * id where it is of those that are wanted. It hops from event to event through the index of what is undelivered: four
 * look-ups each, however many deliveries and delivered events lie between. Of one type it hops over those of others, but
 * where they are on their way.
 */
export function undelivered(
  ctx: Context,
  { type, channel, schema_error }: Wanted,
  { before, from, most }: Span,
): Promise<{ start: string; id: string | null }[]> {
  const wanted = [
    type === undefined ? sql`` : sql`and e.type = ${type}`,
    channel === undefined
      ? sql``
      : sql`and exists (select 1 from json_each(e.channels) as carried where carried.value = ${channel})`,
    schema_error === undefined ? sql`` : sql`and e.schema_error is not null`,
  ]
  const oldest = from === null ? '' : uuidOf(from)
  return ctx.db.all(sql`
    with recursive hop(event) as (
      select ${latestBefore(ctx, type, sql`${before === null ? 'g' : uuidOf(before)}`)}
      union all
      select ${latestBefore(ctx, type, sql`hop.event`)} from hop where hop.event > ${oldest}
      limit ${most}
    )
    select 'msg_' || hop.event as start, e.id as id
    from hop
    left join events as e on e.tenant_id = ${ctx.tenant.id}
      and e.id >= 'msg_' || hop.event and e.id < 'msg_' || hop.event || 'g' ${sql.join(wanted, sql` `)}
    where hop.event > ${oldest}`)
}

/** What the id of the latest such event before `event` begins with; empty where there is none. */
function latestBefore(ctx: Context, type: string | undefined, event: SQL): SQL {
  const latest = (index: string, such: SQL) => sql`coalesce((
      select substr(d.id, 1, ${sql.raw(String(SHARED))}) from deliveries as d indexed by ${sql.raw(index)}
      where d.tenant_id = ${ctx.tenant.id} and ${such} and d.id < ${event}
      order by d.id desc limit 1), '')`
  const undelivered = sql.raw(`d.status in ('pending', 'failed', 'exhausted', 'held', 'cancelled')`)
  const stuck = sql.raw(`d.status in ('failed', 'exhausted', 'held', 'cancelled')`)
  const is = (status: string) => sql.raw(`d.status = '${status}'`)
  const last = STUCK.map((status) =>
    type === undefined
      ? latest('deliveries_undelivered', sql`${is(status)} and ${undelivered}`)
      : latest('deliveries_stuck_by_type', sql`${is(status)} and ${stuck} and d.event_type = ${type}`),
  )
  const onTheirWay = latest('deliveries_undelivered', sql`${is('pending')} and ${undelivered}`)
  return sql`max(${sql.join([...last, onTheirWay], sql`, `)})`
}
