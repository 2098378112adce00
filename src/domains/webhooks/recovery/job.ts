import { and, eq, inArray, lte, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { firstIdAt, iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { jobKind, type Step } from '../../jobs/kinds'
import { asDelivery } from '../deliveries/fan-out'
import { deliveries } from '../deliveries/table'
import { wakeEndpoint } from '../deliveries/wake'
import { type EndpointRow, endpoints } from '../endpoints/table'
import { REPLAYABLE, type Replayable } from './schema'
import { EVENTS, lookAt, type Only, type Window } from './window'

/** Events of the windows that one step of the count looks at, and of the one before the answer. */
const WINDOWS = [EVENTS, EVENTS]
const FIRST_EVENTS = 50
/** While so many deliveries of the endpoint are due, no more are added: what happens now must not wait behind the past. */
const MOST_DUE = 500
/** How soon it is looked again whether some were sent; at an endpoint that asked to be left alone, later. */
const LOOK_MS = 1_000
const LATEST_LOOK_MS = 30_000
const LONGEST_WAIT_MS = 900_000
/** States of deliveries that are sent again. */
const AGAIN = ['failed', 'exhausted', 'held', 'delivered'] as const
/** The part of the progress that the count makes. */
const OF_COUNT = 20

/** What a recovery was asked for: events accepted from `since` on and before `until`. */
export type Input = Only & {
  endpoint_id: string
  since: string
  until: string
  status: Replayable[]
  event_types: string[] | null
  dry_run: boolean
}

type Counts = Record<Replayable | 'expired', number>

/**
 * `after` is the id of the last event that was looked at, in the count or, once that is done, for sending; `waits` counts
 * how often in a row others had to be sent first.
 */
type State = { after: string; counted: Counts; is_counted: boolean; resent: number; waits: number }

const firstEventAt = (time: string) => `msg_${firstIdAt(Date.parse(time))}`

/** The state of a recovery that has not begun. */
export const notBegun = ({ since }: Input): State => ({
  after: firstEventAt(since),
  counted: { failed: 0, exhausted: 0, held: 0, missing: 0, delivered: 0, expired: 0 },
  ...{ is_counted: false, resent: 0, waits: 0 },
})

/** Counts what there is to send again, then sends it, oldest first, no faster than the endpoint takes it. */
export const recovery = jobKind<Input, State>({
  name: 'webhooks.recover',
  scope: 'deliveries:write',
  step: async (ctx, { input, state }) => {
    const endpoint = await find(ctx, endpoints, input.endpoint_id)
    if (!endpoint) throw problem.notFound('endpoint', input.endpoint_id)
    return state.is_counted
      ? resend(ctx, endpoint, input, state)
      : count(ctx, endpoint, input, state, WINDOWS)
  },
})

const search = ({ until, status, event_types, channel, tag }: Input, after: string) => ({
  ...{ after, status, event_types, channel, tag },
  until: firstEventAt(until),
})

/** The first step of the count, of so few events that whoever asks waits for it. */
export const countFirst = (ctx: Context, endpoint: EndpointRow, input: Input) =>
  count(ctx, endpoint, input, notBegun(input), [FIRST_EVENTS])

/** One step of the count, window by window; after the last, sending begins anew with the first event. */
async function count(
  ctx: Context,
  endpoint: EndpointRow,
  input: Input,
  state: State,
  windows: readonly number[],
): Promise<Step<State>> {
  const counted = { ...state.counted }
  let after: string | null = state.after
  for (const most of windows) {
    if (after === null) break
    const window = await lookAt(ctx, endpoint, search(input, after), most)
    for (const name of [...REPLAYABLE, 'expired'] as const) counted[name] += window.found[name].length
    after = window.after
  }
  if (after !== null) return stepTo({ ...state, after, counted }, OF_COUNT * passed(input, after))
  const next = { ...state, after: firstEventAt(input.since), counted, is_counted: true }
  return { ...stepTo(next, OF_COUNT), done: input.dry_run || total(counted) === 0 }
}

/** One window of sending. */
async function resend(ctx: Context, endpoint: EndpointRow, input: Input, state: State): Promise<Step<State>> {
  const progress = (resent: number) =>
    OF_COUNT + ((100 - OF_COUNT) * resent) / Math.max(1, total(state.counted))
  if (await isBusy(ctx, endpoint.id)) {
    const waiting = { ...state, waits: state.waits + 1 }
    return { ...stepTo(waiting, progress(state.resent)), wait_ms: waitFor(endpoint, state.waits) }
  }
  const { found, after } = await lookAt(ctx, endpoint, search(input, state.after))
  // What is held waits for its endpoint already, where that takes nothing now.
  const states = endpoint.status === 'active' ? AGAIN : AGAIN.filter((one) => one !== 'held')
  const again = states.flatMap((one) => found[one])
  const line = inLine(endpoint, [...again, ...found.missing])
  const [old, fresh] = [new Set(again), new Set(found.missing)]
  const statements = [
    ...(old.size > 0
      ? [
          pendingAgain(
            ctx,
            endpoint,
            line.filter(({ event }) => old.has(event)),
            found,
          ),
        ]
      : []),
    ...(fresh.size > 0
      ? [
          madeNow(
            ctx,
            endpoint,
            line.filter(({ event }) => fresh.has(event)),
          ),
        ]
      : []),
  ]
  const resent = state.resent + line.length
  return {
    ...stepTo({ ...state, after: after ?? state.after, resent, waits: 0 }, progress(resent)),
    done: after === null,
    change: { statements },
    after: () => wakeEndpoint(ctx.env, { tenant_id: ctx.tenant.id, endpoint_id: endpoint.id }),
  }
}

/** How long until it is looked again: longer each time, and not before the endpoint takes anything. */
function waitFor({ rate_limit, not_before }: EndpointRow, waits: number): number {
  const half = rate_limit === null ? 0 : (MOST_DUE / 2 / rate_limit) * 1_000
  const wait = Math.min(LATEST_LOOK_MS, Math.max(half, LOOK_MS * 2 ** waits))
  const asked = not_before === null ? 0 : Date.parse(not_before) - Date.now()
  return Math.max(wait, Math.min(asked, LONGEST_WAIT_MS))
}

const stepTo = (state: State, progress: number): Step<State> => {
  const { counted, resent } = state
  return { state, progress, result: { counted, resent }, done: false }
}

const total = (counted: Counts) => REPLAYABLE.reduce((sum, name) => sum + counted[name], 0)

/** Which part of the time an event is in. */
function passed({ since, until }: Input, eventId: string): number {
  const at = Number.parseInt(eventId.slice(4, 17).replace('-', ''), 16)
  return Math.min(1, (at - Date.parse(since)) / (Date.parse(until) - Date.parse(since)))
}

async function isBusy(ctx: Context, endpointId: string): Promise<boolean> {
  const due = await ctx.db
    .select({ id: deliveries.id })
    .from(deliveries)
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        eq(deliveries.endpoint_id, endpointId),
        // Spelled out, so that SQLite sees that the partial index serves.
        sql`${deliveries.status} = 'pending'`,
        lte(deliveries.next_attempt_at, iso(Date.now())),
      ),
    )
    .limit(1)
    .offset(MOST_DUE - 1)
  return due.length > 0
}

/** Events in the order in which their deliveries go out: of what is due, the longest due goes first. */
type Line = { event: string; delivery: string; at: string }[]

function inLine({ tail }: EndpointRow, eventIds: readonly string[]): Line {
  const now = Date.now()
  return [...eventIds].sort().map((event, i) => ({
    ...{ event, delivery: event.slice(4, 34) + tail },
    at: iso(now - eventIds.length + i),
  }))
}

/** Sends once more what stands as it was found: not what was retried by hand, or cancelled, meanwhile. */
function pendingAgain(ctx: Context, { id }: EndpointRow, line: Line, found: Window['found']) {
  const states = AGAIN.filter((state) => found[state].length > 0)
  const ids = JSON.stringify(line.map(({ delivery }) => delivery))
  const is = sql`(select w.status from endpoints as w where w.tenant_id = ${ctx.tenant.id} and w.id = ${id})`
  return ctx.db
    .update(deliveries)
    .set({
      status: sql`case ${is} when 'active' then 'pending' else 'held' end`,
      next_attempt_at: sql`case ${is} when 'active' then line.at end`,
      retries: sql`retries + 1`,
      version: sql`version + 1`,
    })
    .from(sql`(
      select value ->> 'delivery' as delivery, value ->> 'at' as at
      from json_each(${JSON.stringify(line)})) as line`)
    .where(
      and(
        eq(deliveries.tenant_id, ctx.tenant.id),
        // By itself, the join would look through all of the tenant's deliveries for those in line.
        inArray(deliveries.id, sql`(select value from json_each(${ids}))`),
        sql`${deliveries.id} = line.delivery`,
        sql`+${deliveries.status} in (select value from json_each(${JSON.stringify(states)}))`,
      ),
    )
}

/** Makes the deliveries that never were. */
function madeNow(ctx: Context, { id }: EndpointRow, line: Line) {
  return ctx.db
    .insert(deliveries)
    .select(sql`
      select ${asDelivery(iso(Date.now()), sql`line.value ->> 'at'`)}
      from json_each(${JSON.stringify(line)}) as line
      cross join events as e on e.tenant_id = ${ctx.tenant.id} and e.id = line.value ->> 'event'
      join endpoints as w on w.tenant_id = e.tenant_id and w.id = ${id}
      where true`)
    .onConflictDoNothing()
}
