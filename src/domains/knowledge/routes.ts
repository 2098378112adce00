import { Hono } from 'hono'
import type { AppEnv } from '../../http/app-env'
import { body, doc, Id, params, query, returns, returnsNothing, returnsPage } from '../../http/route'
import { presignFiles } from '../files/presign'
import { Presign, Presigned } from '../files/schema'
import { Job } from '../jobs/schema'
import { admitUploads } from '../metering/limits/uploads'
import { allow } from '../tenancy/authorize'
import { ingestFiles } from './ingest'
import {
  CreateKnowledgeBase,
  IngestFiles,
  KnowledgeBase,
  KnowledgeDocument,
  ListDocuments,
  ListKnowledgeBases,
  Results,
  SearchKnowledge,
  UpdateKnowledgeBase,
} from './schema'
import { searchKnowledge } from './search'
import {
  createKnowledgeBase,
  deleteDocument,
  deleteKnowledgeBase,
  getKnowledgeBase,
  listDocuments,
  listKnowledgeBases,
  updateKnowledgeBase,
} from './service'

const tag = 'Knowledge bases'
const id = params({ id: Id })

export const knowledgeRoutes = new Hono<AppEnv>()
  .post(
    '/',
    doc('Create a knowledge base', { tag }),
    allow('kb:write'),
    body(CreateKnowledgeBase),
    returns(201, KnowledgeBase),
    async (c) => c.var.reply(await createKnowledgeBase(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List knowledge bases, newest first', { tag }),
    allow('kb:read'),
    query(ListKnowledgeBases),
    returnsPage(KnowledgeBase),
    async (c) => c.var.reply(await listKnowledgeBases(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id',
    doc('Read a knowledge base', { tag }),
    allow('kb:read'),
    id,
    returns(200, KnowledgeBase),
    async (c) => c.var.reply(await getKnowledgeBase(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change a knowledge base', { tag }),
    allow('kb:write'),
    id,
    body(UpdateKnowledgeBase),
    returns(200, KnowledgeBase),
    async (c) =>
      c.var.reply(await updateKnowledgeBase(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete a knowledge base', { tag, description: 'With all that was taken in; the files stay.' }),
    allow('kb:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteKnowledgeBase(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/files/presign',
    doc('Say which files will come, and learn where to send them', {
      tag,
      counts: 'upload',
      description: 'As `POST /api/v1/files/presign`, for the purpose `knowledge`.',
      errors: ['storage_limit_reached'],
    }),
    allow('kb:write', 'files:write'),
    id,
    body(Presign),
    returns(201, Presigned, { location: () => '/api/v1/files' }),
    async (c) => {
      const input = c.req.valid('json')
      await getKnowledgeBase(c.var.ctx, c.req.valid('param').id)
      await admitUploads(c, 'files', input.files?.length ?? 1)
      return c.var.reply(await presignFiles(c.var.ctx, input, 'knowledge'))
    },
  )
  .post(
    '/:id/files/ingest',
    doc('Take files in', {
      tag,
      description:
        'Complete files of yours, as text, Markdown, HTML, CSV or PDF of up to 20 MiB, as a job: each becomes a document that is found once it is `ready`. One whose file is there already is taken in anew. A file that can’t be read fails alone, and says why.',
    }),
    allow('kb:write', 'files:read'),
    id,
    body(IngestFiles),
    returns(202, Job, { location: (job) => `/api/v1/jobs/${job.id}` }),
    async (c) => c.var.reply(await ingestFiles(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .get(
    '/:id/documents',
    doc('List what was taken in, newest first', { tag }),
    allow('kb:read'),
    id,
    query(ListDocuments),
    returnsPage(KnowledgeDocument),
    async (c) => c.var.reply(await listDocuments(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .delete(
    '/:id/documents/:document_id',
    doc('Delete a document', { tag, description: 'It is found no more; its file stays.' }),
    allow('kb:write'),
    params({ id: Id, document_id: Id }),
    returnsNothing(),
    async (c) => {
      const { id, document_id } = c.req.valid('param')
      return c.var.reply(await deleteDocument(c.var.ctx, id, document_id))
    },
  )
  .post(
    '/:id/search',
    doc('Find what fits a question', { tag, idempotency: 'claimed' }),
    allow('kb:read'),
    id,
    body(SearchKnowledge),
    returns(200, Results),
    async (c) => c.var.reply(await searchKnowledge(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
