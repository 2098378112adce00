import { sql } from 'drizzle-orm'
import { sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { commit } from '../../data/commit'
import type { Context } from '../../data/context'
import { insertRows } from '../../data/insert-rows'
import { find } from '../../data/revise'
import { iso, newId } from '../../lib/ids'
import { Problem, problem } from '../../lib/problem'
import { getReadyFile } from '../files/service'
import type { FileRow } from '../files/table'
import { jobKind, type Step } from '../jobs/kinds'
import type { Job } from '../jobs/schema'
import { jobStarted } from '../jobs/service'
import type { Chunk } from './chunks'
import { documentsOf, leftOut, marked, type Named, queued, RACED } from './documents'
import { firstOf, forget } from './ends'
import { Unreadable } from './extract/csv'
import { kindOf } from './extract/extract'
import { forgotten, vectorsForgotten } from './forget'
import { chunksIn, roomFor } from './reading'
import type { IngestFiles } from './schema'
import { getKnowledgeBase, withoutChunks } from './service'
import { KNOWLEDGE_TEXTS, type KnowledgeDocumentRow, knowledgeChunks, knowledgeDocuments } from './table'
import { CHUNKS_OF_STEP, indexChunks } from './vectors'
import { wordsOfChunk } from './words'

/** The largest file that is read: its text and its chunks must fit an isolate along with all else. */
const MOST_BYTES = 20 * 1024 * 1024
/** Steps of a document that fail in a row before the job goes on without it; the job itself fails after one more. */
const MOST_FAILURES = 7
/** Requests that take the same file in at the same time. */
const MOST_RACES = 5

type Input = { knowledge_base_id: string; documents: Named[] }
/** `begun`: how often the document that is due was begun (ends.ts). */
type State = { at: number; position: number; ready: number; failed: number; chunks: number; begun?: number }

const texts = sqliteTable(KNOWLEDGE_TEXTS, {
  tenant_id: text().notNull(),
  id: text().notNull(),
  words: text().notNull(),
})

const ingesting = jobKind<Input, State>({
  name: 'knowledge.ingest',
  scope: 'kb:write',
  cancelled: async (ctx, { documents }) => ({ statements: documents.map((one) => leftOut(ctx, one)) }),
  step: (ctx, { id, input, state, failures }) => stepOf(ctx, input, state, { id, failures }),
})

/** Begins to take files in, each as a document; one whose file is there already is taken in anew. 404, 422 `file_ids.N`. */
export async function ingestFiles(
  ctx: Context,
  baseId: string,
  { file_ids }: IngestFiles,
): Promise<Job & { version: number }> {
  await getKnowledgeBase(ctx, baseId)
  const files = await Promise.all(file_ids.map((id, i) => readable(ctx, id, `file_ids.${i}`)))
  for (let races = 1; ; races++) {
    try {
      return await begun(ctx, baseId, files)
    } catch (error) {
      if (error !== RACED || races === MOST_RACES) throw error
    }
  }
}

async function begun(ctx: Context, baseId: string, files: FileRow[]): Promise<Job & { version: number }> {
  const file_ids = files.map(({ id }) => id)
  const known = await documentsOf(ctx, baseId, file_ids)
  const now = iso(ctx.now)
  const rows = files.map(
    (file): KnowledgeDocumentRow => ({
      ...{
        tenant_id: ctx.tenant.id,
        id: known.get(file.id)?.id ?? newId(ctx.now),
        knowledge_base_id: baseId,
      },
      ...{ file_id: file.id, filename: file.filename, content_type: file.content_type, size: file.size },
      ...{ status: 'queued', error: null, chunks: 0, version: (known.get(file.id)?.version ?? 0) + 1 },
      ...{ created_at: now, updated_at: now },
    }),
  )
  const documents = rows.map(({ id, file_id, size, version }, i) => {
    return { document_id: id, file_id, size, etag: files[i]?.etag ?? null, version }
  })
  const first: Step<State> = {
    state: { at: 0, position: 0, ready: 0, failed: 0, chunks: 0 },
    ...{ progress: 0, result: { ready: 0, failed: 0, chunks: 0 }, done: false },
    change: { statements: queued(ctx, baseId, rows) },
  }
  const input = { knowledge_base_id: baseId, documents }
  const old = await vectorsForgotten(ctx, { documents: [...known.values()].map(({ id }) => id) })
  const { job, statements, events, after } = jobStarted(ctx, ingesting, input, first)
  await commit(ctx, {
    ...{ statements: [...statements, ...old.statements], events: [...events, ...old.events], result: job },
    unique: { 'knowledge_documents.knowledge_base_id': RACED },
    audit: {
      ...{ action: 'knowledge.ingest', resource: 'knowledge_base', resource_id: baseId },
      after: { job_id: job.id, file_ids },
    },
  })
  ctx.defer(Promise.all([after(), old.after()]))
  return job
}

async function readable(ctx: Context, id: string, field: string): Promise<FileRow> {
  const file = await getReadyFile(ctx, id).catch((error: unknown) => {
    if (error instanceof Problem)
      throw problem.invalid({ [field]: `must be a complete file: ${error.message}` })
    throw error
  })
  if (kindOf(file.content_type, file.filename) === null)
    throw problem.invalid({ [field]: 'must be text, Markdown, HTML, CSV or PDF' })
  if (file.size > MOST_BYTES) throw problem.invalid({ [field]: 'must have at most 20 MiB' })
  return file
}

/** Some chunks of the document that is due; the first finds out whether it can be read at all. */
async function stepOf(
  ctx: Context,
  input: Input,
  state: State,
  { id, failures }: { id: string; failures: number },
): Promise<Step<State>> {
  const due = input.documents[state.at]
  const document = due && (await find(ctx, knowledgeDocuments, due.document_id))
  if (!due) return next(input, { ...state, at: state.at + 1, position: 0, begun: 0 })
  const { version = document?.version } = due
  // Deleted meanwhile, or another job takes it in anew.
  if (!document || version !== document.version) {
    const end = state.position + CHUNKS_OF_STEP
    const edition = { document_id: due.document_id, version: version ?? 1, end }
    return following(input, { ...state, at: state.at + 1, position: 0, begun: 0 }, forgotten(ctx, [edition]))
  }
  const begun = state.begun ?? 0
  const name = `${id}/${state.at}`
  const first = state.position === 0 ? firstOf(name, begun, document) : 'nothing'
  if (first === 'note') return next(input, { ...state, begun: begun + 1 })
  try {
    if (first === 'give up') throw new Unreadable('takes more memory to read than there is')
    const chunks = await chunksIn(ctx, due, document)
    await roomFor(ctx, document, chunks.length)
    forget(name, begun)
    const some = { from: state.position, chunks: stepFrom(state, chunks) }
    await indexChunks(ctx, document.knowledge_base_id, editionOf(document), some)
    return taken(ctx, input, { ...state, begun: 0 }, document, chunks)
  } catch (error) {
    const why = error instanceof Unreadable ? error.message : goneWords(error)
    if (why === null && failures < MOST_FAILURES) throw error
    forget(name, begun)
    const failed = { ...state, at: state.at + 1, position: 0, begun: 0, failed: state.failed + 1 }
    const old = forgotten(ctx, [{ ...editionOf(document), end: state.position + CHUNKS_OF_STEP }])
    return following(input, failed, old, [
      withoutChunks(ctx, document.id),
      marked(ctx, document, { status: 'failed', error: why ?? GIVEN_UP, chunks: 0 }),
    ])
  }
}

const stepFrom = ({ position }: State, chunks: readonly Chunk[]) =>
  chunks.slice(position, position + CHUNKS_OF_STEP)

const editionOf = ({ id, version }: KnowledgeDocumentRow) => ({ document_id: id, version })

const GIVEN_UP = 'could not be read, several times in a row; take it in again later'

const goneWords = (error: unknown): string | null =>
  error instanceof Problem && error.code === 'not_found' ? 'was deleted before it could be read' : null

function taken(
  ctx: Context,
  input: Input,
  state: State,
  { id, knowledge_base_id, version }: KnowledgeDocumentRow,
  chunks: Chunk[],
): Step<State> {
  const some = stepFrom(state, chunks)
  const end = state.position + some.length
  const done = end >= chunks.length
  const { tenant } = ctx
  const rows = some.map(({ heading, text }, i) => {
    return { tenant_id: tenant.id, document_id: id, position: state.position + i, heading, text }
  })
  const words = some.map((chunk, i) => {
    const of = `${id}/${state.position + i}`
    return { tenant_id: tenant.id, id: of, words: wordsOfChunk(knowledge_base_id, chunk) }
  })
  const there = {
    holds: sql`exists (select 1 from knowledge_documents
      where tenant_id = ${tenant.id} and id = ${id} and version = ${version})`,
    // Tried again, and then it is seen that it is so.
    otherwise: problem('service_unavailable', 'The document was deleted or taken in anew meanwhile'),
  }
  const after = done
    ? {
        ...state,
        at: state.at + 1,
        position: 0,
        ready: state.ready + 1,
        chunks: state.chunks + chunks.length,
      }
    : { ...state, position: end }
  return next(input, after, [
    there,
    ...insertRows(ctx, knowledgeChunks, rows),
    ...insertRows(ctx, texts, words),
    ...(done ? [marked(ctx, { id, version }, { status: 'ready', error: null, chunks: chunks.length })] : []),
  ])
}

type Statements = NonNullable<NonNullable<Step<State>['change']>['statements']>

/** The same, after which the vectors of what was given up are forgotten. */
const following = (
  input: Input,
  state: State,
  { statements: more, after }: ReturnType<typeof forgotten>,
  statements: Statements = [],
): Step<State> => ({ ...next(input, state, [...statements, ...more]), after })

function next({ documents }: Input, state: State, statements: Statements = []): Step<State> {
  const { ready, failed, chunks } = state
  return {
    state,
    progress: (100 * state.at) / documents.length,
    result: { ready, failed, chunks },
    done: state.at >= documents.length,
    change: { statements },
  }
}
