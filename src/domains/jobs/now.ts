import { type SQL, sql } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { firstIdAt } from '../../lib/ids'
import { jobs } from './table'

const DAY_MS = 86_400_000

export type JobsNow = {
  queued: number
  running: number
  /** Of those that were started within a day. */
  failed: number
  /** When the first of those that wait for their first step was made. */
  queued_since: string | null
}

/** How many of the tenant's jobs wait, run, and failed lately, counted up to `most`: each that is counted is read. */
export async function jobsNow(ctx: Context, most: number): Promise<JobsNow> {
  const of = (status: string, more: SQL = sql``) =>
    sql`from ${jobs} where ${jobs.tenant_id} = ${ctx.tenant.id} and ${jobs.status} = ${sql.raw(`'${status}'`)} ${more}`
  const count = (rows: SQL) => sql<number>`(select count(*) from (select 1 ${rows} limit ${most}))`
  const lately = sql`and ${jobs.id} >= ${firstIdAt(ctx.now - DAY_MS)}`
  const [row] = await ctx.db
    .select({
      queued: count(of('queued')).as('queued'),
      running: count(of('running')).as('running'),
      failed: count(of('failed', lately)).as('failed'),
      queued_since: sql<
        string | null
      >`(select ${jobs.created_at} ${of('queued')} order by ${jobs.id} limit 1)`.as('queued_since'),
    })
    .from(sql`(select 1)`)
  return row ?? { queued: 0, running: 0, failed: 0, queued_since: null }
}
