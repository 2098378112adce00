import { and, eq, inArray, sql } from 'drizzle-orm'
import type { Change } from '../../data/commit'
import type { Context } from '../../data/context'
import { insertRows } from '../../data/insert-rows'
import { iso } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { withoutChunks } from './service'
import { type KnowledgeDocumentRow, knowledgeDocuments } from './table'

// How documents stand. What takes one in goes by its version: another one is being taken in anew, by another job.

/** A document as a job takes it in; one that began before there were versions has none. */
export type Named = {
  document_id: string
  file_id: string
  etag: string | null
  size: number
  version?: number
}
export const RACED = problem(
  'conflict',
  'A file is being taken in by another request just now; send it again',
)

type Known = Pick<KnowledgeDocumentRow, 'id' | 'file_id' | 'version'>

/** Those of a base that these files are, by their files. */
export async function documentsOf(
  ctx: Context,
  baseId: string,
  files: string[],
): Promise<Map<string, Known>> {
  const { id, file_id, version } = knowledgeDocuments
  const rows = await ctx.db
    .select({ id, file_id, version })
    .from(knowledgeDocuments)
    .where(
      and(
        eq(knowledgeDocuments.tenant_id, ctx.tenant.id),
        eq(knowledgeDocuments.knowledge_base_id, baseId),
        inArray(knowledgeDocuments.file_id, sql`(select value from json_each(${JSON.stringify(files)}))`),
      ),
    )
  return new Map(rows.map((row) => [row.file_id, row]))
}

/** What puts documents in line: new ones, and those that are there without what was taken in of them. */
export function queued(
  ctx: Context,
  baseId: string,
  rows: KnowledgeDocumentRow[],
): Change<unknown>['statements'] {
  const isThere = sql`exists (select 1 from knowledge_bases where tenant_id = ${ctx.tenant.id} and id = ${baseId})`
  const again = rows.filter(({ version }) => version > 1)
  return [
    { holds: isThere, otherwise: problem.notFound('knowledge_base', baseId) },
    ...again.map(({ id, version }) => ({
      statement: marked(ctx, { id, version: version - 1 }, { status: 'queued', error: null, chunks: 0 }),
      otherwise: RACED,
    })),
    ...again.map(({ id }) => withoutChunks(ctx, id)),
    ...insertRows(
      ctx,
      knowledgeDocuments,
      rows.filter(({ version }) => version === 1),
    ),
  ]
}

const ofVersion = (ctx: Context, id: string, version: number) =>
  and(
    eq(knowledgeDocuments.tenant_id, ctx.tenant.id),
    eq(knowledgeDocuments.id, id),
    eq(knowledgeDocuments.version, version),
  )

/** How a document of that version stands from now on. Not async: it belongs into a batch. */
export const marked = (
  ctx: Context,
  { id, version }: Pick<KnowledgeDocumentRow, 'id' | 'version'>,
  set: Partial<KnowledgeDocumentRow>,
) =>
  ctx.db
    .update(knowledgeDocuments)
    .set({ ...set, updated_at: iso(ctx.now), version: version + 1 })
    .where(ofVersion(ctx, id, version))

/** A document that a cancelled job did not come to; its version stays, so that a retry goes on with it. */
export const leftOut = (ctx: Context, { document_id, version = 1 }: Named) =>
  ctx.db
    .update(knowledgeDocuments)
    .set({ status: 'failed', error: 'was not taken in: its job was cancelled', updated_at: iso(ctx.now) })
    .where(and(ofVersion(ctx, document_id, version), eq(knowledgeDocuments.status, 'queued')))
