import { and, asc, eq, lte, sql } from 'drizzle-orm'
import { commit } from '../../data/commit'
import { directory } from '../../data/database'
import { onClock, onSweep } from '../../data/sweeping'
import { bareTenant, systemContext } from '../../data/system'
import type { Bindings } from '../../env'
import { iso } from '../../lib/ids'
import { describeError, log } from '../../lib/log'
import { problem } from '../../lib/problem'
import { startAwaited, TURN_MS } from './awaited'
import { nextTick } from './cron'
import { NO_ROOM } from './room'
import { startable, startRun } from './start'
import { workflowTriggers } from './table'

/** Workflows with events that wait, and schedules, that one sweep sees to, and how many of the former at once. */
const MOST_WORKFLOWS = 100
const AT_ONCE = 10
const MOST_TICKS = 100

const TAKEN = problem('conflict', 'Another was faster')

type Deferring = Pick<ExecutionContext, 'waitUntil'>

const contextOf = (env: Bindings, ctx: Deferring, tenantId: string) =>
  systemContext(env, bareTenant(tenantId), 'workflow', (work) => ctx.waitUntil(work))

type Named = { tenant_id: string; workflow_id: string }

/** The workflow that the last sweep came to: the next goes on behind it, so that nobody's many keep others waiting. */
let reached: Named | null = null

onSweep('workflows_not_started', async (env, ctx) => {
  const until = Date.now() + TURN_MS
  const begun = reached
  const waiting = await directory(env).all<Named>(waitingBehind(begun))
  reached = waiting.length === MOST_WORKFLOWS ? (waiting.at(-1) ?? null) : null
  for (let i = 0; i < waiting.length; i += AT_ONCE) {
    if (Date.now() >= until) break
    const some = waiting.slice(i, i + AT_ONCE)
    await Promise.all(some.map((one) => startWaiting(env, ctx, one, until)))
    if (Date.now() >= until) reached = some.at(-1) ?? null
  }
  // Those before where it began are still to be looked at.
  return waiting.length + (begun === null ? 0 : 1)
})

const startWaiting = (env: Bindings, ctx: Deferring, { tenant_id, workflow_id }: Named, until: number) =>
  startAwaited(contextOf(env, ctx, tenant_id), workflow_id, until).catch((error: unknown) =>
    log.error('workflow_not_started', { tenant_id, workflow_id, cause: describeError(error) }),
  )

/**
 * The workflows with waiting events, of tenants that are active, from one to the next by the key. Those that have their most
 * runs under way are nothing to look after until one ends, which is an event itself: so the sweeper may sleep.
 */
const waitingBehind = (last: Named | null) => sql`
  with recursive hop(at) as (
    select (select rowid from workflow_events
      where (tenant_id, workflow_id) > (${last?.tenant_id ?? ''}, ${last?.workflow_id ?? ''})
      order by tenant_id, workflow_id, seq limit 1)
    union all
    select (select n.rowid from workflow_events as n
      where (n.tenant_id, n.workflow_id) > (w.tenant_id, w.workflow_id)
      order by n.tenant_id, n.workflow_id, n.seq limit 1)
    from hop join workflow_events as w on w.rowid = hop.at
  )
  select w.tenant_id as tenant_id, w.workflow_id as workflow_id
  from hop join workflow_events as w on w.rowid = hop.at
  join tenants as t on t.id = w.tenant_id and t.status = 'active'
  join workflows as f on f.tenant_id = w.tenant_id and f.id = w.workflow_id and f.is_active = 1
  where (select count(*) from jobs as j where j.tenant_id = w.tenant_id and j.about = w.workflow_id
    and j.status in ('queued', 'running')) < f.max_runs
  limit ${MOST_WORKFLOWS}`

type Schedule = typeof workflowTriggers.$inferSelect

onSweep('schedules_not_kept', async (env, ctx, now) => {
  const due = await directory(env)
    .select()
    .from(workflowTriggers)
    .where(and(sql`${workflowTriggers.next_at} is not null`, lte(workflowTriggers.next_at, iso(now))))
    .orderBy(asc(workflowTriggers.next_at))
    .limit(MOST_TICKS)
  for (const schedule of due)
    await keep(env, ctx, schedule).catch((error: unknown) =>
      log.error('schedule_not_kept', { workflow_id: schedule.workflow_id, cause: describeError(error) }),
    )
  return due.length
})

onClock(async (env) => {
  const [first] = await directory(env)
    .select({ at: workflowTriggers.next_at })
    .from(workflowTriggers)
    .where(sql`${workflowTriggers.next_at} is not null`)
    .orderBy(asc(workflowTriggers.next_at))
    .limit(1)
  return first?.at ? Date.parse(first.at) : null
})

/**
 * Starts the run of a schedule that is due, and has it due next after now: of ticks that were missed, one run comes. None
 * comes of a tenant that is suspended, and none beyond the runs that may be under way.
 */
async function keep(env: Bindings, defer: Deferring, schedule: Schedule): Promise<void> {
  const { tenant_id, workflow_id, place, cron, time_zone, next_at } = schedule
  const ctx = contextOf(env, defer, tenant_id)
  const next = nextTick(cron ?? '', time_zone ?? 'UTC', ctx.now)
  const onward = () => ({
    statement: ctx.db
      .update(workflowTriggers)
      .set({ next_at: next === null ? null : iso(next) })
      .where(
        and(
          eq(workflowTriggers.tenant_id, tenant_id),
          eq(workflowTriggers.workflow_id, workflow_id),
          eq(workflowTriggers.place, place),
          eq(workflowTriggers.next_at, next_at ?? ''),
        ),
      ),
    otherwise: TAKEN,
  })
  const leaveOut = () => commit(ctx, { statements: [onward()], result: undefined })
  const row = await startable(ctx, workflow_id)
  const trigger = { type: 'schedule' as const, scheduled_for: next_at ?? iso(ctx.now) }
  try {
    if (row) await startRun(ctx, row, trigger, {}, { statements: [onward()] })
    else await leaveOut()
  } catch (error) {
    if (error === TAKEN) return
    if (error !== NO_ROOM) throw error
    log.warn('schedule_left_out', { tenant_id, workflow_id, scheduled_for: trigger.scheduled_for })
    await leaveOut()
  }
}
