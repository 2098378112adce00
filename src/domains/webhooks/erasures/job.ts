import { and, asc, eq, inArray, type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { sha256 } from '../../../lib/crypto'
import { eventChannels, events } from '../../events/table'
import { forgetCausedBy } from '../../jobs/about'
import { jobKind, type Step } from '../../jobs/kinds'
import { replaceInput } from '../../jobs/service'
import { callNext } from '../deliveries/order'
import { deliveries, OPEN } from '../deliveries/table'
import { senderOf, wakeEndpoint } from '../deliveries/wake'

// Erases what events say of one subject, slice by slice. A slice is two steps, each with its checkpoint: the first ends
// its deliveries, drops the payloads in D1 and the runs that its events had started, so that nothing goes out any more; the second has the endpoints' objects
// forget what attempts sent and were answered, deletes the payloads in R2, and last of all takes the subject's name off.
// An event that was erased has none any more, so what is left to do needs no mark, and a step may be repeated.

/** Events of one slice, and deliveries of them where there are many endpoints. */
const SLICE = 50
const MOST_DELIVERIES = 2_000
/** Events that are counted beforehand, for the progress. */
const MOST_COUNTED = 10_000
/** Objects that are called at once. */
const CALLS = 4

/**
 * `until`: events whose ids sort before it, which were accepted before the erasure was asked for. With an event's id in
 * the subject's place, that one alone.
 */
type OfSubject = { subject: string; until: string }
export type Input = OfSubject | { subject: null; event_id: string }
/** `slice`: the events of which the second step is due. */
type State = { slice: string[]; total: number; events: number; deliveries: number }

export const NOT_BEGUN: State = { slice: [], total: -1, events: 0, deliveries: 0 }

export const erasure = jobKind<Input, State>({
  name: 'events.erase',
  scope: 'events:write',
  step: (ctx, { id, input, state }) =>
    state.slice.length > 0 ? forget(ctx, state) : endDeliveries(ctx, input, state, id),
})

const listed = (ids: readonly string[]) => sql`(select value from json_each(${JSON.stringify(ids)}))`

/** The first step of the next slice; where there is none, the last of the job. */
export async function endDeliveries(
  ctx: Context,
  input: Input,
  before: State,
  jobId: string,
): Promise<Step<State>> {
  // An event that was named was the first slice, and the only one.
  if (input.subject === null) return { ...stepTo(before), done: true }
  const state = before.total < 0 ? { ...before, total: await countOf(ctx, input) } : before
  const slice = await nextSlice(ctx, input)
  if (slice.length === 0) {
    const done = replaceInput(ctx, jobId, await withoutName(input))
    return { ...stepTo(state), done: true, change: { statements: [done] } }
  }
  return endSlice(ctx, state, slice)
}

/** Ends the deliveries of a slice, and drops its payloads. */
export async function endSlice(ctx: Context, state: State, slice: string[]): Promise<Step<State>> {
  const open = await deliveriesOf(ctx, slice, sql`and d.status ${OPEN}`)
  const ids = open.map(({ id }) => id)
  // From here on fan-out makes none, either.
  const dropped = ctx.db
    .update(events)
    .set({ data: null, data_key: null, schema_error: null, dispatched: 1 })
    .where(and(eq(events.tenant_id, ctx.tenant.id), inArray(events.id, listed(slice))))
  return {
    ...stepTo({ ...state, slice, deliveries: state.deliveries + open.length }),
    change: {
      statements: [dropped, forgetCausedBy(ctx, slice), cancelled(ctx, ids), callNext(ctx, ids)],
    },
  }
}

/** The second step of a slice. What was made in the moment before the first is ended here. */
async function forget(ctx: Context, { slice, ...state }: State): Promise<Step<State>> {
  const { env, tenant } = ctx
  const all = await deliveriesOf(ctx, slice, sql``)
  const byEndpoint = [...Map.groupBy(all, ({ endpoint_id }) => endpoint_id)]
  for (let at = 0; at < byEndpoint.length; at += CALLS)
    await Promise.all(
      byEndpoint.slice(at, at + CALLS).map(async ([endpoint_id, own]) => {
        const sender = await senderOf(env, { tenant_id: tenant.id, endpoint_id })
        await sender.forget(own.map(({ id }) => id))
      }),
    )
  // A webhook that came in has its event's UUID, and its body here where it was too large for an event.
  await env.FILES.delete(
    slice.flatMap((id) => [`${tenant.id}/events/${id}`, `${tenant.id}/incoming/${id.slice(4)}`]),
  )
  const ids = all.map(({ id }) => id)
  const open = all.filter(({ status }) => status === 'pending' || status === 'held').length
  const nobodys = ctx.db
    .update(events)
    .set({ subject: null, channels: [], tags: null })
    .where(and(eq(events.tenant_id, tenant.id), inArray(events.id, listed(slice))))
  // The line that they stood in is called by the subject's name.
  const outOfLine = ctx.db
    .update(deliveries)
    .set({ order_key: null, seq: null })
    .where(
      and(
        eq(deliveries.tenant_id, tenant.id),
        inArray(deliveries.id, listed(ids)),
        sql`+${deliveries.order_key} is not null`,
      ),
    )
  const ordered = byEndpoint.filter(([, own]) => own.some(({ order_key }) => order_key !== null))
  return {
    ...stepTo({
      ...state,
      slice: [],
      events: state.events + slice.length,
      deliveries: state.deliveries + open,
    }),
    change: {
      statements: [cancelled(ctx, ids), callNext(ctx, ids), outOfLine, offChannels(ctx, slice), nobodys],
    },
    after: () =>
      Promise.all(
        ordered.map(([endpoint_id]) => wakeEndpoint(env, { tenant_id: tenant.id, endpoint_id }, true)),
      ),
  }
}

const stepTo = (state: State): Step<State> => ({
  state,
  progress: (100 * state.events) / Math.max(1, state.total),
  result: { events: state.events, deliveries_cancelled: state.deliveries },
  done: false,
})

const about = (ctx: Context, { subject, until }: OfSubject) =>
  // The plus keeps to the index of subjects.
  and(eq(events.tenant_id, ctx.tenant.id), eq(events.subject, subject), sql`+${events.id} < ${until}`)

async function countOf(ctx: Context, input: OfSubject): Promise<number> {
  const some = ctx.db
    .select({ one: sql`1`.as('one') })
    .from(events)
    .where(about(ctx, input))
    .limit(MOST_COUNTED)
  const rows = await ctx.db.select({ total: sql<number>`count(*)`.as('total') }).from(some.as('some'))
  return rows[0]?.total ?? 0
}

/** The oldest events that are left, as many as have so many deliveries. */
async function nextSlice(ctx: Context, input: OfSubject): Promise<string[]> {
  const oldest = await ctx.db
    .select({ id: events.id })
    .from(events)
    .where(about(ctx, input))
    .orderBy(asc(events.seq))
    .limit(SLICE)
  const counted = await ctx.db.all<{ id: string; made: number }>(sql`
    select e.value as id, (
      select count(*) from deliveries as d where d.tenant_id = ${ctx.tenant.id} and ${ofEvent}
    ) as made
    from json_each(${JSON.stringify(oldest.map(({ id }) => id))}) as e`)
  const slice: string[] = []
  let sum = 0
  for (const { id, made } of counted) {
    sum += made
    if (sum > MOST_DELIVERIES && slice.length > 0) break
    slice.push(id)
  }
  return slice
}

/** The span of ids that the deliveries of event `e` have. */
const ofEvent = sql`d.id >= substr(e.value, 5, 30) and d.id < substr(e.value, 5, 30) || 'g'`

type Made = { id: string; endpoint_id: string; status: string; order_key: string | null }

function deliveriesOf(ctx: Context, slice: readonly string[], more: SQL): Promise<Made[]> {
  return ctx.db.all<Made>(sql`
    select d.id as id, d.endpoint_id as endpoint_id, d.status as status, d.order_key as order_key
    from json_each(${JSON.stringify(slice)}) as e
    cross join deliveries as d on d.tenant_id = ${ctx.tenant.id} and ${ofEvent} ${more}`)
}

function cancelled(ctx: Context, ids: readonly string[]) {
  return ctx.db
    .update(deliveries)
    .set({ status: 'cancelled', next_attempt_at: null, version: sql`version + 1` })
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        inArray(deliveries.id, listed(ids)),
        sql`+${deliveries.status} ${OPEN}`,
      ),
    )
}

/** What an event was tagged with, and which channels it was on, may name its subject. */
function offChannels(ctx: Context, slice: readonly string[]) {
  return ctx.db.delete(eventChannels).where(
    and(
      eq(eventChannels.tenant_id, ctx.tenant.id),
      sql`(${eventChannels.channel}, ${eventChannels.event_id}) in (
        select carried.value, e.id from events as e, json_each(e.channels) as carried
        where e.tenant_id = ${ctx.tenant.id} and e.id in ${listed(slice)})`,
    ),
  )
}

/** What a finished erasure was asked for: who knows the subject can tell, and nobody else. */
export async function withoutName({ subject, until }: OfSubject) {
  return { subject: null, subject_sha256: await sha256(subject), until }
}
