import { and, eq, sql } from 'drizzle-orm'
import type { Change, NewEvent } from '../../../data/commit'
import type { Context } from '../../../data/context'
import { find } from '../../../data/revise'
import { iso } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { eventOf } from '../../events/catalogue'
import { type Due, jobKind, type Step } from '../../jobs/kinds'
import { type Caller, callerOf, Hindered, type Hindrance } from './caller'
import { cancelling } from './cancel'
import { dueContacts, waitsFor, zonesOf } from './due'
import { afterPlacing, idling, newPace, nextLook, type Pace, placesAt } from './pace'
import { affordable, placing } from './placing'
import { countsOf, eventData, hasEnded } from './service'
import { type CampaignRow, campaigns, type Schedule } from './table'

// A campaign is one job from when it is scheduled to its end. A step places the calls that are due by the clock, each with
// its contact, its credit and the checkpoint in one batch: whatever breaks off, nobody is called twice. What changes the
// campaign takes back the step that is being made (`hurryAbout`).

export type Input = { campaign_id: string }
export type State = {
  pace: Pace
  caller: Caller | null
  /** How the counts stood at the last look, and how often in a row they stood so. */
  counted: number
  quiet: number
}

export const newState = (now: number): State => ({ pace: newPace(now), caller: null, counted: 0, quiet: 0 })

/** While calls are under way and none is to be placed: as long as nothing changes, looks become rarer. */
const FIRST_LOOK_MS = 1_000
const RAREST_LOOK_MS = 15_000
/** A campaign that is paused, or yet to start, is woken; this is for whom that did not reach. */
const LONGEST_WAIT_MS = 24 * 3600_000
/** So many failures of a step in a row, and somebody should know; the job itself would fail with the eighth. */
const MOST_FAILURES = 6

export const running = jobKind<Input, State>({
  name: 'campaigns.run',
  scope: 'campaigns:write',
  goesOn: async (ctx, { campaign_id }) => [
    {
      holds: sql`exists (select 1 from campaigns as c where c.tenant_id = ${ctx.tenant.id} and c.id = ${campaign_id}
        and c.status not in ('completed', 'cancelled'))`,
      otherwise: problem('conflict', 'The campaign has ended'),
    },
  ],
  cancelled: async (ctx, { campaign_id }) => {
    const row = await find(ctx, campaigns, campaign_id)
    return row && !hasEnded(row) ? cancelling(ctx, row) : { statements: [] }
  },
  step: (ctx, job) => stepOf(ctx, job),
})

/** Refused for a reason that another look finds out: the job tries again. */
export const AGAIN = problem('service_unavailable', 'The campaign has changed meanwhile')

const FAILING: Hindrance = {
  reason: 'internal_error',
  message: 'Placing calls failed again and again; resume the campaign to try once more',
}

async function stepOf(ctx: Context, { id, input, state, failures }: Due<Input, State>): Promise<Step<State>> {
  const row = await find(ctx, campaigns, input.campaign_id)
  if (!row?.schedule || row.job_id !== id) return { state, progress: 100, result: {}, done: true }
  if (hasEnded(row)) return { ...seen(row, state), progress: 100, done: true }
  const idle = { ...state, pace: idling(state.pace) }
  if (row.status === 'paused') return { ...seen(row, idle), wait_ms: LONGEST_WAIT_MS }
  if (failures >= MOST_FAILURES) return pausing(ctx, row, state, FAILING)
  const { start_at, end_at } = row.schedule
  const early = Date.parse(start_at) - ctx.now
  if (early > 0) return { ...seen(row, idle), wait_ms: Math.min(early, LONGEST_WAIT_MS) }
  const over = end_at !== null && Date.parse(end_at) <= ctx.now
  if (row.calling === 0 && (over || row.pending === 0)) return completing(ctx, row, state, over)
  try {
    if (over) return waiting(row, state, null)
    // What was refused may be because who calls is another by now: that is found out anew.
    const step = await going(ctx, row, row.schedule, failures > 0 ? { ...state, caller: null } : state)
    const left = end_at === null ? LONGEST_WAIT_MS : Date.parse(end_at) - ctx.now
    return { ...step, wait_ms: Math.min(step.wait_ms ?? 0, left) }
  } catch (error) {
    if (error instanceof Hindered) return pausing(ctx, row, state, error.hindrance)
    throw error
  }
}

/** What a step says that changes nothing. */
function seen(row: CampaignRow, state: State, waiting_for: string | null = null): Step<State> {
  const { contacts, pending, calling, status, paused_reason } = row
  return {
    state,
    progress: contacts === 0 ? 0 : (100 * (contacts - pending - calling)) / contacts,
    result: { campaign_id: row.id, status, paused_reason, waiting_for, contacts: countsOf(row) },
    done: false,
  }
}

/** Places what is due by the clock, or finds out until when there is nothing to place. */
async function going(
  ctx: Context,
  row: CampaignRow,
  schedule: Schedule,
  before: State,
): Promise<Step<State>> {
  const { calls_per_minute } = schedule
  const places = placesAt(before.pace, ctx.now, calls_per_minute)
  if (places === 0) return until(seen(row, before), nextLook(before.pace, ctx.now, calls_per_minute))
  const zones = await zonesOf(ctx, row.id, schedule)
  const due = await dueContacts(ctx, row.id, zones, places)
  if (due.length === 0) {
    const why = waitsFor(zones, schedule, ctx.now)
    return waiting(row, { ...before, pace: idling(before.pace) }, why)
  }
  const caller = await callerOf(ctx, row, before.caller)
  const some = due.slice(0, await affordable(ctx, due.length))
  const state = { ...before, caller }
  if (some.length === 0) {
    // What is held for calls that are under way may come back.
    if (row.calling > 0)
      return waiting(row, { ...state, pace: idling(state.pace) }, { for: 'credit', ms: null })
    return pausing(ctx, row, state, {
      reason: 'insufficient_credit',
      message: 'There is too little credit for another call; buy some, and resume the campaign',
    })
  }
  const { statements, events, after } = placing(ctx, row, caller, some)
  const pace = afterPlacing(before.pace, ctx.now, calls_per_minute, some.length, some.length < places)
  // One that was paused and scheduled anew has begun already.
  const first = row.started_at === null
  const as: CampaignRow = {
    ...{ ...row, status: 'running', started_at: row.started_at ?? iso(ctx.now) },
    ...{ pending: row.pending - some.length, calling: row.calling + some.length },
  }
  return {
    ...until(seen(as, { ...state, pace, quiet: 0 }), nextLook(pace, ctx.now, calls_per_minute)),
    change: {
      statements,
      events: [
        ...(first ? [eventOf('campaign.started', eventData({ ...row, started_at: as.started_at }))] : []),
        ...events,
      ],
    },
    after,
  }
}

/** The time that the step itself took is not waited once more. */
const until = (step: Step<State>, at: number): Step<State> => ({
  ...step,
  wait_ms: Math.max(0, Math.ceil(at - Date.now())),
})

/** Nothing is to be placed: until somebody may be called, or while calls are under way, until that changes. */
function waiting(
  row: CampaignRow,
  before: State,
  why: { for: string | null; ms: number | null } | null,
): Step<State> {
  const quiet = row.counted === before.counted ? before.quiet + 1 : 0
  const look = row.calling > 0 ? Math.min(FIRST_LOOK_MS * 2 ** quiet, RAREST_LOOK_MS) : LONGEST_WAIT_MS
  const state = { ...before, counted: row.counted, quiet: Math.min(quiet, 10) }
  return { ...seen(row, state, why?.for ?? null), wait_ms: Math.min(look, why?.ms ?? LONGEST_WAIT_MS) }
}

const mine = (ctx: Context, { id }: CampaignRow) =>
  and(eq(campaigns.tenant_id, ctx.tenant.id), eq(campaigns.id, id))

type Made = { statements: Change<unknown>['statements']; events: NewEvent[] }

/** The campaign goes no further before somebody has done something about it. */
function pausing(ctx: Context, row: CampaignRow, state: State, { reason, message }: Hindrance): Step<State> {
  const set = { status: 'paused' as const, paused_reason: reason }
  const statement = ctx.db
    .update(campaigns)
    .set({ ...set, version: sql`version + 1`, updated_at: iso(ctx.now) })
    .where(and(mine(ctx, row), eq(campaigns.status, row.status)))
  const change: Made = {
    statements: [{ statement, otherwise: AGAIN }],
    events: [eventOf('campaign.paused', { ...eventData(row), reason, message })],
  }
  const step = seen({ ...row, ...set }, state)
  return { ...step, result: { ...step.result, message }, wait_ms: LONGEST_WAIT_MS, change }
}

/** Everybody was called, or the time is over. */
function completing(ctx: Context, row: CampaignRow, state: State, over: boolean): Step<State> {
  const completed_at = iso(ctx.now)
  const set = { status: 'completed' as const, started_at: row.started_at ?? completed_at, completed_at }
  const none = over ? undefined : eq(campaigns.pending, 0)
  const statement = ctx.db
    .update(campaigns)
    .set({ ...set, version: sql`version + 1`, updated_at: completed_at })
    .where(and(mine(ctx, row), eq(campaigns.status, row.status), eq(campaigns.calling, 0), none))
  const after = { ...row, ...set }
  const change: Made = {
    statements: [{ statement, otherwise: AGAIN }],
    events: [eventOf('campaign.completed', { ...eventData(after), completed_at })],
  }
  return { ...seen(after, state), progress: 100, done: true, change }
}
