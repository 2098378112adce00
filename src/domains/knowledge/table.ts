import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import { confined, id, seq, tenantId, time, version, wordIndex, wordsOf } from '../../data/columns'

/** What agents are to know. Triggers on its documents keep the counts. */
export const knowledgeBases = confined(
  sqliteTable(
    'knowledge_bases',
    {
      tenant_id: tenantId(),
      id: id(),
      name: text().notNull(),
      description: text().notNull(),
      documents: integer().notNull().default(0),
      chunks: integer().notNull().default(0),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [primaryKey({ columns: [table.tenant_id, table.id] })],
  ),
)

/** A file as it was taken in. Its chunks are found once it is `ready`. */
export const knowledgeDocuments = confined(
  sqliteTable(
    'knowledge_documents',
    {
      tenant_id: tenantId(),
      id: id(),
      knowledge_base_id: text().notNull(),
      file_id: text().notNull(),
      filename: text().notNull(),
      content_type: text().notNull(),
      size: integer().notNull(),
      status: text({ enum: ['queued', 'ready', 'failed'] }).notNull(),
      /** Why it could not be taken in. */
      error: text(),
      chunks: integer().notNull().default(0),
      version: version(),
      created_at: time().notNull(),
      updated_at: time().notNull(),
    },
    (table) => [
      primaryKey({ columns: [table.tenant_id, table.id] }),
      index('knowledge_documents_by_base').on(table.tenant_id, table.knowledge_base_id, table.id),
      uniqueIndex('knowledge_documents_by_file').on(table.tenant_id, table.knowledge_base_id, table.file_id),
    ],
  ),
)

/** A piece of a document that is found by itself. */
export const knowledgeChunks = confined(
  sqliteTable(
    'knowledge_chunks',
    {
      /** The number under which its words are found. */
      seq: seq(),
      tenant_id: tenantId(),
      document_id: text().notNull(),
      /** 0, 1, 2, … of the document. */
      position: integer().notNull(),
      /** The headings that it stands under. */
      heading: text(),
      text: text().notNull(),
    },
    (table) => [
      uniqueIndex('knowledge_chunks_of_document').on(table.tenant_id, table.document_id, table.position),
    ],
  ),
)

export type KnowledgeBaseRow = typeof knowledgeBases.$inferSelect
export type KnowledgeDocumentRow = typeof knowledgeDocuments.$inferSelect

/** The words of chunks, by `seq`; each begins with the tenant's code. */
export const KNOWLEDGE_WORDS = wordIndex('knowledge_words')

/** The view through which they are written: (tenant_id, id, words), the id being `{document}/{position}`. */
export const KNOWLEDGE_TEXTS = wordsOf('knowledge_texts')
