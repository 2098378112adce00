import { and, eq, inArray } from 'drizzle-orm'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { newest } from '../../data/newest'
import type { Page } from '../../data/page'
import { find, removal, revise } from '../../data/revise'
import { defined } from '../../lib/defined'
import { iso, newId } from '../../lib/ids'
import { problem } from '../../lib/problem'
import { vectorsForgotten } from './forget'
import type { CreateKnowledgeBase, ListDocuments, ListPage, UpdateKnowledgeBase } from './schema'
import {
  type KnowledgeBaseRow,
  type KnowledgeDocumentRow,
  knowledgeBases,
  knowledgeChunks,
  knowledgeDocuments,
} from './table'

export function createKnowledgeBase(ctx: Context, input: CreateKnowledgeBase): Promise<KnowledgeBaseRow> {
  const now = iso(ctx.now)
  const row: KnowledgeBaseRow = {
    ...{ tenant_id: ctx.tenant.id, id: newId(ctx.now), ...input },
    ...{ documents: 0, chunks: 0, version: 1, created_at: now, updated_at: now },
  }
  return commit(ctx, {
    statements: [ctx.db.insert(knowledgeBases).values(row)],
    audit: {
      ...{ action: 'knowledge_base.create', resource: 'knowledge_base', resource_id: row.id },
      after: { name: row.name },
    },
    result: row,
  })
}

/** The tenant's knowledge bases, newest first. */
export function listKnowledgeBases(ctx: Context, input: ListPage): Promise<Page<KnowledgeBaseRow>> {
  return newest(ctx, knowledgeBases, input)
}

export async function getKnowledgeBase(ctx: Context, id: string): Promise<KnowledgeBaseRow> {
  const row = await find(ctx, knowledgeBases, id)
  if (!row) throw problem.notFound('knowledge_base', id)
  return row
}

/** Changes what is named of a knowledge base. 404, 412. */
export function updateKnowledgeBase(
  ctx: Context,
  id: string,
  input: UpdateKnowledgeBase,
): Promise<KnowledgeBaseRow> {
  return revise(ctx, knowledgeBases, 'knowledge_base', id, (before) => {
    const set = defined(input)
    return {
      set,
      audit: {
        ...{ action: 'knowledge_base.update', resource: 'knowledge_base', resource_id: id },
        before: shown(before),
        after: shown({ ...before, ...set }),
      },
    }
  })
}

const shown = ({ name, description }: KnowledgeBaseRow) => ({ name, description })

/** Deletes a knowledge base with all that was taken in; the files stay. 404, 412. */
export async function deleteKnowledgeBase(ctx: Context, id: string): Promise<undefined> {
  const row = await getKnowledgeBase(ctx, id)
  const ofIt = and(
    eq(knowledgeDocuments.tenant_id, ctx.tenant.id),
    eq(knowledgeDocuments.knowledge_base_id, id),
  )
  const theirs = ctx.db.select({ id: knowledgeDocuments.id }).from(knowledgeDocuments).where(ofIt)
  const chunks = ctx.db
    .delete(knowledgeChunks)
    .where(and(eq(knowledgeChunks.tenant_id, ctx.tenant.id), inArray(knowledgeChunks.document_id, theirs)))
  const vectors = await vectorsForgotten(ctx, { base: id })
  await commit(ctx, {
    statements: [
      removal(ctx, knowledgeBases, 'knowledge_base', id),
      chunks,
      ctx.db.delete(knowledgeDocuments).where(ofIt),
      ...vectors.statements,
    ],
    events: vectors.events,
    audit: {
      ...{ action: 'knowledge_base.delete', resource: 'knowledge_base', resource_id: id },
      before: { name: row.name, documents: row.documents },
    },
    result: undefined,
  })
  ctx.defer(vectors.after())
}

/** What was taken in, newest first. 404. */
export async function listDocuments(
  ctx: Context,
  baseId: string,
  input: ListDocuments,
): Promise<Page<KnowledgeDocumentRow>> {
  await getKnowledgeBase(ctx, baseId)
  return newest(ctx, knowledgeDocuments, input, { knowledge_base_id: baseId }, { status: input.status })
}

/** Deletes a document, which is found no more; its file stays. 404, 412. */
export async function deleteDocument(ctx: Context, baseId: string, id: string): Promise<undefined> {
  const row = await find(ctx, knowledgeDocuments, id)
  if (row?.knowledge_base_id !== baseId) throw problem.notFound('document', id)
  const vectors = await vectorsForgotten(ctx, { documents: [id] })
  await commit(ctx, {
    statements: [
      removal(ctx, knowledgeDocuments, 'document', id),
      withoutChunks(ctx, id),
      ...vectors.statements,
    ],
    events: vectors.events,
    audit: {
      ...{ action: 'knowledge_document.delete', resource: 'knowledge_base', resource_id: baseId },
      before: { document_id: id, filename: row.filename },
    },
    result: undefined,
  })
  ctx.defer(vectors.after())
}

/** Not async: it belongs into a batch. */
export const withoutChunks = (ctx: Context, documentId: string) =>
  ctx.db
    .delete(knowledgeChunks)
    .where(and(eq(knowledgeChunks.tenant_id, ctx.tenant.id), eq(knowledgeChunks.document_id, documentId)))
