import { sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { directory } from '../../../data/database'
import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { moveOn, nextEnd, overAllTenants, positionOf } from '../../metering/daily/follow'
import { pipelineBatches } from './table'

/** How far the pipeline's batches reach, in the order of commit. */
export const FOLLOWER = 'pipeline'

/** Interactions of a batch, and the bytes of what they say, but for those of one. Bound as parameters they would not be whole. */
const MOST_IN_BATCH = sql.raw('500')
const BATCH_BYTES = sql.raw('1000000')
/** Interactions of all tenants that one commit makes batches of, and commits of one call. */
const ROWS = 1_000
const COMMITS = 5
/** While so many wait no others are made: what is not in a batch yet waits where it is, and costs nothing. */
const MOST_WAITING = 50

/**
 * Makes batches of what was committed since the last: each interaction comes into one, since the position is moved in the
 * transaction that makes them.
 */
export async function cutBatches(env: Bindings, now: number): Promise<void> {
  for (let made = 0; made < COMMITS; made++) {
    const { more, waiting } = await standing(env)
    if (more === 0 || waiting >= MOST_WAITING) return
    await commit(overAllTenants(env, 'pipeline'), {
      statements: [batchesOf(env, iso(now)), moveOn(env, FOLLOWER, nextEnd(FOLLOWER, 'interactions', ROWS))],
      result: undefined,
    })
  }
}

/** Batches that were refused wait by themselves, and hold up nobody. */
const standing = (env: Bindings) =>
  directory(env).get<{ more: number; waiting: number }>(sql`
    select coalesce((select max(seq) from interactions), 0) > ${positionOf(FOLLOWER)} as more,
      (select count(*) from (select 1 from pipeline_batches where refusal is null limit ${MOST_WAITING})) as waiting`)

/** Not async: awaiting a Drizzle statement would run it outside the batch. */
function batchesOf(env: Bindings, now: string) {
  const at = positionOf(FOLLOWER)
  return directory(env)
    .insert(pipelineBatches)
    .select(
      sql`select tenant_id, lower(hex(randomblob(16))), min(seq), max(seq), count(*), 0, null, ${now}, ${now}
        from (select r.tenant_id as tenant_id, r.seq as seq, (row_number() over w - 1) / ${MOST_IN_BATCH} as part,
            sum(length(cast(coalesce(r.text, '') as blob)) + length(cast(r.metadata as blob))) over w / ${BATCH_BYTES} as size
          from interactions as r where r.seq > ${at} and r.seq <= ${at} + ${ROWS}
          window w as (partition by r.tenant_id order by r.seq)) as cut
        group by tenant_id, part, size`,
    )
}
