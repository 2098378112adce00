import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { Job } from '../../jobs/schema'
import { allow } from '../../tenancy/authorize'
import { exportChat, FILES } from './export'
import { ExportedChat, exportQuery, ImportFile, importQuery } from './schema'
import { importChats } from './service'

const tag = 'Chats'

/** The largest file to import: an isolate has 128 MB for reading it, and all else. */
const MOST_BYTES = 16 * 1024 * 1024

export const transferRoutes = new Hono<AppEnv>()
  .post(
    '/import',
    doc('Import chats', {
      tag,
      description:
        'Of a file that was exported here, by ChatGPT or by Open WebUI, with all branches: all of its chats, or none where one is wrong. Up to ten are there when this is answered (201); more are taken in by a job (202), whose `result` counts them. What others thought of answers is not imported; files are attached where they are yours, else there is their name.',
      idempotency: 'claimed',
      counts: 'upload',
      errors: ['user_required'],
      also: [{ status: 202, schema: Job, description: 'The chats are being taken in' }],
    }),
    allow('chats:write'),
    query(importQuery),
    body(ImportFile, { limit: MOST_BYTES }),
    returns(201, Job, {
      statusOf: ({ status }) => (status === 'completed' ? 201 : 202),
      location: ({ id, result }) => {
        const [first, ...others] = (result?.chat_ids ?? []) as string[]
        return first && others.length === 0 ? `/api/v1/chats/${first}` : `/api/v1/jobs/${id}`
      },
      description: 'The chats are there; `result` has their ids',
    }),
    async (c) =>
      c.var.reply(await importChats(c.var.ctx, c.req.valid('json'), c.req.valid('query').agent_id)),
  )
  .get(
    '/:id/export',
    doc('Download a chat', {
      tag,
      description:
        'As JSON with every branch, which can be imported again; or as Markdown, what is shown alone. Streamed, however long it is.',
      also: [
        { status: 200, schema: null, contentType: 'text/markdown', description: 'The chat as Markdown' },
      ],
    }),
    allow('chats:read'),
    params({ id: Id }),
    query(exportQuery),
    returns(200, ExportedChat, { bare: true, description: 'The chat as JSON' }),
    async (c) => {
      const { format } = c.req.valid('query')
      const { body, bytes, name } = await exportChat(c.var.ctx, c.req.valid('param').id, format)
      c.set('responseBytes', bytes)
      return c.body(body, 200, {
        'Content-Type': FILES[format].contentType,
        'Content-Disposition': `attachment; filename="${name}"`,
        'Cache-Control': 'no-store',
      })
    },
  )
