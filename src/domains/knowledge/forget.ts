import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { jobKind, type Step } from '../jobs/kinds'
import { jobStarted, type Started } from '../jobs/service'
import { knowledgeChunks, knowledgeDocuments } from './table'
import { boundIn, CHUNKS_OF_STEP, dropVectors, type Edition, editionsOf } from './vectors'

// The vectors of documents that are deleted, or taken in anew, leave the index by a job, which asks again while that is away.

type Gone = Edition & { end: number }
type Input = { gone: Gone[] }
type State = { at: number; from: number }

const forgetting = jobKind<Input, State>({
  name: 'knowledge.forget',
  scope: 'kb:write',
  step: async (ctx, { input, state }) => {
    const due = input.gone[state.at]
    if (!due) return stepAt(input, state)
    const from = await dropVectors(ctx.env, due, { from: state.from, end: due.end })
    return stepAt(input, from < due.end ? { ...state, from } : { at: state.at + 1, from: 0 })
  },
})

const stepAt = ({ gone }: Input, state: State): Step<State> => ({
  ...{ state, progress: (100 * state.at) / gone.length, result: { documents: gone.length } },
  done: state.at >= gone.length,
})

type Part = Pick<Started, 'statements' | 'events' | 'after'>

/**
 * What has the vectors of documents forgotten, as they stand before the batch that it goes into. Nothing where no index is
 * bound.
 */
export async function vectorsForgotten(
  ctx: Context,
  which: { base: string } | { documents: readonly string[] },
): Promise<Part> {
  if (!boundIn(ctx.env)) return NOTHING
  const { id, version, knowledge_base_id } = knowledgeDocuments
  const of =
    'base' in which
      ? eq(knowledge_base_id, which.base)
      : sql`${id} in (select value from json_each(${JSON.stringify(which.documents)}))`
  const rows = await ctx.db
    .select({ id, version, chunks: written(ctx) })
    .from(knowledgeDocuments)
    .where(and(eq(knowledgeDocuments.tenant_id, ctx.tenant.id), of))
  return forgotten(
    ctx,
    rows.flatMap((row) =>
      editionsOf(row).map((edition) => ({ ...edition, end: row.chunks + CHUNKS_OF_STEP })),
    ),
  )
}

/** The same for editions that are known. Not async: it belongs into a batch. */
export function forgotten(ctx: Context, gone: Gone[]): Part {
  if (gone.length === 0 || !boundIn(ctx.env)) return NOTHING
  return jobStarted(ctx, forgetting, { gone }, stepAt({ gone }, { at: 0, from: 0 }))
}

const NOTHING: Part = { statements: [], events: [], after: async () => undefined }

/** Chunks of a document that are written, of one that is taken in just now too. */
const written = (ctx: Context) =>
  sql<number>`coalesce((select max(c.position) + 1 from ${knowledgeChunks} as c
    where c.tenant_id = ${ctx.tenant.id} and c.document_id = ${knowledgeDocuments.id}), 0)`
