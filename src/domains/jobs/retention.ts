import { and, asc, eq, lt, sql } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { firstIdAt } from '../../lib/ids'
import { jobs } from './table'

/** Jobs are kept this long. */
const KEPT_MS = 90 * 24 * 3600_000
/** Rows that one run drops; the next takes the next. */
const MOST = 500

/** Drops the tenant's jobs that began long ago and have ended. */
export async function dropOldJobs(ctx: Context): Promise<void> {
  const old = and(eq(jobs.tenant_id, ctx.tenant.id), lt(jobs.id, firstIdAt(ctx.now - KEPT_MS)))
  const last = await ctx.db
    .select({ id: jobs.id })
    .from(jobs)
    .where(old)
    .orderBy(asc(jobs.id))
    .limit(1)
    .offset(MOST - 1)
  const end = last[0]?.id
  const removal = ctx.db
    .delete(jobs)
    .where(and(old, end === undefined ? undefined : lt(jobs.id, `${end}~`), sql`${jobs.next_at} is null`))
  await commit(ctx, { statements: [removal], result: undefined })
}
