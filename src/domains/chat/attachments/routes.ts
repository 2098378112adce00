import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { doc, Id, paging, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { fileAnswer, fileNote } from '../../files/answers'
import { allow } from '../../tenancy/authorize'
import { stillIn } from '../chats/service'
import { ChatAttachment } from './schema'
import { addAttachment, attachFile, detachFile, getAttachment, listAttachments } from './service'
import { attachmentForm } from './upload'

const tag = 'Chats'
const one = params({ id: Id, file_id: Id })

export const attachmentRoutes = new Hono<AppEnv>()
  .post(
    '/:id/attachments',
    doc('Attach a file to a chat', {
      tag,
      counts: 'upload',
      description:
        'As `file` with its bytes (25 MiB), or as `file_id` one of yours. A message then names it.',
      again: stillIn('editor'),
      errors: ['chat_role_required', 'storage_limit_reached', 'upload_incomplete', 'conflict'],
    }),
    allow('chats:write'),
    params({ id: Id }),
    attachmentForm(),
    returns(201, ChatAttachment, { location: ({ url }) => url }),
    async (c) => {
      const { id } = c.req.valid('param')
      const { given } = c.var
      const made =
        'sent' in given ? addAttachment(c.var.ctx, id, given.sent) : attachFile(c.var.ctx, id, given.file_id)
      return c.var.reply(await made)
    },
  )
  .put(
    '/:id/attachments/:file_id',
    doc('Attach a file of yours to a chat', {
      tag,
      again: stillIn('editor'),
      errors: ['chat_role_required', 'upload_incomplete', 'conflict'],
    }),
    allow('chats:write'),
    one,
    returns(200, ChatAttachment),
    async (c) => {
      const { id, file_id } = c.req.valid('param')
      return c.var.reply(await attachFile(c.var.ctx, id, file_id))
    },
  )
  .get(
    '/:id/attachments',
    doc('List the files of a chat, newest first', { tag }),
    allow('chats:read'),
    params({ id: Id }),
    query(paging),
    returnsPage(ChatAttachment),
    async (c) => c.var.reply(await listAttachments(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .get(
    '/:id/attachments/:file_id',
    doc('Read a file of a chat', {
      tag,
      description: 'For who may read the chat; ranges and `If-None-Match` as in RFC 9110.',
      ...fileNote,
      errors: ['range_not_satisfiable'],
    }),
    allow('chats:read'),
    one,
    async (c) => {
      const { id, file_id } = c.req.valid('param')
      return fileAnswer(c, c.var.ctx, await getAttachment(c.var.ctx, id, file_id))
    },
  )
  .delete(
    '/:id/attachments/:file_id',
    doc('Take a file out of a chat', {
      tag,
      description: 'One that was sent to this chat alone is deleted.',
      again: stillIn('editor'),
      errors: ['chat_role_required'],
    }),
    allow('chats:write'),
    one,
    returnsNothing(),
    async (c) => {
      const { id, file_id } = c.req.valid('param')
      return c.var.reply(await detachFile(c.var.ctx, id, file_id))
    },
  )
