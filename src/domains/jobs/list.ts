import { and, desc, eq, getTableColumns } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { type Page, pageOf } from '../../data/page'
import { madeBetween } from '../../data/span'
import type { ListJobs } from './schema'
import { type JobRow, jobs } from './table'

/** A job as lists show it: a checkpoint may be large, and is nobody's but its kind's. */
export type Listed = Omit<JobRow, 'state'>

const { state: _, ...LISTED } = getTableColumns(jobs)

/** The tenant's jobs, newest first; those that are of one thing, such as a workflow's runs, where `about` names it. */
export function listJobs(
  ctx: Context,
  input: Omit<ListJobs, 'kind'> & Partial<Pick<ListJobs, 'kind'>>,
  about?: string,
): Promise<Page<Listed>> {
  const { status, kind, created_after, created_before } = input
  const filters = JSON.stringify([about, status, kind, created_after, created_before])
  return pageOf(`jobs:${ctx.tenant.id}:${filters}`, input, (after, limit) =>
    ctx.db
      .select(LISTED)
      .from(jobs)
      .where(
        and(
          eq(jobs.tenant_id, ctx.tenant.id),
          about === undefined ? undefined : eq(jobs.about, about),
          kind === undefined ? undefined : eq(jobs.kind, kind),
          status && eq(jobs.status, status),
          madeBetween(jobs.id, { created_after, created_before }, after?.id),
        ),
      )
      .orderBy(desc(jobs.id))
      .limit(limit),
  )
}
