import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../data/context'
import type { Found, SearchKnowledge } from './schema'
import { getKnowledgeBase } from './service'
import { KNOWLEDGE_WORDS, knowledgeChunks, knowledgeDocuments } from './table'
import { chunksIn, wordsAsked } from './words'

const WORDS = sql.identifier(KNOWLEDGE_WORDS)

/** What fits a question best, by BM25 over all chunks of the base. 404. */
export async function searchKnowledge(
  ctx: Context,
  baseId: string,
  input: SearchKnowledge,
): Promise<{ results: Found[] }> {
  await getKnowledgeBase(ctx, baseId)
  return { results: await searchBases(ctx, [baseId], input) }
}

/** The same over several bases, without a look at them: of one that is gone nothing is found. */
export async function searchBases(
  ctx: Context,
  baseIds: readonly string[],
  { query, limit }: SearchKnowledge,
): Promise<(Found & { knowledge_base_id: string })[]> {
  const asked = wordsAsked(ctx.tenant.id, query)
  if (asked === null || baseIds.length === 0) return []
  const bases = chunksIn(ctx.tenant.id, baseIds)
  // The rarer a word the more it counts, so that one that stands for a small base must not be among those that count.
  const several = baseIds.length > 1
  const inThem = sql`+${knowledgeChunks.seq} in (select rowid from ${WORDS} where ${WORDS} match ${bases})`
  const question = several ? asked : `(${bases}) AND (${asked})`
  const rows = await ctx.db
    .select({
      knowledge_base_id: knowledgeDocuments.knowledge_base_id,
      document_id: knowledgeChunks.document_id,
      filename: knowledgeDocuments.filename,
      position: knowledgeChunks.position,
      heading: knowledgeChunks.heading,
      text: knowledgeChunks.text,
      rank: sql<number>`${WORDS}.rank`.as('rank'),
    })
    .from(sql`${WORDS}`)
    .crossJoin(knowledgeChunks)
    .innerJoin(
      knowledgeDocuments,
      and(
        eq(knowledgeDocuments.tenant_id, ctx.tenant.id),
        eq(knowledgeDocuments.id, knowledgeChunks.document_id),
        eq(knowledgeDocuments.status, 'ready'),
      ),
    )
    .where(
      and(
        sql`${WORDS} match ${question}`,
        sql`${knowledgeChunks.seq} = ${WORDS}.rowid`,
        eq(knowledgeChunks.tenant_id, ctx.tenant.id),
        several ? inThem : undefined,
      ),
    )
    .orderBy(sql`${WORDS}.rank`)
    .limit(limit)
  // FTS5 ranks by negative numbers, the best first.
  return rows.map(({ rank, ...row }) => ({ ...row, score: Math.round(-rank * 1e6) / 1e6 }))
}
