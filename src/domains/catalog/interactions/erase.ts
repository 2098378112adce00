import { and, asc, eq, inArray, lt, sql } from 'drizzle-orm'
import type { Context } from '../../../data/context'
import { iso, newId } from '../../../lib/ids'
import { problem } from '../../../lib/problem'
import { jobKind, type Step } from '../../jobs/kinds'
import type { Job } from '../../jobs/schema'
import { replaceInput, startJob } from '../../jobs/service'
import type { EraseInteractions } from './schema'
import { lastOf } from './service'
import { interactions } from './table'

/** Interactions that one step deletes. */
const SLICE = 100

/** `until`: those whose ids sort before it, which were registered before the erasure was asked for. */
type Input = EraseInteractions & { until: string }
type State = { deleted: number }

/** Deletes all that a speaker said or a user did, slice by slice, with recordings and conversations that nobody else has. */
export const erasing = jobKind<Input, State>({
  name: 'interactions.erase',
  scope: 'interactions:write',
  step: async (ctx, { id, input, state }) => {
    const by = input.user_id === undefined ? interactions.speaker_id : interactions.user_id
    const rows = await ctx.db
      .select()
      .from(interactions)
      .where(
        and(
          eq(interactions.tenant_id, ctx.tenant.id),
          eq(by, input.user_id ?? input.speaker_id ?? ''),
          lt(interactions.id, input.until),
        ),
      )
      .orderBy(asc(interactions.id))
      .limit(SLICE)
    const step = stepOf({ deleted: state.deleted + rows.length })
    // Whom it was about must not outlive it.
    if (rows.length === 0)
      return { ...step, done: true, change: { statements: [replaceInput(ctx, id, { until: input.until })] } }
    const ids = JSON.stringify(rows.map((row) => row.id))
    const gone = ctx.db
      .delete(interactions)
      .where(
        and(
          eq(interactions.tenant_id, ctx.tenant.id),
          inArray(interactions.id, sql`(select value from json_each(${ids}))`),
        ),
      )
    return { ...step, change: { statements: [gone, ...lastOf(ctx, rows)] } }
  },
})

const stepOf = (state: State): Step<State> => ({ state, progress: 0, result: state, done: false })

/** Has all of it deleted by a job. 422 unless one of both is named. */
export function eraseInteractions(ctx: Context, input: EraseInteractions): Promise<Job> {
  if ((input.user_id === undefined) === (input.speaker_id === undefined))
    throw problem.invalid({ user_id: 'must be given, or speaker_id, and not both' })
  const until = newId(ctx.now)
  return startJob(ctx, erasing, { ...input, until }, stepOf({ deleted: 0 }), (id) => ({
    ...{ action: 'interactions.erase', resource: 'job', resource_id: id },
    after: { of: input.user_id === undefined ? 'speaker' : 'user', until: iso(ctx.now) },
  }))
}
