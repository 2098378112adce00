import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, Id, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { presignFiles } from '../../files/presign'
import { Presign, Presigned } from '../../files/schema'
import { admitUploads } from '../../metering/limits/uploads'
import { allow } from '../../tenancy/authorize'
import { previewVoice } from './preview'
import { SAMPLE_PURPOSE } from './samples'
import { CreateVoice, ListVoices, UpdateVoice, Voice } from './schema'
import { createVoice, deleteVoice, getVoice, listVoices, updateVoice } from './service'

const tag = 'Voices'
const id = params({ id: Id })

export const voiceRoutes = new Hono<AppEnv>()
  .post(
    '/files/presign',
    doc('Say which samples will come, and learn where to send them', {
      tag,
      counts: 'upload',
      description: 'As `POST /api/v1/files/presign`, for the purpose `voice_sample`.',
      errors: ['storage_limit_reached'],
    }),
    allow('voices:write', 'files:write'),
    body(Presign),
    returns(201, Presigned, { location: () => '/api/v1/files' }),
    async (c) => {
      const input = c.req.valid('json')
      await admitUploads(c, 'files', input.files?.length ?? 1)
      return c.var.reply(await presignFiles(c.var.ctx, input, SAMPLE_PURPOSE))
    },
  )
  .post(
    '/',
    doc('Make a voice', {
      tag,
      description:
        'A clone is made from samples by your speech provider, as a job (`job_id`): it is `queued` until it is `ready`, or has `failed`. An external voice is one that a provider has; it is looked for there.',
      idempotency: 'claimed',
      errors: ['conflict', 'provider_not_configured', 'provider_failed', 'provider_refused'],
    }),
    allow('voices:write', 'files:read'),
    body(CreateVoice, {
      example: { name: 'Front desk', kind: 'external', provider: 'simulated', provider_voice_id: 'ava' },
    }),
    returns(201, Voice),
    async (c) => c.var.reply(await createVoice(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/',
    doc('List voices, newest first', { tag }),
    allow('voices:read'),
    query(ListVoices),
    returnsPage(Voice),
    async (c) => c.var.reply(await listVoices(c.var.ctx, c.req.valid('query'))),
  )
  .get('/:id', doc('Read a voice', { tag }), allow('voices:read'), id, returns(200, Voice), async (c) =>
    c.var.reply(await getVoice(c.var.ctx, c.req.valid('param').id)),
  )
  .patch(
    '/:id',
    doc('Change a voice', { tag, description: 'What it is called here, and what it speaks.' }),
    allow('voices:write'),
    id,
    body(UpdateVoice),
    returns(200, Voice),
    async (c) => c.var.reply(await updateVoice(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id',
    doc('Delete a voice', {
      tag,
      description:
        'A clone is deleted at its provider too, which is asked again while it is away. Agents that had it go on without.',
    }),
    allow('voices:write'),
    id,
    returnsNothing(),
    async (c) => c.var.reply(await deleteVoice(c.var.ctx, c.req.valid('param').id)),
  )
  .get(
    '/:id/preview',
    doc('Hear a voice', {
      tag,
      description: 'A sentence in its language, made once and kept.',
      returns: { status: 200, schema: null, contentType: 'audio/*', description: 'The sound' },
      errors: ['conflict', 'provider_not_configured', 'provider_failed', 'provider_refused'],
    }),
    allow('voices:read'),
    id,
    async (c) => {
      const { bytes, type, etag } = await previewVoice(c.var.ctx, c.req.valid('param').id)
      const headers = { ETag: `"${etag}"`, 'Cache-Control': 'private, no-cache', 'Content-Type': type }
      const known = c.req.header('If-None-Match')?.split(',')
      if (known?.some((one) => one.trim() === '*' || one.trim().replace(/^W\//, '') === `"${etag}"`))
        return c.body(null, 304, headers)
      c.set('responseBytes', bytes.byteLength)
      return c.body(bytes, 200, { ...headers, 'Content-Length': `${bytes.byteLength}` })
    },
  )
