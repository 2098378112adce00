import { Hono } from 'hono'
import type { AppEnv } from '../../http/app-env'
import { body, doc, Id, params, query, returns, returnsNothing, returnsPage } from '../../http/route'
import { admitUploads } from '../metering/limits/uploads'
import { allow } from '../tenancy/authorize'
import { fileAnswer, fileNote } from './answers'
import { presignAgain, presignFiles } from './presign'
import { Complete, File, listFilters, Presign, Presigned, SignedUrl, SignUrl, Upload } from './schema'
import { completeFile, deleteFile, getFile, getReadyFile, listFiles, signFileUrl, stillMine } from './service'

const tag = 'Files'
const id = params({ id: Id })

export const fileRoutes = new Hono<AppEnv>()
  .post(
    '/presign',
    doc('Say which files will come, and learn where to send them', {
      tag,
      counts: 'upload',
      description:
        'Each file’s size is reserved of the tenant’s storage. Send the bytes with PUT to `url` with these headers within 15 minutes, then `complete`. Over 100 MiB each part has its own URL; make new ones with POST /{id}/presign as it goes on, for up to 6 hours. Each file is an upload of the minute.',
      errors: ['storage_limit_reached'],
    }),
    allow('files:write'),
    body(Presign),
    returns(201, Presigned, {
      location: ({ file_id }) => `/api/v1/files${file_id === undefined ? '' : `/${file_id}`}`,
    }),
    async (c) => {
      const input = c.req.valid('json')
      await admitUploads(c, 'files', input.files?.length ?? 1)
      return c.var.reply(await presignFiles(c.var.ctx, input))
    },
  )
  .get(
    '/',
    doc('List files, newest first', { tag }),
    allow('files:read'),
    query(listFilters),
    returnsPage(File),
    async (c) => c.var.reply(await listFiles(c.var.ctx, c.req.valid('query'))),
  )
  .get('/:id', doc('Read what a file is', { tag }), allow('files:read'), id, returns(200, File), async (c) =>
    c.var.reply(await getFile(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/:id/content',
    doc('Read a file', {
      tag,
      description:
        'Ranges and `If-None-Match` as in RFC 9110. Pictures and sounds are shown, all else is saved.',
      ...fileNote,
      errors: ['upload_incomplete', 'range_not_satisfiable'],
    }),
    allow('files:read'),
    id,
    async (c) => fileAnswer(c, c.var.ctx, await getReadyFile(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/presign',
    doc('Learn anew where to send what did not come yet', {
      tag,
      description: 'New URLs for the same upload, good for 15 minutes.',
      again: stillMine,
      errors: ['conflict', 'upload_incomplete'],
      secret: true,
    }),
    allow('files:write'),
    id,
    returns(200, Upload),
    async (c) => c.var.reply(await presignAgain(c.var.ctx, c.req.valid('param').id)),
  )
  .post(
    '/:id/complete',
    doc('Say that a file’s bytes have come', {
      tag,
      description: 'Its size and type are looked at; from then on it can be read, and nothing changes it.',
      again: stillMine,
      errors: ['upload_incomplete'],
    }),
    allow('files:write'),
    id,
    body(Complete, { optional: true }),
    returns(200, File),
    async (c) => c.var.reply(await completeFile(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .post(
    '/:id/url',
    doc('Make a URL that shows a file to whoever has it', {
      tag,
      again: stillMine,
      errors: ['upload_incomplete'],
      secret: true,
    }),
    allow('files:read'),
    id,
    body(SignUrl, { optional: true }),
    returns(200, SignedUrl),
    async (c) => c.var.reply(await signFileUrl(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete a file', { tag, again: stillMine }),
    allow('files:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteFile(c.var.ctx, c.req.valid('param').id)),
  )
