import { and, eq, sql } from 'drizzle-orm'
import type { Guarded } from '../../data/commit'
import type { Context } from '../../data/context'
import { problem } from '../../lib/problem'
import { roomAbout } from '../jobs/about'
import type { Job } from '../jobs/schema'
import { startJob } from '../jobs/service'
import { isActive } from '../tenancy/tenants/active'
import { NO_ROOM } from './room'
import { newRun, type RunTrigger, workflowRun } from './run'
import type { StartWorkflow } from './schema'
import { existingWorkflow } from './service'
import { type WorkflowRow, workflows } from './table'

const GONE = problem('conflict', 'The workflow was switched off, or deleted')

type More = {
  /** What must be done with it, or not at all. */
  statements?: Guarded[]
  /** The event that has it started. */
  cause?: string
  depth?: number
  audited?: boolean
}

/** Starts a run. */
export function startRun(
  ctx: Context,
  row: WorkflowRow,
  trigger: RunTrigger,
  input: unknown,
  { statements = [], cause, depth, audited = false }: More = {},
): Promise<Job & { version: number }> {
  const run = newRun(row, trigger, input, depth)
  const stands = sql`select 1 from workflows where tenant_id = ${ctx.tenant.id} and id = ${row.id} and is_active = 1`
  const checks = [
    { holds: sql`exists (${stands})`, otherwise: GONE },
    roomAbout(ctx, row.id, row.max_runs, NO_ROOM),
  ]
  const first = { ...run.first, change: { statements: [...statements, ...checks] } }
  const audit = (id: string) =>
    audited
      ? [{ action: 'workflow.start', resource: 'workflow', resource_id: row.id, after: { run_id: id } }]
      : []
  const of = { about: row.id, ...(cause === undefined ? {} : { cause }) }
  return startJob(ctx, workflowRun, run.input, first, audit, of)
}

/** Starts a run by hand. 404; 409 where the workflow is switched off, or has its most runs under way. */
export async function startByHand(ctx: Context, id: string, { input }: StartWorkflow) {
  const row = await existingWorkflow(ctx, id)
  if (!row.is_active)
    throw problem('conflict', 'The workflow is switched off; set is_active to true, and start it again')
  return startRun(ctx, row, { type: 'manual' }, input, { audited: true })
}

/** The workflow of a tenant that is active, where it is switched on. */
export async function startable(ctx: Context, id: string): Promise<WorkflowRow | undefined> {
  const rows = await ctx.db
    .select()
    .from(workflows)
    .where(
      and(
        eq(workflows.tenant_id, ctx.tenant.id),
        eq(workflows.id, id),
        eq(workflows.is_active, true),
        isActive(ctx.tenant.id),
      ),
    )
    .limit(1)
  return rows[0]
}
