import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id, paging } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { stillIn } from '../chats/service'
import { MarkRead, ReadReceipt, ReadState, TypingHere } from './schema'
import { listReads, markRead, sayTyping } from './service'

const tag = 'Chats'
const id = params({ id: Id })

export const peopleRoutes = new Hono<AppEnv>()
  .post(
    '/:id/read',
    doc('Say how far you have read', {
      tag,
      description:
        'For clients without a socket. Answered once it is kept, which is done together for all who read within a second; who reads back is not unread again.',
      again: stillIn('viewer'),
      errors: ['user_required'],
    }),
    allow('chats:read'),
    id,
    body(MarkRead, { optional: true }),
    returns(200, ReadState),
    async (c) => c.var.reply(await markRead(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .get(
    '/:id/reads',
    doc('List how far everyone has read', { tag }),
    allow('chats:read'),
    id,
    query(paging),
    returnsPage(ReadReceipt),
    async (c) => c.var.reply(await listReads(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
  .post(
    '/:id/typing',
    doc('Say that you type', {
      tag,
      description:
        'For clients without a socket; again every few seconds while it goes on. Whoever follows the chat is told by a `typing` event.',
      again: stillIn('editor'),
      errors: ['chat_role_required', 'user_required'],
    }),
    allow('chats:write'),
    id,
    body(TypingHere, { optional: true }),
    returnsNothing(),
    async (c) => c.var.reply(await sayTyping(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
