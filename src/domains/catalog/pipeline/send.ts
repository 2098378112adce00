import { and, asc, between, eq, lte, sql } from 'drizzle-orm'
import { commit } from '../../../data/commit'
import { directory } from '../../../data/database'
import { bareTenant, systemContext } from '../../../data/system'
import { type Bindings, settingsOf } from '../../../env'
import { iso } from '../../../lib/ids'
import { Problem, problem } from '../../../lib/problem'
import { shown } from '../interactions/rows'
import { interactions } from '../interactions/table'
import { cutBatches } from './cut'
import { type Outcome, postBatch } from './post'
import { settle, type Tried } from './settle'
import { type PipelineBatch, pipelineBatches } from './table'

// The data pipeline gets every interaction at least once. A batch stands in D1 until it was taken; while the pipeline is
// away all wait, longer each time, and one is sent to see whether it is back. A batch that it will not take waits by itself.

type Defer = (work: Promise<unknown>) => void

/** A batch that a crash left behind is sent again after so long: longer than it is waited for. */
const CLAIM_MS = 30_000
const AT_ONCE = 4
const MOST_DUE = 20
/** One call sends for so long; the next goes on. */
const TURN_MS = 8_000

const CLAIMED = problem('conflict', 'Another is sending this batch')

/** Sends what is due, as long as it is taken; answers with whether something is left that could be sent now. */
export async function sendDue(env: Bindings, defer: Defer): Promise<boolean> {
  const until = Date.now() + TURN_MS
  while (Date.now() < until) {
    await cutBatches(env, Date.now())
    const due = await dueBatches(env, Date.now())
    // What waits, waits for its time.
    if (due.length === 0) return false
    // One by itself shows whether the pipeline is there.
    for (let at = 0; at < due.length; at += at === 0 ? 1 : AT_ONCE) {
      const some = due.slice(at, at === 0 ? 1 : at + AT_ONCE)
      const tried = await Promise.all(some.map((batch) => sendOne(env, batch, defer)))
      if (
        !(await settle(
          env,
          tried.filter((one) => one !== null),
        ))
      )
        return false
    }
  }
  return true
}

const dueBatches = (env: Bindings, now: number): Promise<PipelineBatch[]> =>
  directory(env)
    .select()
    .from(pipelineBatches)
    .where(lte(pipelineBatches.next_at, iso(now)))
    .orderBy(asc(pipelineBatches.next_at))
    .limit(MOST_DUE)
    .then((rows) => rows)

/** Sends one batch; null where another is at it. */
async function sendOne(env: Bindings, batch: PipelineBatch, defer: Defer): Promise<Tried | null> {
  const ctx = systemContext(env, bareTenant(batch.tenant_id), 'pipeline', defer)
  const claimed = iso(Date.now() + CLAIM_MS)
  const claim = ctx.db
    .update(pipelineBatches)
    .set({ next_at: claimed })
    .where(
      and(
        eq(pipelineBatches.tenant_id, batch.tenant_id),
        eq(pipelineBatches.id, batch.id),
        eq(pipelineBatches.next_at, batch.next_at),
      ),
    )
  try {
    await commit(ctx, { statements: [{ statement: claim, otherwise: CLAIMED }], result: undefined })
  } catch (error) {
    if (error instanceof Problem && error === CLAIMED) return null
    throw error
  }
  const rows = await rowsOf(env, batch)
  const sent = rows.map(({ seq: _, ...row }) => {
    const { tenant_id: __, ...interaction } = shown(ctx, row)
    return interaction
  })
  // Those that were deleted meanwhile are nobody's any more.
  const outcome: Outcome =
    sent.length === 0
      ? { kind: 'taken' }
      : await postBatch(settingsOf(env), ctx.traceparent, {
          ...{ tenant_id: batch.tenant_id, batch_id: batch.id },
          interactions: sent,
        })
  return { batch, outcome }
}

/** The plus keeps SQLite from looking through all that the tenant ever did: a batch is a short span of numbers. */
const rowsOf = (env: Bindings, { tenant_id, first_seq, last_seq }: PipelineBatch) =>
  directory(env)
    .select()
    .from(interactions)
    .where(
      and(sql`+${interactions.tenant_id} = ${tenant_id}`, between(interactions.seq, first_seq, last_seq)),
    )
    .orderBy(asc(interactions.seq))
    .then((rows) => rows)
