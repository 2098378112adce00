import { Hono } from 'hono'
import * as z from 'zod'
import type { AppEnv } from '../../http/app-env'
import { type Note, onlyNoted } from '../../http/notes'
import { doc, Id, open, params, query } from '../../http/route'
import { onceDigested } from '../metering/idempotency/digested'
import { fileAnswer, fileNote, opened } from './answers'
import { signedQuery } from './schema'
import { takeUpload } from './upload'

const tag = 'Files'
const signedPath = params({ file_id: Id })
const errors = [
  ...(['invalid_signature', 'signature_expired', 'not_found'] as const),
  ...(['tenant_mismatch', 'tenant_suspended', 'tenant_cancelled'] as const),
]
const note: Note = { tag, counts: 'source', idempotency: 'ignored' }

/** Where the signed URLs lead, which need no credential. */
export const signedFileRoutes = new Hono<AppEnv>()
  .get(
    '/signed/:file_id',
    doc('Read a file by its signed URL', {
      ...note,
      description: 'A hundred times a minute for each file.',
      ...fileNote,
      errors: [...errors, 'range_not_satisfiable'],
    }),
    open(),
    signedPath,
    query(signedQuery),
    async (c) => {
      const { ctx, row } = await opened(c, 'GET', c.req.valid('param').file_id, c.req.valid('query'))
      return fileAnswer(c, ctx, row)
    },
  )
  .put(
    '/signed/:file_id',
    doc('Send a file’s bytes', {
      ...note,
      idempotency: 'proven',
      description: 'To the URL of a presign. The answer’s `ETag` is what `complete` wants of each part.',
      errors: [...errors, 'length_required', 'conflict'],
    }),
    open(),
    signedPath,
    query(signedQuery),
    onlyNoted({
      body: { schema: z.unknown(), contentType: '*/*' },
      returns: { status: 200, schema: null, description: 'The bytes are there' },
    }),
    async (c) => {
      const asked = c.req.valid('query')
      const { ctx, row } = await opened(c, 'PUT', c.req.valid('param').file_id, asked)
      const { headers } = c.req.raw
      const said = { length: headers.get('Content-Length'), type: headers.get('Content-Type') ?? '' }
      return onceDigested(c, { ctx, principal: `file:${row.id}` }, async (body) => ({
        ETag: `"${await takeUpload(ctx, row, asked.part, { ...said, body })}"`,
      }))
    },
  )
