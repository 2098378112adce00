import { and, asc, lt, sql } from 'drizzle-orm'
import { directory } from '../../data/database'
import type { Bindings } from '../../env'
import { iso } from '../../lib/ids'
import { jobs } from './table'
import { wakeJob } from './wake'

/** What is younger than this is on its ordinary way. */
const GRACE_MS = 5_000
/** Jobs that one sweep wakes; the next takes the next. */
const MOST_AT_ONCE = 100

/** Wakes the jobs whose step is overdue, over all active tenants; answers with how many that were. */
export async function wakeOverdueJobs(env: Bindings, now: number): Promise<number> {
  const overdue = await directory(env)
    .select({ tenant_id: jobs.tenant_id, job_id: jobs.id })
    .from(jobs)
    .where(
      and(
        sql`${jobs.next_at} is not null`,
        lt(jobs.next_at, iso(now - GRACE_MS)),
        sql`exists (select 1 from tenants as t where t.id = ${jobs.tenant_id} and t.status = 'active')`,
      ),
    )
    .orderBy(asc(jobs.next_at))
    .limit(MOST_AT_ONCE)
  await Promise.all(overdue.map((job) => wakeJob(env, job)))
  return overdue.length
}
