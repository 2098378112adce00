import { sql } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { embeddingsOf } from '../../lib/embeddings'
import { describeError, log } from '../../lib/log'
import type { Found, SearchKnowledge } from './schema'
import { boundIn, chunkNamed, MOST_MATCHES } from './vectors'

/** A chunk that fits, and of which base it is. */
export type FoundIn = Found & { knowledge_base_id: string }

/** Who asks is not to wait for models: what the words find is an answer too. */
const PATIENCE_MS = 2_000
/** Matches for each that is wanted: some may be of what is gone. */
const SPARE = 2

/**
 * What of these bases means the like of a question, the nearest first. Null where no index is bound, and where model or
 * index fail or take too long.
 */
export async function nearestIn(
  ctx: Context,
  baseIds: readonly string[],
  { query, limit }: SearchKnowledge,
): Promise<FoundIn[] | null> {
  const bound = boundIn(ctx.env)
  if (!bound) return null
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`took over ${PATIENCE_MS} ms`)), PATIENCE_MS)
  try {
    return await Promise.race([late, asked()])
  } catch (error) {
    log.warn('meaning_not_searched', { tenant_id: ctx.tenant.id, cause: describeError(error) })
    return null
  } finally {
    clearTimeout(timer)
  }

  async function asked(): Promise<FoundIn[]> {
    if (!bound) return []
    const [vector = []] = await embeddingsOf(bound.ai, ctx.settings, [query])
    const topK = Math.min(MOST_MATCHES, limit * SPARE)
    const each = await Promise.all(baseIds.map((namespace) => bound.index.query(vector, { topK, namespace })))
    const matches = each.flatMap(({ matches }) => matches).toSorted((one, other) => other.score - one.score)
    return chunksOf(ctx, baseIds, matches, limit)
  }
}

type Match = { id: string; score: number }

/** The chunks of vectors, so far as they are the tenant's, of these bases, and of documents as they are now. */
async function chunksOf(
  ctx: Context,
  baseIds: readonly string[],
  matches: readonly Match[],
  limit: number,
): Promise<FoundIn[]> {
  const named = matches.flatMap(({ id, score }) => {
    const chunk = chunkNamed(id)
    return chunk ? [{ ...chunk, score }] : []
  })
  if (named.length === 0) return []
  const keys = JSON.stringify(
    named.map(({ document_id, version, position }) => [document_id, version, position]),
  )
  const rows = await ctx.db.all<Omit<FoundIn, 'score'> & { nth: number }>(sql`
    select m.key as nth, d.knowledge_base_id as knowledge_base_id, d.id as document_id, d.filename as filename,
      c.position as position, c.heading as heading, c.text as text
    from json_each(${keys}) as m
      cross join knowledge_documents as d
      cross join knowledge_chunks as c
    where d.tenant_id = ${ctx.tenant.id} and d.id = json_extract(m.value, '$[0]') and d.status = 'ready'
      and d.version = json_extract(m.value, '$[1]') + 1
      and d.knowledge_base_id in (select value from json_each(${JSON.stringify(baseIds)}))
      and c.tenant_id = ${ctx.tenant.id} and c.document_id = d.id and c.position = json_extract(m.value, '$[2]')`)
  return rows
    .toSorted((one, other) => one.nth - other.nth)
    .slice(0, limit)
    .map(({ nth, ...row }) => ({ ...row, score: named[nth]?.score ?? 0 }))
}
