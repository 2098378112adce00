import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, query, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { stillIn } from '../chats/service'
import { listReceived } from './received'
import { PutShare, Share, SharedChat, sharedFilters, shareFilters } from './schema'
import { deleteShares, listShares, putShare } from './service'

const tag = 'Chats'
const id = params({ id: Id })

export const shareRoutes = new Hono<AppEnv>()
  .get(
    '/shared',
    doc('List the chats that others share with you, newest first', {
      tag,
      description: 'By name, with a team of yours, or with everybody in the tenant.',
    }),
    allow('chats:read'),
    query(sharedFilters),
    returnsPage(SharedChat),
    async (c) => c.var.reply(await listReceived(c.var.ctx, c.req.valid('query'))),
  )
  .get(
    '/:id/shares',
    doc('List with whom a chat is shared', { tag }),
    allow('chats:read'),
    id,
    returnsPage(Share),
    async (c) => c.var.reply(await listShares(c.var.ctx, c.req.valid('param').id)),
  )
  .put(
    '/:id/shares',
    doc('Share a chat, or change how it is shared', {
      tag,
      description:
        'With a user, a team, everybody in the tenant or whoever has a public link; one share for each. For the owner of the chat, and who has `chats:admin`.',
      again: stillIn('owner'),
      errors: ['chat_role_required', 'conflict', 'forbidden_while_acting'],
    }),
    allow('chats:write'),
    id,
    body(PutShare),
    returns(200, Share),
    async (c) => c.var.reply(await putShare(c.var.ctx, c.req.valid('param').id, c.req.valid('json'))),
  )
  .delete(
    '/:id/shares',
    doc('Stop sharing a chat', {
      tag,
      description:
        'With whom the query names; with everybody where it names nobody. Who follows the chat by that is cut off within seconds.',
      again: stillIn('owner'),
      errors: ['chat_role_required'],
    }),
    allow('chats:write'),
    id,
    query(shareFilters),
    returnsNothing(),
    async (c) => c.var.reply(await deleteShares(c.var.ctx, c.req.valid('param').id, c.req.valid('query'))),
  )
