import type { Context } from '../../data/context'
import { find } from '../../data/revise'
import { readSpanOf } from '../files/content'
import { type Chunk, chunksOf } from './chunks'
import type { Named } from './documents'
import { Unreadable } from './extract/csv'
import { blocksOf, kindOf } from './extract/extract'
import { type KnowledgeDocumentRow, knowledgeBases } from './table'

/** Chunks of one knowledge base: deleting it is one batch. */
const MOST_CHUNKS = 50_000

/** What a document is cut into, of its file’s bytes as they were when it was asked for. Throws `Unreadable`. */
export async function chunksIn(ctx: Context, due: Named, document: KnowledgeDocumentRow): Promise<Chunk[]> {
  const kind = kindOf(document.content_type, document.filename)
  if (kind === null) throw new Unreadable('is of no type that can be read')
  const place = { tenant_id: ctx.tenant.id, id: due.file_id, etag: due.etag }
  const bytes = await readSpanOf(ctx, place, { offset: 0, length: due.size })
  const chunks = chunksOf(await blocksOf(kind, new Uint8Array(bytes)))
  if (chunks.length === 0) throw new Unreadable('has no text in it')
  return chunks
}

/** Sees that its base has room for so many chunks more. Throws `Unreadable`. */
export async function roomFor(
  ctx: Context,
  { knowledge_base_id }: KnowledgeDocumentRow,
  more: number,
): Promise<void> {
  const base = await find(ctx, knowledgeBases, knowledge_base_id)
  if ((base?.chunks ?? 0) + more > MOST_CHUNKS)
    throw new Unreadable(`would be ${more} chunks, and a knowledge base has at most ${MOST_CHUNKS}`)
}
