import * as z from 'zod'
import { createdBetween, Id, paging } from '../../lib/wire'

/** Files that one request takes in. */
export const MOST_FILES = 50

const Name = z.string().trim().min(1, 'must not be empty').max(200, 'must have at most 200 characters')
const Description = z.string().max(2000, 'must have at most 2000 characters')

export const CreateKnowledgeBase = z.strictObject({
  name: Name.meta({ example: 'Returns and refunds' }),
  description: Description.default(''),
})
export type CreateKnowledgeBase = z.output<typeof CreateKnowledgeBase>

export const UpdateKnowledgeBase = z.strictObject({ name: Name, description: Description }).partial()
export type UpdateKnowledgeBase = z.output<typeof UpdateKnowledgeBase>

export const KnowledgeBase = z
  .object({
    id: Id,
    name: z.string(),
    description: z.string(),
    documents: z.int(),
    chunks: z.int().meta({ description: 'Pieces that are found by themselves.' }),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'KnowledgeBase' })

const DocumentStatus = z.enum(['queued', 'ready', 'failed'], 'must be queued, ready or failed')

export const KnowledgeDocument = z
  .object({
    id: Id,
    knowledge_base_id: Id,
    file_id: Id,
    filename: z.string(),
    content_type: z.string(),
    size: z.int(),
    status: DocumentStatus.meta({ description: 'It is found once it is `ready`.' }),
    error: z.string().nullable().meta({ description: 'Why it could not be taken in.' }),
    chunks: z.int(),
    created_at: z.string().meta({ format: 'date-time' }),
    updated_at: z.string().meta({ format: 'date-time' }),
  })
  .meta({ id: 'KnowledgeDocument' })

export const ListKnowledgeBases = { ...paging, ...createdBetween }
export const ListDocuments = { ...ListKnowledgeBases, status: DocumentStatus.optional() }
export type ListPage = z.output<z.ZodObject<typeof ListKnowledgeBases>>
export type ListDocuments = z.output<z.ZodObject<typeof ListDocuments>>

export const IngestFiles = z.strictObject({
  file_ids: z
    .array(Id)
    .min(1, 'must name at least one file')
    .max(MOST_FILES, `must have at most ${MOST_FILES} files`)
    .refine((ids) => new Set(ids).size === ids.length, 'must name each file once'),
})
export type IngestFiles = z.output<typeof IngestFiles>

export const SearchKnowledge = z.strictObject({
  query: z
    .string()
    .trim()
    .min(1, 'must not be empty')
    .max(2000, 'must have at most 2000 characters')
    .meta({ example: 'How long do I have to send a parcel back?' }),
  limit: z.int().min(1, 'must be from 1 to 50').max(50, 'must be from 1 to 50').default(5),
})
export type SearchKnowledge = z.output<typeof SearchKnowledge>

export const Found = z.object({
  document_id: Id,
  filename: z.string(),
  position: z.int().meta({ description: 'Which piece of the document it is, counted from 0.' }),
  heading: z.string().nullable().meta({ example: 'Returns › Time limits' }),
  text: z.string(),
  score: z.number().meta({ description: 'How well it fits; only to be compared within one answer.' }),
})
export type Found = z.output<typeof Found>

export const Results = z.object({ results: z.array(Found) }).meta({ id: 'KnowledgeResults' })
