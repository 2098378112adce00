import { sql } from 'drizzle-orm'
import type { Check } from '../../data/commit'
import type { Context } from '../../data/context'
import { find } from '../../data/revise'
import { problem } from '../../lib/problem'
import { roomAbout } from '../jobs/about'
import { workflows } from './table'

/** As many runs of the workflow are under way as may be. */
export const NO_ROOM = problem(
  'conflict',
  'As many runs of the workflow are under way as its max_runs lets be; cancel one, or wait until one ends',
)

const DELETED = problem('conflict', 'The workflow was deleted, and its runs were cancelled with it')

/** What must hold for a run that has ended to go on: its workflow is there yet, and has room for it. */
export async function roomToGoOn(ctx: Context, workflowId: string): Promise<Check[]> {
  const row = await find(ctx, workflows, workflowId)
  if (!row) throw DELETED
  const there = sql`exists (select 1 from workflows where tenant_id = ${ctx.tenant.id} and id = ${workflowId})`
  // By the time this is looked at, the run itself is one of those that are under way.
  return [{ holds: there, otherwise: DELETED }, roomAbout(ctx, workflowId, row.max_runs + 1, NO_ROOM)]
}
