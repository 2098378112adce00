import { and, eq, isNull, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { directory } from '../../../data/database'
import { count } from '../../../data/metrics'
import type { Bindings } from '../../../env'
import { iso } from '../../../lib/ids'
import { log } from '../../../lib/log'
import { moveOn, overAllTenants, positionOf } from '../../metering/daily/follow'
import type { Outcome } from './post'
import { type PipelineBatch, pipelineBatches } from './table'

/** A batch that was sent, and what came of it. */
export type Tried = { batch: PipelineBatch; outcome: Outcome }
type Away = Tried & { outcome: { kind: 'away' } }

/** How often in a row the pipeline was away; none since a batch was taken. */
const AWAY = 'pipeline.away'
const AWAY_MS = 5_000
const LONGEST_AWAY_MS = 5 * 60_000
const REFUSED_MS = 60_000
const LONGEST_REFUSED_MS = 6 * 3600_000
/** A batch that makes the pipeline fail so often while others are taken is at fault itself. */
const OWN_FAILURES = 3

/** Writes down what came of batches that were sent together; answers whether the pipeline is there, as far as is known. */
export async function settle(env: Bindings, tried: readonly Tried[]): Promise<boolean> {
  for (const { batch, outcome } of tried) {
    count(env, 'pipeline_batches_total', { outcome: outcome.kind })
    const { id: batch_id, tenant_id } = batch
    if (outcome.kind === 'taken') await taken(env, batch)
    else log.warn('pipeline_batch_not_taken', { batch_id, tenant_id, kind: outcome.kind, cause: outcome.why })
    if (outcome.kind === 'refused') await refused(env, batch, outcome.why)
  }
  const away = tried.filter((one): one is Away => one.outcome.kind === 'away')
  if (away.length === 0) return true
  const { times } = await directory(env).get<{ times: number }>(sql`select ${positionOf(AWAY)} as times`)
  const isOwn = ({ batch, outcome }: Away) =>
    batch.refusal !== null || (outcome.answered && times === 0 && batch.failures + 1 >= OWN_FAILURES)
  for (const one of away.filter(isOwn)) await refused(env, one.batch, one.outcome.why)
  const others = away.filter((one) => !isOwn(one))
  if (others.length > 0) await wait(env, others, times)
  return others.length === 0
}

const mine = (batch: PipelineBatch) =>
  and(eq(pipelineBatches.tenant_id, batch.tenant_id), eq(pipelineBatches.id, batch.id))

async function taken(env: Bindings, batch: PipelineBatch): Promise<void> {
  const gone = directory(env).delete(pipelineBatches).where(mine(batch))
  await commit(overAllTenants(env, 'pipeline'), {
    statements: [gone, moveOn(env, AWAY, sql`0`)],
    result: undefined,
  })
}

/** It waits by itself, longer each time. */
async function refused(env: Bindings, batch: PipelineBatch, refusal: string): Promise<void> {
  const wait = Math.min(REFUSED_MS * 2 ** Math.min(batch.failures, 20), LONGEST_REFUSED_MS)
  const set = { failures: batch.failures + 1, refusal, next_at: iso(Date.now() + wait) }
  const statement = directory(env).update(pipelineBatches).set(set).where(mine(batch))
  await commit(overAllTenants(env, 'pipeline'), { statements: [statement], result: undefined })
}

/** All wait together, those that were tried a moment longer than the others: the next to try is another. */
async function wait(env: Bindings, away: readonly Away[], times: number): Promise<void> {
  const asked = Math.max(...away.map(({ outcome }) => outcome.retry_after_ms))
  const until = Date.now() + Math.max(asked, Math.min(AWAY_MS * 2 ** Math.min(times, 10), LONGEST_AWAY_MS))
  const all = directory(env)
    .update(pipelineBatches)
    .set({ next_at: sql`max(${pipelineBatches.next_at}, ${iso(until)})` })
    .where(isNull(pipelineBatches.refusal))
  const own = away.map(({ batch }) =>
    directory(env)
      .update(pipelineBatches)
      .set({ failures: batch.failures + 1, next_at: iso(until + 1) })
      .where(mine(batch)),
  )
  await commit(overAllTenants(env, 'pipeline'), {
    statements: [all, ...own, moveOn(env, AWAY, sql`${times + 1}`)],
    result: undefined,
  })
}
