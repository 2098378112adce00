import { Hono } from 'hono'
import type { AppEnv } from '../../../http/app-env'
import { body, doc, params, returns, returnsNothing, returnsPage } from '../../../http/route'
import { Id } from '../../../lib/wire'
import { allow } from '../../tenancy/authorize'
import { PushKey, PushSubscription, Subscribe } from './schema'
import { listSubscriptions, pushKey, subscribe, unsubscribe } from './service'

const tag = 'Push'

export const pushRoutes = new Hono<AppEnv>()
  .get(
    '/key',
    doc('Get the key that browsers subscribe with', { tag, errors: ['push_not_configured'] }),
    allow('chats:read'),
    returns(200, PushKey),
    async (c) => c.var.reply(await pushKey(c.var.ctx)),
  )
  .post(
    '/subscriptions',
    doc('Have a browser told when an answer is there', {
      tag,
      description:
        'By Web Push, while nobody of yours follows the chat (docs/chat.md, “When nobody watches”). The same browser again is the same subscription; it ends with the login that made it.',
      errors: ['conflict', 'push_not_configured', 'user_required'],
      secret: true,
    }),
    allow('chats:read'),
    body(Subscribe),
    returns(201, PushSubscription),
    async (c) => c.var.reply(await subscribe(c.var.ctx, c.req.valid('json'))),
  )
  .get(
    '/subscriptions',
    doc('List your browsers that are told', { tag, errors: ['user_required'] }),
    allow('chats:read'),
    returnsPage(PushSubscription),
    async (c) => c.var.reply(await listSubscriptions(c.var.ctx)),
  )
  .delete(
    '/subscriptions/:id',
    doc('Have a browser told nothing any more', { tag, errors: ['user_required'] }),
    allow('chats:read'),
    params({ id: Id }),
    returnsNothing(),
    async (c) => c.var.reply(await unsubscribe(c.var.ctx, c.req.valid('param').id)),
  )
