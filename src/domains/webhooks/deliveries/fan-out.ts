import { and, eq, inArray, type SQL, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { iso } from '../../../lib/ids'
import { describeError, log } from '../../../lib/log'
import { dataText } from '../../events/payload'
import { events } from '../../events/table'
import { type Filter, objection } from '../endpoints/filter'
import { OF_ENDPOINTS } from '../endpoints/subscription'
import { type Handed, handOut, listed, type Pending, pendingOf, type Sendable, sendableOf } from './ready'
import { deliveries } from './table'

/**
 * Makes the deliveries of events of one tenant and marks the events dispatched. The endpoints are read by the statement
 * that makes the deliveries, so one that was answered 201 gets the next event; done again, it makes nothing twice.
 * Answers with the endpoints that have something to send.
 *
 * Filters are asked here, outside of D1: first come the deliveries of endpoints without one, and an event that another
 * may take is not dispatched yet. What the filters say then counts for the very versions of the endpoints that were read;
 * where one changed meanwhile, it is asked anew.
 */
export async function fanOut(ctx: Context, eventIds: readonly string[]): Promise<string[]> {
  return [...(await fanOutWork(ctx, eventIds)).keys()]
}

/** The same, with what each endpoint may send at once: its object need not read it. */
export async function fanOutWork(ctx: Context, eventIds: readonly string[]): Promise<Map<string, Handed>> {
  const awake = new Map<string, Handed>()
  const left = await dispatch(ctx, eventIds, NOTHING, awake)
  try {
    if (left.length > 0) await askFilters(ctx, left, awake)
  } catch (cause) {
    // What stands already is not held up; the sweep takes up what does not.
    log.error('filters_not_asked', { tenant_id: ctx.tenant.id, cause: describeError(cause) })
  }
  return awake
}

/** Does the same where filters have a say, and adds to `awake`. What changes faster than it is asked, the sweep takes up. */
async function askFilters(
  ctx: Context,
  eventIds: readonly string[],
  awake: Map<string, Handed>,
): Promise<void> {
  let left = eventIds
  for (let round = 0; left.length > 0 && round < ROUNDS; round++) {
    const filters = await filtersFor(ctx, left)
    const undone: string[] = []
    const size = Math.max(1, Math.min(MOST_EVENTS, Math.floor(MOST_VERDICTS / Math.max(1, filters.length))))
    for (let at = 0; at < left.length; at += size) {
      const some = left.slice(at, at + size)
      undone.push(...(await dispatch(ctx, some, await verdicts(ctx, some, filters), awake)))
    }
    left = undone
  }
}

const ROUNDS = 5
/** Events whose payloads are held at once. */
const MOST_EVENTS = 50
/** Verdicts that one statement is told. */
const MOST_VERDICTS = 10_000

/** What filters said: `asked` names endpoints in the versions that were, `passed` an event before one of them. */
type Verdicts = { asked: readonly string[]; passed: readonly string[] }

const NOTHING: Verdicts = { asked: [], passed: [] }

type Filtered = { id: string; version: number; filter: Filter }

/** The filters of the endpoints that otherwise take one of the events. */
async function filtersFor(ctx: Context, eventIds: readonly string[]): Promise<Filtered[]> {
  const rows = await ctx.db
    .select({
      id: sql<string>`w.id`.as('id'),
      version: sql<number>`w.version`.as('version'),
      filter: sql<string>`w.filter`.as('filter'),
    })
    .from(sql`endpoints as w`)
    .where(sql`w.tenant_id = ${ctx.tenant.id} and w.filter is not null and exists (
      select 1 from events as e where e.tenant_id = w.tenant_id and e.id in ${listed(eventIds)} and ${takes('e')})`)
  return rows.map((row) => ({ ...row, filter: JSON.parse(row.filter) as Filter }))
}

/** Asks each of the filters about each of the events. Where a payload is no longer kept, none lets it pass. */
async function verdicts(
  ctx: Context,
  eventIds: readonly string[],
  filters: readonly Filtered[],
): Promise<Verdicts> {
  const rows = await ctx.db
    .select({ id: events.id, data: events.data, data_key: events.data_key })
    .from(events)
    .where(and(eq(events.tenant_id, ctx.tenant.id), inArray(events.id, listed(eventIds))))
  const passed: string[] = []
  for (const row of rows) {
    const text = await dataText(ctx.env, row)
    if (text === null) continue
    const data: unknown = JSON.parse(text)
    for (const { id, version, filter } of filters)
      if (objection(filter, data) === null) passed.push(`${row.id} ${id}:${version}`)
  }
  return { asked: filters.map(({ id, version }) => `${id}:${version}`), passed }
}

/**
 * One batch: deliveries, the mark on events that every endpoint was asked of, and what is to be done next: who has something
 * to send is added to `awake`; answers with the events that filters have a say in.
 */
async function dispatch(
  ctx: Context,
  eventIds: readonly string[],
  said: Verdicts,
  awake: Map<string, Handed>,
): Promise<string[]> {
  let left: string[] = []
  const seen = ([pending, undispatched, messages]: unknown[]) => {
    left = (undispatched as { id: string }[]).map(({ id }) => id)
    handOut(ctx, pending as Pending[], messages as Sendable[], awake)
  }
  const statements = [pendingOf(ctx, eventIds), undispatchedOf(ctx, eventIds), sendableOf(ctx, eventIds)]
  await commit(ctx, {
    statements: [insertion(ctx, eventIds, said), mark(ctx, eventIds, said)],
    reads: { statements, seen },
    result: undefined,
  })
  return left
}

/** The delivery of event `e` to endpoint `w`: `insert … select` names every column of the table, in its order. */
export const asDelivery = (now: string, due: SQL = sql`${now}`) => sql`
  e.tenant_id, substr(e.id, 5, 30) || w.tail, e.id, e.type, w.id,
  case w.status when 'active' then 'pending' else 'held' end, 0, 0,
  case w.status when 'active' then ${due} end, ${now}, null, 1,
  case when w.ordered then coalesce(e.subject, '') end, case when w.ordered then e.seq end`

function insertion(ctx: Context, eventIds: readonly string[], { passed }: Verdicts) {
  return ctx.db
    .insert(deliveries)
    .select(sql`
      select ${asDelivery(iso(ctx.now))}
      from events as e
      join endpoints as w on w.tenant_id = e.tenant_id and w.application_id is e.application_id
      where e.tenant_id = ${ctx.tenant.id} and +e.dispatched = 0
        and e.id in ${listed(eventIds)} and ${takes('e')}
        and (w.filter is null or e.id || ' ' || w.id || ':' || w.version in ${listed(passed)})`)
    .onConflictDoNothing()
}

/** The delivery of an event to one endpoint, whatever that takes. Not async, as it goes into a batch. */
export const insertDelivery = (ctx: Context, eventId: string, endpointId: string) =>
  ctx.db.insert(deliveries).select(sql`
    select ${asDelivery(iso(ctx.now))}
    from events as e
    join endpoints as w on w.tenant_id = e.tenant_id and w.id = ${endpointId}
    where e.tenant_id = ${ctx.tenant.id} and e.id = ${eventId}`)

function mark(ctx: Context, eventIds: readonly string[], { asked }: Verdicts) {
  return ctx.db
    .update(events)
    .set({ dispatched: 1 })
    .where(
      and(
        ...undispatched(ctx, eventIds),
        sql`not exists (select 1 from endpoints as w where w.tenant_id = ${events.tenant_id}
          and w.filter is not null and ${takes('events')} and w.id || ':' || w.version not in ${listed(asked)})`,
      ),
    )
}

function undispatchedOf(ctx: Context, eventIds: readonly string[]) {
  return ctx.db
    .select({ id: events.id })
    .from(events)
    .where(and(...undispatched(ctx, eventIds)))
}

const undispatched = (ctx: Context, eventIds: readonly string[]): SQL[] => [
  eq(events.tenant_id, ctx.tenant.id),
  inArray(events.id, listed(eventIds)),
  // The plus keeps to the index of ids: that of what is undispatched has every tenant's.
  sql`+${events.dispatched} = 0`,
]

/** Whether endpoint `w` takes the event, but for its filter; `subscription.ts` says the same of one of each. */
export function takes(event: 'e' | 'events'): SQL {
  const e = sql.raw(event)
  const ofEndpoints = sql.raw(`('${OF_ENDPOINTS.join("', '")}')`)
  return sql`w.application_id is ${e}.application_id
    -- Most endpoints take other types, which their list says without being parsed.
    and (instr(w.event_types, json_quote(${e}.type)) or instr(w.event_types, '*"'))
    and exists (
      select 1 from json_each(w.event_types) as wanted
      where wanted.value = ${e}.type or wanted.value = '*'
        or (substr(wanted.value, -2) = '.*'
          and substr(${e}.type, 1, length(wanted.value) - 1) = substr(wanted.value, 1, length(wanted.value) - 1)))
    and (w.channels = '[]' or exists (
      select 1 from json_each(w.channels) as listened, json_each(${e}.channels) as carried
      where listened.value = carried.value))
    -- An endpoint is not told of itself.
    and not (${e}.application_id is null and ${e}.type in ${ofEndpoints}
      and coalesce(json_extract(${e}.data, '$.endpoint_id') = w.id, 0))`
}
