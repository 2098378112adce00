import type { Context } from '../../data/context'
import type { Page } from '../../data/page'
import { problem } from '../../lib/problem'
import { jobAbout } from '../jobs/about'
import { type Listed, listJobs } from '../jobs/list'
import type { RunState } from './run'
import type { ListRuns, Run } from './schema'
import { existingWorkflow } from './service'

/** The runs of a workflow, newest first; 404. */
export async function listRuns(ctx: Context, workflowId: string, input: ListRuns): Promise<Page<Listed>> {
  await existingWorkflow(ctx, workflowId)
  return listJobs(ctx, input, workflowId)
}

/** A run with what came of its steps; 404. */
export async function getRun(
  ctx: Context,
  workflowId: string,
  id: string,
): Promise<Run & { version: number }> {
  const row = await jobAbout(ctx, workflowId, id)
  if (!row) throw problem.notFound('run', id)
  const { at, done } = row.state as RunState
  const steps = Object.entries(done).map(([name, made]) => ({ name, ...made }))
  return { ...row, current_step: at, steps }
}
