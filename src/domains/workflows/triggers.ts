import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { iso } from '../../lib/ids'
import { nextTick } from './cron'
import { type WorkflowRow, workflowEvents, workflowTriggers } from './table'

type Of = Pick<WorkflowRow, 'id' | 'is_active' | 'triggers'>

/**
 * The statements that have a workflow started by what starts it now, and by nothing else, and when a schedule does next,
 * after `ctx.now`. Not async: they go into the batch that saves it.
 */
export function triggerStatements(ctx: Context, { id, is_active, triggers }: Of) {
  const rows = is_active
    ? triggers.map((trigger, place) => ({
        place,
        event_type: trigger.type === 'event' ? trigger.event_type : null,
        cron: trigger.type === 'schedule' ? trigger.cron : null,
        time_zone: trigger.type === 'schedule' ? trigger.time_zone : null,
        next_at: trigger.type === 'schedule' ? firstTick(trigger, ctx.now) : null,
      }))
    : []
  const cleared = ctx.db
    .delete(workflowTriggers)
    .where(and(eq(workflowTriggers.tenant_id, ctx.tenant.id), eq(workflowTriggers.workflow_id, id)))
  const ticks = rows.flatMap(({ next_at }) => next_at ?? []).sort()
  const next_run_at = ticks[0] ?? null
  if (rows.length === 0) return { statements: [cleared], next_run_at }
  const set = ctx.db.insert(workflowTriggers).select(sql`
    select ${ctx.tenant.id}, ${id}, value ->> 'place', value ->> 'event_type', value ->> 'cron', value ->> 'time_zone',
      value ->> 'next_at'
    from json_each(${JSON.stringify(rows)}) where true`)
  return { statements: [cleared, set], next_run_at }
}

const firstTick = ({ cron, time_zone }: { cron: string; time_zone: string }, after: number) => {
  const next = nextTick(cron, time_zone, after)
  return next === null ? null : iso(next)
}

/** Forgets the events that wait for a workflow. */
export function forgetEvents(ctx: Context, workflowId: string) {
  return ctx.db
    .delete(workflowEvents)
    .where(and(eq(workflowEvents.tenant_id, ctx.tenant.id), eq(workflowEvents.workflow_id, workflowId)))
}
