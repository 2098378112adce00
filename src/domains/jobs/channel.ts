import type { Context } from '../../data/context'
import { find } from '../../data/revise'
import { describeError, log } from '../../lib/log'
import { problem } from '../../lib/problem'
import { channelKind, publish, type Said } from '../realtime/channels'
import { type JobRow, jobs } from './table'

// `jobs:{id}` says how a job stands: to who comes, and whenever that changes.

const status = ({ id, kind, status, progress, result, error }: JobRow): Said => ({
  type: 'job_status',
  data: { id, kind, status, progress, result, error },
})

channelKind({
  name: 'jobs',
  scope: 'jobs:read',
  greet: async (ctx, id) => {
    const row = await find(ctx, jobs, id)
    if (!row) throw problem.notFound('job', id)
    return status(row)
  },
})

/** Says how a job stands now to who listens; never fails. */
export async function sayJob({ env, tenant }: Context, row: JobRow): Promise<void> {
  try {
    await publish(env, tenant.id, `jobs:${row.id}`, [status(row)])
  } catch (error) {
    log.warn('job_not_told', { tenant_id: tenant.id, job_id: row.id, cause: describeError(error) })
  }
}
