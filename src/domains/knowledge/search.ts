import { and, eq, sql } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { type FoundIn, nearestIn } from './meaning'
import type { Found, SearchKnowledge } from './schema'
import { getKnowledgeBase } from './service'
import { KNOWLEDGE_WORDS, knowledgeChunks, knowledgeDocuments } from './table'
import { chunksIn, wordsAsked } from './words'

const WORDS = sql.identifier(KNOWLEDGE_WORDS)

/** What fits a question best, among all chunks of the base. 404. */
export async function searchKnowledge(
  ctx: Context,
  baseId: string,
  input: SearchKnowledge,
): Promise<{ results: Found[] }> {
  await getKnowledgeBase(ctx, baseId)
  return { results: await searchBases(ctx, [baseId], input) }
}

/**
 * The same over several bases, without a look at them: of one that is gone nothing is found. By words, and where an index of
 * vectors is bound by what is meant, too.
 */
export async function searchBases(
  ctx: Context,
  baseIds: readonly string[],
  input: SearchKnowledge,
): Promise<FoundIn[]> {
  if (baseIds.length === 0) return []
  const [said, meant] = await Promise.all([byWords(ctx, baseIds, input), nearestIn(ctx, baseIds, input)])
  return meant === null ? said : fused([meant, said]).slice(0, input.limit)
}

/** How little it counts to stand first rather than second (Cormack, Clarke, Büttcher: “Reciprocal Rank Fusion”, 2009). */
const EVENNESS = 60

/** Several lists as one: what stands high in them, and in more of them, comes first. */
function fused(lists: readonly FoundIn[][]): FoundIn[] {
  const all = new Map<string, FoundIn>()
  for (const list of lists)
    for (const [place, found] of list.entries()) {
      const key = `${found.document_id}/${found.position}`
      const score = (all.get(key)?.score ?? 0) + 1 / (EVENNESS + place + 1)
      all.set(key, { ...found, score })
    }
  const rounded = (score: number) => Math.round(score * 1e6) / 1e6
  return [...all.values()]
    .toSorted((one, other) => other.score - one.score)
    .map((one) => ({ ...one, score: rounded(one.score) }))
}

/** By BM25 over the chunks’ words. */
async function byWords(
  ctx: Context,
  baseIds: readonly string[],
  { query, limit }: SearchKnowledge,
): Promise<FoundIn[]> {
  const asked = wordsAsked(ctx.tenant.id, query)
  if (asked === null) return []
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
