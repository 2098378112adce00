import { and, asc, eq, gt } from 'drizzle-orm'
import type { Context } from '../../data/context'
import { tenantDatabase } from '../../data/database'
import { erasedWithTenant } from '../../data/erasure'
import type { Bindings, VectorIndex, WorkersAi } from '../../env'
import { embeddingsOf } from '../../lib/embeddings'
import type { Chunk } from './chunks'
import { knowledgeDocuments } from './table'

// Where an index of vectors is bound, chunks are found by their meaning too. The vectors of a document are named by the
// version under which it was taken in: those of another one, and of what is gone, lead to nothing.

/** Texts of one call of the model. */
const MOST_TEXTS = 50
/** Vectors of one call of the index (developers.cloudflare.com/vectorize/platform/limits: 1,000, and 100 matches). */
const MOST_VECTORS = 500
export const MOST_MATCHES = 100

type Bound = { index: VectorIndex; ai: WorkersAi }

/** The index, and the models that make its vectors; null where one is not bound. */
export const boundIn = ({ VECTORIZE_KB, AI }: Bindings): Bound | null =>
  VECTORIZE_KB && AI ? { index: VECTORIZE_KB, ai: AI } : null

/** A document as it was taken in at some time. */
export type Edition = { document_id: string; version: number }

const nameOf = ({ document_id, version }: Edition, position: number) =>
  `${document_id}/${version}/${position}`

/** Which chunk a vector is of; null for a name that is none of ours. */
export function chunkNamed(name: string): (Edition & { position: number }) | null {
  const [, document_id = '', version, position] = /^([\da-f-]{36})\/(\d+)\/(\d+)$/.exec(name) ?? []
  return document_id === '' ? null : { document_id, version: Number(version), position: Number(position) }
}

/** Puts chunks into the index, the first of them at `from`; again is the same. Nothing where none is bound. */
export async function indexChunks(
  { env, settings }: Context,
  baseId: string,
  edition: Edition,
  { from, chunks }: { from: number; chunks: readonly Chunk[] },
): Promise<void> {
  const bound = boundIn(env)
  if (!bound) return
  for (let at = 0; at < chunks.length; at += MOST_TEXTS) {
    const some = chunks.slice(at, at + MOST_TEXTS)
    const texts = some.map(({ heading, text }) => (heading === null ? text : `${heading}\n${text}`))
    const vectors = await embeddingsOf(bound.ai, settings, texts)
    await bound.index.upsert(
      vectors.map((values, i) => ({ id: nameOf(edition, from + at + i), values, namespace: baseId })),
    )
  }
}

/** Takes vectors of a document out of the index, at most `MOST_VECTORS` from `from` on; answers where to go on. */
export async function dropVectors(
  env: Bindings,
  edition: Edition,
  { from, end }: { from: number; end: number },
): Promise<number> {
  const until = Math.min(end, from + MOST_VECTORS)
  const names = Array.from({ length: until - from }, (_, i) => nameOf(edition, from + i))
  if (names.length > 0) await env.VECTORIZE_KB?.deleteByIds(names)
  return until
}

/** A document that is being taken in may have more vectors than chunks are written: those of the step under way. */
export const CHUNKS_OF_STEP = 400

/** The editions of which a document may have vectors: what is `ready`, or was given up, has a version more by then. */
export const editionsOf = ({ id, version }: { id: string; version: number }): Edition[] =>
  [version, version - 1].map((one) => ({ document_id: id, version: one })).filter((one) => one.version > 0)

// While the tenant's rows still say which there are.
erasedWithTenant({
  name: 'knowledge_vectors',
  keys: async (ctx, after, limit) => {
    if (!boundIn(ctx.env)) return []
    const rows = await ctx.db
      .select({ id: knowledgeDocuments.id })
      .from(knowledgeDocuments)
      .where(and(eq(knowledgeDocuments.tenant_id, ctx.tenant.id), gt(knowledgeDocuments.id, after)))
      .orderBy(asc(knowledgeDocuments.id))
      .limit(limit)
    return rows.map(({ id }) => id)
  },
  erase: async (env, tenantId, id) => {
    const row = await tenantDatabase(env, tenantId)
      .select({ version: knowledgeDocuments.version, chunks: knowledgeDocuments.chunks })
      .from(knowledgeDocuments)
      .where(and(eq(knowledgeDocuments.tenant_id, tenantId), eq(knowledgeDocuments.id, id)))
      .get()
    if (!row) return
    const end = row.chunks + CHUNKS_OF_STEP
    for (const edition of editionsOf({ id, version: row.version }))
      for (let from = 0; from < end; ) from = await dropVectors(env, edition, { from, end })
  },
})
