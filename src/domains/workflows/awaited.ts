import { and, asc, eq, inArray, sql } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { onNudge } from '../../data/sweeping'
import { bareTenant, systemContext } from '../../data/system'
import { log } from '../../lib/log'
import { problem } from '../../lib/problem'
import { dataText } from '../events/payload'
import { events } from '../events/table'
import { jobState } from '../jobs/about'
import { objection } from '../webhooks/endpoints/filter'
import { runOf } from './origin'
import { NO_ROOM } from './room'
import { MOST_DEPTH, type RunState } from './run'
import { MAX_INPUT } from './schema'
import { startable, startRun } from './start'
import { type WorkflowRow, workflowEvents } from './table'
import { awaitedBy } from './triggered'

// A trigger of D1 writes down which events start which workflows, in the batch of the events themselves. Here each becomes
// a run, and is forgotten in the batch that starts it: once, whoever looks and whatever crashes.

/** Events that are looked at together, and how long one turn goes on, whatever waits: the queue's consumer waits for it. */
const MOST_AT_ONCE = 20
export const TURN_MS = 5_000
/** Events that wait for one workflow at most; beyond that the last to come are let go. */
const MOST_WAITING = 10_000

const TAKEN = problem('conflict', 'Another was faster')

onNudge('workflows_not_started', async (env, nudges, ctx) => {
  const tenants = [...new Set(nudges.map(({ tenant_id }) => tenant_id))]
  await Promise.all(
    tenants.map(async (id) => {
      const system = systemContext(env, bareTenant(id), 'workflow', (work) => ctx.waitUntil(work))
      const until = Date.now() + TURN_MS
      for (const workflow of await awaitedBy(system)) await startAwaited(system, workflow, until)
    }),
  )
})

/** Starts the runs that events wait for, oldest first, as far as there is room and time. */
export async function startAwaited(ctx: Context, workflowId: string, until: number): Promise<void> {
  if (Date.now() >= until) return
  const row = await startable(ctx, workflowId)
  while (row && Date.now() < until) {
    const waiting = await nextWaiting(ctx, workflowId)
    if (!(await startEach(ctx, row, waiting))) return letGo(ctx, workflowId)
    if (waiting.length < MOST_AT_ONCE) return
  }
}

type Waiting = Awaited<ReturnType<typeof nextWaiting>>[number]

/** Those that came first; one whose event is kept no more has no id. */
function nextWaiting(ctx: Context, workflowId: string) {
  const { id, type, timestamp, subject, data, data_key, origin } = events
  return ctx.db
    .select({ seq: workflowEvents.seq, id, type, timestamp, subject, data, data_key, origin })
    .from(workflowEvents)
    .leftJoin(
      events,
      and(eq(events.tenant_id, workflowEvents.tenant_id), eq(events.id, workflowEvents.event_id)),
    )
    .where(and(eq(workflowEvents.tenant_id, ctx.tenant.id), eq(workflowEvents.workflow_id, workflowId)))
    .orderBy(asc(workflowEvents.seq))
    .limit(MOST_AT_ONCE)
}

/** Starts a run for each, and forgets those that start none; false where there is no room for more. */
async function startEach(ctx: Context, row: WorkflowRow, waiting: readonly Waiting[]): Promise<boolean> {
  const none: number[] = []
  let room = true
  for (const one of waiting) {
    const run = await runFor(ctx, row, one)
    if (run === null) none.push(one.seq)
    else room = await run()
    if (!room) break
  }
  if (none.length > 0) await commit(ctx, { statements: [forgotten(ctx, row.id, none)], result: undefined })
  return room
}

/** What starts the run of an event, false where there is no room; null where none is to start. */
async function runFor(
  ctx: Context,
  row: WorkflowRow,
  event: Waiting,
): Promise<(() => Promise<boolean>) | null> {
  const { id, type, timestamp, subject, data, data_key } = event
  if (id === null || type === null || timestamp === null) return null
  const text = await dataText(ctx.env, { data, data_key })
  if (text === null) return null
  const value: unknown = JSON.parse(text)
  if (!startedBy(row, type, value)) return null
  const depth = await depthOf(ctx, event, value)
  if (depth > MOST_DEPTH + 1) {
    log.warn('workflow_loop_ended', { tenant_id: ctx.tenant.id, workflow_id: row.id, event_id: id })
    return null
  }
  const trigger = { type: 'event' as const, event: { id, type, timestamp, subject } }
  const forget = { statement: forgotten(ctx, row.id, [event.seq]), otherwise: TAKEN }
  // What is over the limit is read by its id.
  const input = text.length > MAX_INPUT ? null : value
  return async () => {
    try {
      const now = Date.now()
      await startRun({ ...ctx, now }, row, trigger, input, { statements: [forget], cause: id, depth })
      return true
    } catch (error) {
      if (error === NO_ROOM) return false
      if (error === TAKEN) return true
      throw error
    }
  }
}

/** Whether one of a workflow's triggers takes the event: its type is as it was when it came, its filter as it is now. */
function startedBy({ triggers }: WorkflowRow, type: string, data: unknown): boolean {
  return triggers.some((trigger) => {
    if (trigger.type !== 'event') return false
    const { event_type: wanted, filter } = trigger
    const takes =
      wanted === '*' || wanted === type || (wanted.endsWith('.*') && type.startsWith(wanted.slice(0, -1)))
    return takes && (filter === undefined || objection(filter, data) === null)
  })
}

/** How many runs stand behind an event: it comes from one, or tells how one ended, or how its own event fared. */
async function depthOf(ctx: Context, { origin, type }: Waiting, data: unknown): Promise<number> {
  const { kind, job_id, event_id } = (data ?? {}) as Record<string, unknown>
  const tells =
    /^job\./.test(type ?? '') && kind === 'workflows.run' && typeof job_id === 'string' ? job_id : null
  const about =
    /^delivery\./.test(type ?? '') && typeof event_id === 'string' ? await originOfEvent(ctx, event_id) : null
  const parent = runOf(origin) ?? tells ?? runOf(about)
  const state = parent === null ? null : ((await jobState(ctx, parent)) as RunState | null)
  return state === null ? 0 : state.depth + 1
}

async function originOfEvent(ctx: Context, id: string): Promise<string | null> {
  const rows = await ctx.db
    .select({ origin: events.origin })
    .from(events)
    .where(and(eq(events.tenant_id, ctx.tenant.id), eq(events.id, id)))
    .limit(1)
  return rows[0]?.origin ?? null
}

const mine = (ctx: Context, workflowId: string) =>
  and(eq(workflowEvents.tenant_id, ctx.tenant.id), eq(workflowEvents.workflow_id, workflowId))

/** Not async: it goes into a batch. */
function forgotten(ctx: Context, workflowId: string, seqs: readonly number[]) {
  const listed = sql`(select value from json_each(${JSON.stringify(seqs)}))`
  return ctx.db.delete(workflowEvents).where(and(mine(ctx, workflowId), inArray(workflowEvents.seq, listed)))
}

/** Has no more events wait than may: those that came last go. */
async function letGo(ctx: Context, workflowId: string): Promise<void> {
  const rows = await ctx.db
    .select({ seq: workflowEvents.seq })
    .from(workflowEvents)
    .where(mine(ctx, workflowId))
    .orderBy(asc(workflowEvents.seq))
    .limit(1)
    .offset(MOST_WAITING)
  const end = rows[0]?.seq
  if (end === undefined) return
  log.warn('workflow_events_let_go', { tenant_id: ctx.tenant.id, workflow_id: workflowId })
  const rest = ctx.db
    .delete(workflowEvents)
    .where(and(mine(ctx, workflowId), sql`${workflowEvents.seq} >= ${end}`))
  await commit(ctx, { statements: [rest], result: undefined })
}
